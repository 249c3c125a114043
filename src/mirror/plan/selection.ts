/** What a rule wants of each of its images: what the selection of a copy can say, in parts. */
import { parseMatcher } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import type { IndexMode, MirrorRule } from '../file/types.ts';

export interface RuleSelection {
  /** As PlatformMatcher.text; empty: all. */
  readonly platforms: string;
  readonly index: IndexMode;
  readonly isDeep: boolean;
  readonly nonDistributable: boolean;
  /** Empty: all. */
  readonly mediaTypes: readonly string[];
  readonly attached: {
    readonly referrers: boolean;
    /** Repositories. */
    readonly referrerSource: string | undefined;
    readonly referrerTarget: string | undefined;
    readonly digestTags: boolean;
    readonly fastCheck: boolean;
    readonly include: readonly string[];
    readonly exclude: readonly string[];
    readonly require: readonly string[];
    readonly matches: readonly {
      readonly artifactType?: string;
      readonly annotations: Readonly<Record<string, string>>;
    }[];
  };
}

/** @throws GantryError INVALID for a platform */
export const selectionOf = (rule: MirrorRule): RuleSelection => ({
  platforms: rule.platforms.length === 0 ? '' : parseMatcher(rule.platforms.join(',')).text,
  index: rule.index,
  isDeep: rule.forceRecursive,
  nonDistributable: rule.includeExternal,
  mediaTypes: rule.mediaTypes,
  attached: attachedOf(rule),
});

const repositoryOf = (name: string | undefined): string | undefined =>
  name === undefined ? undefined : parseReference(name).repository;

const attachedOf = (rule: MirrorRule): RuleSelection['attached'] => ({
  referrers: rule.referrers,
  referrerSource: repositoryOf(rule.referrerSource),
  referrerTarget: repositoryOf(rule.referrerTarget),
  digestTags: rule.digestTags,
  fastCheck: rule.fastCheck,
  ...rule.artifacts,
  matches: rule.referrerFilters.map(({ artifactType, annotations }) =>
    artifactType === undefined ? { annotations } : { artifactType, annotations },
  ),
});
