/** The part of RE2's syntax that stands between brackets, and its classes by name, as JavaScript writes them with the flag `u`. */

/** What was read of a pattern: in JavaScript's words, and where it ends. */
export interface Piece {
  readonly text: string;
  readonly end: number;
}

/** Something that cannot be translated: which part, and why. */
export interface Complaint {
  readonly part: string;
  readonly why: string;
}

const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

/** ASCII that is in none of the POSIX class. */
const POSIX_NEGATED: Readonly<Record<string, string>> = {
  digit: '\\D',
  word: '\\W',
  space: '\\S',
  alpha: '\\P{Alphabetic}',
  upper: '\\P{Uppercase}',
  lower: '\\P{Lowercase}',
};

/** With the flag `u` JavaScript takes a backslash in front of these only. */
const literal = (char: string): string => (/[\\^$.*+?()[\]{}|/-]/.test(char) ? `\\${char}` : char);
/** The same outside of brackets, where a hyphen is like any other. */
export const literalOutside = (char: string): string => (char === '-' ? char : literal(char));

const CONTROL: Readonly<Record<string, string>> = {
  a: '\\x07',
  f: '\\f',
  n: '\\n',
  r: '\\r',
  t: '\\t',
  v: '\\v',
};

/** `\pL`, `\p{Greek}`, `\p{^Lu}`, `\P{..}`, which begins at `at`. */
function property(pattern: string, at: number): Piece | Complaint {
  const [whole = '', letter = '', inner = ''] = /^\\([pP])(\{[^}]*\}|.?)/u.exec(pattern.slice(at)) ?? [];
  const name = inner.replaceAll(/[{}]/g, '');
  const negated = (letter === 'P') !== name.startsWith('^');
  const bare = name.replace(/^\^/, '');
  const text = `\\${negated ? 'P' : 'p'}{${bare.length > 2 ? `Script=${bare}` : bare}}`;
  try {
    return { text: new RegExp(text, 'u').source, end: at + whole.length };
  } catch {
    return { part: whole, why: 'is not a class of characters that JavaScript knows' };
  }
}

/** `\x41`, `\x{10ffff}`, which begins at `at`. */
function hexadecimal(pattern: string, at: number): Piece | Complaint {
  const [whole = '\\x', short, long] = /^\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})/.exec(pattern.slice(at)) ?? [];
  const code = Number.parseInt(short ?? long ?? '', 16);
  if (!(code <= 0x10_ffff)) return { part: whole, why: 'is not a character' };
  return { text: `\\u{${code.toString(16)}}`, end: at + whole.length };
}

/** An escape that means the same within brackets and outside; it begins at `at`. */
export function sharedEscape(pattern: string, at: number): Piece | Complaint {
  const char = pattern.charAt(at + 1);
  const part = `\\${char}`;
  if (char === '') return { part, why: 'stands at the end and escapes nothing' };
  if (/[dDwWsS]/.test(char)) return { text: part, end: at + 2 };
  if (/[pP]/.test(char)) return property(pattern, at);
  if (char === 'x') return hexadecimal(pattern, at);
  const control = CONTROL[char];
  if (control !== undefined) return { text: control, end: at + 2 };
  if (/[1-9]/.test(char)) return { part, why: 'refers back to a group, which RE2 cannot either' };
  if (char === 'C') return { part, why: 'is a single byte, which JavaScript has no word for' };
  if (/[0-9A-Za-z]/.test(char)) return { part, why: 'is not an escape that is known here' };
  return { text: literal(char), end: at + 2 };
}

/** `[:alpha:]`, which begins at `at`; undefined where there is none. */
function posixClass(pattern: string, at: number): Piece | Complaint | undefined {
  const [part, negated, name = ''] = /^\[:(\^?)(\w*):\]/.exec(pattern.slice(at)) ?? [];
  if (part === undefined) return undefined;
  const text = (negated === '^' ? POSIX_NEGATED : POSIX)[name];
  if (text !== undefined) return { text, end: at + part.length };
  return {
    part,
    why: POSIX[name] === undefined ? 'is not a class of characters' : 'cannot be said; write [^...] instead',
  };
}

/** One character of a class, or an escape; a `-` is taken as such. */
function member(pattern: string, at: number): Piece | Complaint {
  const char = String.fromCodePoint(pattern.codePointAt(at) ?? 0);
  if (char !== '\\') return { text: literal(char), end: at + char.length };
  return sharedEscape(pattern, at);
}

const isClass = ({ text }: Piece): boolean => /^\\[dDwWsSpP]/.test(text);

/** A character, a range or a class, which begins at `at`. */
function item(pattern: string, at: number): Piece | Complaint {
  const named = posixClass(pattern, at);
  if (named !== undefined) return named;
  const first = member(pattern, at);
  if (!('text' in first) || isClass(first)) return first;
  const next = pattern.charAt(first.end + 1);
  if (pattern.charAt(first.end) !== '-' || next === ']' || next === '') return first;
  const last = member(pattern, first.end + 1);
  if (!('text' in last)) return last;
  const part = pattern.slice(at, last.end);
  if (isClass(last)) return { part, why: 'is a range that ends with a class' };
  return { text: `${first.text}-${last.text}`, end: last.end };
}

/** A class in brackets, which begins at `at`. */
export function bracketClass(pattern: string, at: number): Piece | Complaint {
  let end = at + 1;
  let text = '[';
  if (pattern.charAt(end) === '^') {
    text += '^';
    end += 1;
  }
  // A bracket in the first place is a character.
  for (let first = true; first || pattern.charAt(end) !== ']'; first = false) {
    if (end >= pattern.length) return { part: pattern.slice(at), why: 'has no closing "]"' };
    const next = item(pattern, end);
    if (!('text' in next)) return next;
    text += next.text;
    end = next.end;
  }
  return { text: `${text}]`, end: end + 1 };
}
