/** Which tags of a target repository left their source: a decision of lists and rules alone. */
import { isDigestTag, selectTags } from '../tags/select.ts';
import type { PruneClaim } from './types.ts';

/** A tag that the file owns, and that its source does not have any more. */
export interface GoneTag {
  readonly tag: string;
  /** All rules that own it say `delete`. */
  readonly mayDelete: boolean;
  /** The longest of these rules. Milliseconds. */
  readonly graceMs: number;
}

export type GoneTags =
  | {
      readonly state: 'known';
      readonly tags: readonly GoneTag[];
      /** Digest tags that no source has; they go with the image that they name. */
      readonly digestTags: readonly string[];
    }
  /** Nothing can be said, so nothing is gone. */
  | { readonly state: 'refused'; readonly why: string };

const DAY_MS = 86_400_000;

/** Whether any rule prunes here. */
export const isPruned = (claims: readonly PruneClaim[]): boolean =>
  claims.some(({ rule }) => rule.prune.mode !== 'off');

/**
 * Owned is what the filters of a rule would select of the target's tags. `latest` does not count among them: a tag is as much ours
 * when newer ones have come. A tag that is only filtered out by now has not left its source, and one that any rule has at its
 * source stays, and so does what a rule owns that does not prune, and what one keeps of overwritten tags.
 */
export function goneTags(targetTags: readonly string[], claims: readonly PruneClaim[]): GoneTags {
  const staying = new Set<string>();
  const owners: { readonly claim: PruneClaim; readonly owned: ReadonlySet<string> }[] = [];
  for (const claim of claims) {
    const read = namesHere(claim);
    if ('unknown' in read) return { state: 'refused', why: read.unknown };
    for (const tag of read.tags) staying.add(tag);
    owners.push({ claim, owned: ownedBy(claim, targetTags) });
  }
  const tags = targetTags.flatMap((tag): GoneTag[] => {
    if (staying.has(tag) || isSecondary(tag, claims)) return [];
    const prunes = owners.filter(({ owned }) => owned.has(tag)).map(({ claim }) => claim.rule.prune);
    if (prunes.length === 0 || prunes.some(({ mode }) => mode === 'off')) return [];
    const graceMs = Math.max(...prunes.map(({ graceDays }) => graceDays)) * DAY_MS;
    return [{ tag, mayDelete: prunes.every(({ mode }) => mode === 'delete'), graceMs }];
  });
  return { state: 'known', tags, digestTags: targetTags.filter((tag) => isDigestTag(tag) && !staying.has(tag)) };
}

/** Digest tags, which belong to an image, and tags that keep what was overwritten. */
const isSecondary = (tag: string, claims: readonly PruneClaim[]): boolean =>
  isDigestTag(tag) || claims.some(({ isBackup }) => isBackup?.(tag) === true);

/** The source's tags by their names at the target. */
function namesHere({ source, listed, named, rule }: PruneClaim): { tags: readonly string[] } | { unknown: string } {
  if ('unknown' in listed) return { unknown: `the tags of ${source} are not known: ${listed.unknown}` };
  if (listed.tags.length === 0) return { unknown: `the list of tags of ${source} came back empty` };
  if (named !== undefined) return { tags: listed.tags.includes(named.sourceTag) ? [named.tag] : [] };
  const { refused } = selectTags(listed.tags, rule.tags);
  return refused === undefined ? { tags: listed.tags } : { unknown: `of ${source} ${refused}` };
}

const ownedBy = ({ named, rule }: PruneClaim, targetTags: readonly string[]): ReadonlySet<string> =>
  new Set(
    named === undefined
      ? selectTags(targetTags, { ...rule.tags, latest: undefined, minTags: undefined }).kept
      : [named.tag],
  );

/** Why so many tags must not go at once; undefined when they may. */
export function tooMany(
  due: ReadonlySet<string>,
  targetTags: readonly string[],
  claims: readonly PruneClaim[],
): string | undefined {
  if (due.size === 0) return undefined;
  const left = targetTags.filter((tag) => !due.has(tag) && !isSecondary(tag, claims));
  if (left.length === 0) return `all ${due.size} tags of the repository would go`;
  for (const claim of claims) {
    const { minTags } = claim.rule.tags;
    const kept = ownedBy(claim, left).size;
    if (claim.named === undefined && minTags !== undefined && kept < minTags) {
      return `${kept} tags of ${claim.rule.id} would be left, and tags.minTags is ${minTags}`;
    }
  }
  return undefined;
}
