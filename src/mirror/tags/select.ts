/** Which tags of a repository a rule selects, and why not the others. */
import type { RepositoryRules, TagRules, TagSet } from '../file/types.ts';
import { compileGlob, compilePattern } from './pattern.ts';
import { inRange, parseRange } from './range.ts';
import { compareVersions, parseVersion } from './version.ts';

export { satisfies } from './range.ts';
export { compareVersions, parseVersion, type Version } from './version.ts';

export interface Dropped {
  readonly tag: string;
  /** `digestTag`, `semverRange`, `allow`, `deny`, `tagSets`, `latest` */
  readonly filter: string;
  readonly why: string;
}

export interface Selection {
  readonly listed: number;
  /** In the order in which they were listed. */
  readonly kept: readonly string[];
  readonly dropped: readonly Dropped[];
  /** Each filter that is in use, in the order of use, and how many tags it left. */
  readonly steps: readonly { readonly filter: string; readonly kept: number }[];
  /** Why these tags must not be used, when they are fewer than `minTags`. */
  readonly refused: string | undefined;
}

/**
 * `sha256-<hex>` is the referrers tag of the distribution specification; with `.sig`, `.att`, `.sbom` behind it the tag is one
 * of cosign's. They belong to a manifest, and go or stay with it.
 */
const DIGEST_TAG = /^(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(?:\.[\w.-]+)?$/;

export const isDigestTag = (tag: string): boolean => DIGEST_TAG.test(tag);

/** How many patterns a reason quotes. */
const QUOTED = 3;

const quote = (patterns: readonly string[]): string =>
  patterns
    .slice(0, QUOTED)
    .map((text) => `"${text}"`)
    .join(', ') + (patterns.length > QUOTED ? ` or ${patterns.length - QUOTED} more` : '');

/** One filter: undefined for a tag that passes, else why it does not. */
interface Filter {
  readonly name: string;
  readonly judge: (tag: string) => string | undefined;
}

function filtersOf({ semverRange, allow, deny }: TagSet): Filter[] {
  const ranges = semverRange.map(parseRange);
  const allowed = allow.map(compilePattern);
  const denied = deny.map((text) => ({ text, regex: compilePattern(text) }));
  const range = (tag: string): string | undefined => {
    const version = parseVersion(tag);
    if (version === undefined) return 'it is no version';
    return ranges.some((each) => inRange(version, each)) ? undefined : `it is not in ${quote(semverRange)}`;
  };
  return [
    { name: 'semverRange', used: ranges.length > 0, judge: range },
    {
      name: 'allow',
      used: allow.length > 0,
      judge: (tag: string) =>
        allowed.some((each) => each.test(tag)) ? undefined : `it does not match ${quote(allow)}`,
    },
    {
      name: 'deny',
      used: deny.length > 0,
      judge: (tag: string) => {
        const found = denied.find(({ regex }) => regex.test(tag));
        return found === undefined ? undefined : `it matches ${quote([found.text])}`;
      },
    },
  ].filter(({ used }) => used);
}

/** A tag passes when it passes any of the sets. */
function union(sets: readonly TagSet[]): Filter {
  const all = sets.map(filtersOf);
  return {
    name: 'tagSets',
    judge: (tag) => {
      const reasons = all.map((filters) => firstReason(filters, tag));
      if (reasons.includes(undefined)) return undefined;
      return reasons.map((reason, i) => `set ${i}: ${reason}`).join('; ');
    },
  };
}

function firstReason(filters: readonly Filter[], tag: string): string | undefined {
  for (const { name, judge } of filters) {
    const why = judge(tag);
    if (why !== undefined) return `${name}: ${why}`;
  }
  return undefined;
}

function newest(tags: readonly string[], rules: TagRules, count: number): Filter {
  const order = rules.sort === 'semver' ? compareVersions : (a: string, b: string) => Number(a > b) - Number(a < b);
  const first = new Set(tags.toSorted((a, b) => order(b, a)).slice(0, count));
  const by = rules.sort === 'semver' ? 'by version' : 'alphabetically';
  return {
    name: 'latest',
    judge: (tag) => {
      if (first.has(tag)) return undefined;
      const unversioned = rules.sort === 'semver' && parseVersion(tag) === undefined;
      return unversioned
        ? `it is no version, and the newest ${count} are`
        : `it is not among the newest ${count} ${by}`;
    },
  };
}

/**
 * In the order semverRange, allow, deny, latest.
 * @throws GantryError INVALID for a range or regular expression, which a mirror file that was read does not have
 */
export function selectTags(listed: readonly string[], rules: TagRules): Selection {
  let kept = [...new Set(listed)];
  const dropped: Dropped[] = [];
  const steps: { filter: string; kept: number }[] = [];
  const apply = ({ name, judge }: Filter): void => {
    kept = kept.filter((tag) => {
      const why = judge(tag);
      if (why !== undefined) dropped.push({ tag, filter: name, why });
      return why === undefined;
    });
    steps.push({ filter: name, kept: kept.length });
  };
  if (kept.some(isDigestTag)) {
    apply({
      name: 'digestTag',
      judge: (tag) => (isDigestTag(tag) ? 'it belongs to the manifest it names, and goes with it' : undefined),
    });
  }
  const own = filtersOf(rules);
  const sets = rules.sets ?? [];
  if (sets.length === 0) own.forEach(apply);
  else apply(union(own.length === 0 ? sets : [...sets, rules]));
  if (rules.latest !== undefined) apply(newest(kept, rules, rules.latest));
  return { listed: listed.length, kept, dropped, steps, refused: refusal(kept.length, listed.length, rules) };
}

function refusal(kept: number, listed: number, { minTags }: TagRules): string | undefined {
  if (minTags === undefined || kept >= minTags) return undefined;
  return `${kept} of ${listed} tags are selected, and tags.minTags is ${minTags}`;
}

/** regsync filters names of repositories as it does tags. @throws GantryError INVALID for a regular expression */
export function repoSelected(name: string, repos: RepositoryRules): boolean {
  const matches = (patterns: readonly string[]): boolean => patterns.some((each) => compilePattern(each).test(name));
  return (repos.allow.length === 0 || matches(repos.allow)) && !matches(repos.deny);
}

/** Whether a tag is one of those that never change. @throws GantryError INVALID for a glob */
export const isImmutable = (tag: string, globs: readonly string[]): boolean =>
  globs.some((glob) => compileGlob(glob).test(tag));
