/** Pruning: what is asked, what is remembered, what came of it. docs/prune.md has the rules. */
import type { CallOptions } from '../../call.ts';
import type { GantryError } from '../../errors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { MirrorRule } from '../file/types.ts';

/** All tags of a source as they are now; where they are not known, why. */
export type SourceTags = { readonly tags: readonly string[] } | { readonly unknown: string };

/** One rule's claim on a target repository. */
export interface PruneClaim {
  readonly rule: Pick<MirrorRule, 'id' | 'tags' | 'prune'>;
  /** For messages: a repository. */
  readonly source: string;
  readonly listed: SourceTags;
  /** The rule names its tags: the tag at the source that `tag`, its only one at the target, comes from. */
  readonly named?: { readonly sourceTag: string; readonly tag: string };
  /** Tells tags under which the rule keeps what it overwrites. */
  readonly isBackup?: ((tag: string) => boolean) | undefined;
}

/** A target repository, and all rules of the file that write to it. */
export interface PruneTarget {
  readonly repository: string;
  readonly claims: readonly PruneClaim[];
  /** Digest tags stay whatever becomes of the images that they name. */
  readonly keepsDigestTags?: boolean;
}

/** A tag that left its source: what it meant at the target, and when that was first seen, in milliseconds since 1970. */
export interface Gone {
  readonly digest: Digest;
  readonly since: number;
}

/** What is remembered from run to run, by target repository and tag. */
export interface PruneMemory {
  read(repository: string, opts: CallOptions): Promise<ReadonlyMap<string, Gone>>;
  /** In the place of all that was remembered of the repository. */
  write(repository: string, gone: ReadonlyMap<string, Gone>, opts: CallOptions): Promise<void>;
}

export type Removal =
  | { readonly state: 'deleted' }
  | { readonly state: 'absent' }
  | { readonly state: 'unsupported'; readonly why: string };

/** The target's registry. */
export interface PrunePorts {
  /** All tags of a repository. */
  tags(repository: string, opts: CallOptions): Promise<readonly string[]>;
  /** All tags of a source as it has them itself: what a mirror of it lists may be old, or a part. */
  sourceTags(repository: string, opts: CallOptions): Promise<readonly string[]>;
  /** What a tag means; undefined when there is no such tag. */
  lookup(repository: string, tag: string, opts: CallOptions): Promise<Digest | undefined>;
  /** What a tag means, and for an index what it lists. */
  contents(repository: string, tag: string, opts: CallOptions): Promise<readonly Digest[]>;
  remove(repository: string, tag: string, opts: CallOptions): Promise<Removal>;
}

export type PrunedState =
  /** Of a rule that only reports, or nothing remembers since when it is gone. */
  | 'reported'
  /** The days of grace are not over. */
  | 'waiting'
  /** It would be deleted, if this were not only a look. */
  | 'due'
  | 'deleted'
  /** It is another manifest than the one that was remembered: somebody has written it. */
  | 'changed'
  /** The registry does not delete. */
  | 'unsupported'
  | 'failed';

export interface PrunedTag {
  readonly tag: string;
  readonly digest: Digest;
  readonly state: PrunedState;
  /** Milliseconds since it was first seen gone. */
  readonly goneMs: number;
  /** Milliseconds until it may be deleted, where that is so one day. */
  readonly dueInMs: number | undefined;
  readonly error: GantryError | undefined;
}

export interface PruneResult {
  readonly repository: string;
  /** Of the rules that prune it. */
  readonly rules: readonly string[];
  /** Tags that left the source, digest tags that went with them last. */
  readonly tags: readonly PrunedTag[];
  /** Why nothing is deleted here. */
  readonly refused: string | undefined;
  readonly error: GantryError | undefined;
}
