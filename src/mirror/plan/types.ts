/** What the rules of a mirror file come to, once registries have told what they have. */
import type { CallOptions } from '../../call.ts';
import type { GantryError } from '../../errors.ts';
import type { Reference } from '../../oci/reference.ts';
import type { MirrorRule } from '../file/types.ts';
import type { Selection } from '../tags/select.ts';

/** What is asked of registries. */
export interface ListPorts {
  /** The tags of a repository, page by page. @throws GantryError NOT_FOUND, ... */
  tags(repository: string, opts: CallOptions): AsyncIterable<readonly string[]>;
  /** The paths of all repositories of a registry, page by page. */
  catalog(registry: string, opts: CallOptions): AsyncIterable<readonly string[]>;
}

/** One image that a rule wants in one place. */
export interface PlannedImage {
  readonly rule: MirrorRule;
  readonly source: Reference;
  /** `host[:port]/path`. */
  readonly target: string;
  /** The one that it gets there; undefined: it goes by its digest. */
  readonly tag: string | undefined;
  /** It never changes, and the target has it: nothing has to be asked. */
  readonly isImmutable: boolean;
  /** Why it must be left alone. */
  readonly clash: GantryError | undefined;
}

/** A source repository of a rule. */
export interface PlannedRepository {
  /** `host[:port]/path`. */
  readonly source: string;
  readonly targets: readonly string[];
  /** What the filters made of its tags; undefined where nothing was listed. */
  readonly selection: Selection | undefined;
  readonly images: readonly PlannedImage[];
  /** Why there are no images. */
  readonly error: GantryError | undefined;
}

export interface PlannedRule {
  readonly rule: MirrorRule;
  readonly repositories: readonly PlannedRepository[];
  /** Paths that the rule's `repos` left out. */
  readonly left: readonly string[];
  /** Why there are no repositories. */
  readonly error: GantryError | undefined;
}
