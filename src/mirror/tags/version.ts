/**
 * Tags as versions. Tolerant, because tags are: `1.2`, `20.04`, `v2`, `3.15.0a2-slim` and `16.2-bookworm` are versions.
 * What follows the numbers is either a pre-release (`rc1`, `alpha.2`), which is below its release, or the name of a variant
 * (`bookworm`, `alpine3.21`), which plays no part in ranges.
 */

export interface Version {
  /** One or more. */
  readonly numbers: readonly number[];
  /** `rc1`; empty for a release. */
  readonly prerelease: string;
  /** `slim-bookworm`; empty for none. */
  readonly variant: string;
}

/** More digits than a double holds exactly; a tag with so many is a hash or a serial. */
const MAX_DIGITS = 15;
const NUMBERS = /^[vV]?(\d+(?:\.\d+)*)/;
/** Words that say that it is not the release yet. Their order in time is that of the alphabet, but for those of `EARLY`. */
const PRERELEASE =
  /^[-._]?((?:alpha|beta|canary|dev|ea|experimental|milestone|nightly|preview|pre|rc|snapshot|unstable|a|b|m)(?:[-.]?\d+)*)(?=$|[-._+])/i;
const EARLY: ReadonlySet<string> = new Set(['canary', 'dev', 'experimental', 'nightly', 'snapshot', 'unstable']);

/** Undefined for what is no version: `latest`, `bookworm`, `32bit`, `1a2b3c4`. */
export function parseVersion(tag: string): Version | undefined {
  const match = NUMBERS.exec(tag);
  if (match === null) return undefined;
  const [prefix, digits = ''] = match;
  const parts = digits.split('.');
  if (parts.some((part) => part.length > MAX_DIGITS)) return undefined;
  const numbers = parts.map(Number);
  const rest = tag.slice(prefix.length);
  const [marker = '', prerelease = ''] = PRERELEASE.exec(rest) ?? [];
  const variant = rest.slice(marker.length);
  // A variant is set off from what it varies: `32bit` and a hash such as `1a2b3c4` are no versions.
  if (variant !== '' && !/^[-._+]/.test(variant)) return undefined;
  return { numbers, prerelease: prerelease.toLowerCase(), variant: variant.slice(1) };
}

const isEarly = (prerelease: string): boolean => EARLY.has(/^[a-z]*/.exec(prerelease)?.[0] ?? '');

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Digits as numbers, the rest as text: `rc10` is above `rc9`, `alpine3.21` above `alpine3.9`. */
export function compareNaturally(a: string, b: string): number {
  const [left = [], right = []] = [a, b].map((text) => text.match(/\d+|\D+/g) ?? []);
  for (const [i, part] of left.entries()) {
    const other = right[i];
    if (other === undefined) return 1;
    const numeric = /^\d/.test(part) && /^\d/.test(other);
    const order = numeric ? Math.sign(Number(part) - Number(other)) : compareText(part, other);
    if (order !== 0) return order;
  }
  return left.length < right.length ? -1 : 0;
}

/** Numbers and pre-release: what ranges go by. */
export function comparePrecedence(a: Version, b: Version): number {
  const length = Math.max(a.numbers.length, b.numbers.length);
  for (let i = 0; i < length; i += 1) {
    const difference = (a.numbers[i] ?? 0) - (b.numbers[i] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  if (a.prerelease === b.prerelease) return 0;
  if (a.prerelease === '' || b.prerelease === '') return a.prerelease === '' ? 1 : -1;
  const [early, late] = [isEarly(a.prerelease), isEarly(b.prerelease)];
  if (early !== late) return early ? -1 : 1;
  return compareNaturally(a.prerelease, b.prerelease);
}

/**
 * A total order of tags, the oldest first. What is no version is below all that are; of one version's tags the one without a
 * variant is the highest, and of two spellings the one that says more (`7.0` is above `7`).
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  if (left === undefined || right === undefined) {
    if (left === right) return compareNaturally(a, b) || compareText(a, b);
    return left === undefined ? -1 : 1;
  }
  const precedence = comparePrecedence(left, right);
  if (precedence !== 0) return precedence;
  const spelling = Math.sign(left.numbers.length - right.numbers.length);
  if (left.variant === right.variant) return spelling || compareText(a, b);
  if (left.variant === '' || right.variant === '') return left.variant === '' ? 1 : -1;
  return compareNaturally(left.variant, right.variant) || spelling || compareText(a, b);
}
