// @ts-check
/** Numbers, sizes and times as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const plain = new Intl.NumberFormat('en');

/** @param {number} n */
export const count = (n) => plain.format(n);

/**
 * `3 images`, `1 image`
 * @param {number} n
 * @param {string} noun
 */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/**
 * `1.5 MiB`
 * @param {number} n
 */
export function bytes(n) {
  let value = n;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

/** @param {number} n */
export const rate = (n) => `${bytes(n)}/s`;

/** @type {readonly (readonly [ms: number, name: string])[]} */
const SPANS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
];

/**
 * The two largest units: `2 h 5 min`
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000 && ms % 1000 !== 0) return `${(ms / 1000).toFixed(1)} s`;
  const at = SPANS.findIndex(([size]) => ms >= size);
  const [size = 1000, name = 's'] = SPANS[at] ?? [];
  const [next, nextName = ''] = SPANS[at + 1] ?? [];
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next);
  return `${Math.floor(ms / size)} ${name}${rest === 0 ? '' : ` ${rest} ${nextName}`}`;
}

/**
 * In whole seconds: it is a guess.
 * @param {number | null} ms
 */
export const timeLeft = (ms) => (ms === null ? '–' : duration(Math.ceil(ms / 1000) * 1000));

/**
 * `sha256:0123456789ab...` -> `0123456789ab`
 * @param {string} digest
 */
export const shortDigest = (digest) => /:([0-9a-f]{12})[0-9a-f]+$/.exec(digest)?.[1] ?? digest;

/** @param {string} iso */
export const absolute = (iso) => new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'long' });

/** Steers the order of text, or has no shape: a name could look like another one. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Text of others with characters that nobody sees written out, as `<U+202E>`.
 * @param {string} text
 */
export const visible = (text) =>
  text.replaceAll(INVISIBLE, (char) => `<U+${char.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}>`);

/**
 * @param {string} text
 * @param {number} max characters
 */
export const shortened = (text, max) => (text.length <= max ? text : `${text.slice(0, max)}…`);
