/** Text of others in messages: bounded, on one line, and in ASCII, so that a look-alike letter can be seen. */

const NAMED: ReadonlyMap<string, string> = new Map([
  ['\t', '\\t'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['"', '\\"'],
  ['\\', '\\\\'],
]);

function escapeUnit(unit: string): string {
  const named = NAMED.get(unit);
  if (named !== undefined) return named;
  const code = unit.charCodeAt(0);
  if (code >= 0x20 && code < 0x7f) return unit;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** The text in quotes, escaped; of a longer one the first `max` characters and `...`. */
export function showText(text: string, max = 160): string {
  let shown = '';
  for (let i = 0; i < text.length && i < max; i++) shown += escapeUnit(text.charAt(i));
  return `"${shown}"${text.length > max ? '...' : ''}`;
}

/** Any JSON value, for "..., got X". */
export function showValue(value: unknown): string {
  if (typeof value === 'string') return showText(value);
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : JSON.stringify(value);
}

/** Columns that may stand on each side of the place. */
const SIDE = 90;

/** Two lines: the escaped text around the place `at` (a UTF-16 offset, may be the end), and a caret below that place. */
export function pointAt(text: string, at: number): string {
  let before = '';
  let first = at;
  while (first > 0) {
    const unit = escapeUnit(text.charAt(first - 1));
    if (before.length + unit.length > SIDE) break;
    before = unit + before;
    first -= 1;
  }
  if (first > 0) before = `...${before}`;

  let after = '';
  let next = at;
  while (next < text.length) {
    const unit = escapeUnit(text.charAt(next));
    if (after.length + unit.length > SIDE) break;
    after += unit;
    next += 1;
  }
  if (next < text.length) after += '...';
  return `  ${before}${after}\n  ${' '.repeat(before.length)}^`;
}
