/**
 * JSON in which two readers cannot see two things. Go matches field names without regard to case and takes the last of
 * several, other readers the first: a manifest that uses this is one image to the checker and another to the runtime.
 */
import { GantryError } from '../errors.ts';
import { showText } from './show.ts';

const MAX_DEPTH = 64;

/** Objects whose keys are data, where `Foo` and `foo` are two things: labels, mount points, hosts. */
const FREE_MAPS: ReadonlySet<string> = new Set([
  'annotations',
  'labels',
  'Labels',
  'Volumes',
  'ExposedPorts',
  'auths',
  'credHelpers',
  'HttpHeaders',
]);

/** One form for all keys that a reader which ignores case takes for the same; Go also takes U+017F for s. */
export const foldKey = (key: string): string => key.toUpperCase().toLowerCase();

const SPACE = /[ \t\n\r]*/y;
const LITERAL = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Not one pattern for the whole string: a star over alternatives costs regexp stack for every character.
// oxlint-disable-next-line no-control-regex -- these are the characters that JSON forbids inside strings
const STRING_STOP = /["\\\u0000-\u001f]/g;

class Scanner {
  readonly #text: string;
  readonly #what: string;
  #at = 0;

  constructor(text: string, what: string) {
    this.#text = text;
    this.#what = what;
  }

  document(): unknown {
    const value = this.#value(0, false);
    this.#space();
    if (this.#at < this.#text.length) throw this.#error('there is more after the end of the value');
    return value;
  }

  #error(why: string, at = this.#at): GantryError {
    const before = this.#text.slice(0, at);
    const line = before.split('\n').length;
    const column = at - before.lastIndexOf('\n');
    return malformed(this.#what, `${why} (line ${line}, column ${column})`);
  }

  #unexpected(wanted: string): GantryError {
    const found = this.#at < this.#text.length ? showText(this.#text.charAt(this.#at)) : 'the end';
    return this.#error(`not JSON: expected ${wanted}, found ${found}`);
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  /** Takes the character if it comes next. */
  #take(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #value(depth: number, free: boolean): unknown {
    if (depth > MAX_DEPTH) throw this.#error(`nested deeper than ${MAX_DEPTH}`);
    if (this.#take('{')) return this.#object(depth, free);
    if (this.#take('[')) return this.#array(depth);
    if (this.#text[this.#at] === '"') return this.#string();
    return this.#literal();
  }

  #object(depth: number, free: boolean): unknown {
    const entries = new Map<string, unknown>();
    const folded = new Set<string>();
    if (this.#take('}')) return {};
    do {
      this.#space();
      const keyAt = this.#at;
      if (this.#text[keyAt] !== '"') throw this.#unexpected('a field name');
      const key = this.#string();
      if (entries.has(key)) throw this.#error(`the field ${showText(key)} stands there twice`, keyAt);
      const fold = foldKey(key);
      if (!free && folded.has(fold)) {
        throw this.#error(`the field ${showText(key)} stands there twice, in upper and lower case`, keyAt);
      }
      folded.add(fold);
      if (!this.#take(':')) throw this.#unexpected('":"');
      entries.set(key, this.#value(depth + 1, FREE_MAPS.has(key)));
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#unexpected('"," or "}"');
    // Defines own properties: a key `__proto__` becomes data and no prototype changes.
    return Object.fromEntries(entries);
  }

  #array(depth: number): unknown[] {
    const items: unknown[] = [];
    if (this.#take(']')) return items;
    do items.push(this.#value(depth + 1, false));
    while (this.#take(','));
    if (!this.#take(']')) throw this.#unexpected('"," or "]"');
    return items;
  }

  #string(): string {
    const start = this.#at;
    STRING_STOP.lastIndex = start + 1;
    for (;;) {
      const stop = STRING_STOP.exec(this.#text);
      if (stop === null) throw this.#error('not JSON: a string without an end', start);
      if (stop[0] === '"') break;
      if (stop[0] !== '\\') throw this.#error('not JSON: a control character in a string', stop.index);
      STRING_STOP.lastIndex = stop.index + 2;
    }
    this.#at = STRING_STOP.lastIndex;
    // Not a slice of the text, also where nothing is escaped: V8 makes one point into the text that it is from, and whoever keeps a
    // digest would keep the 4 MiB that it stood in.
    return this.#unescape(this.#text.slice(start, this.#at), start);
  }

  #unescape(token: string, at: number): string {
    let value: unknown;
    try {
      value = JSON.parse(token);
    } catch {
      throw this.#error('not JSON: a bad escape in a string', at);
    }
    if (typeof value !== 'string' || !value.isWellFormed())
      throw this.#error('half of a surrogate pair in a string', at);
    return value;
  }

  #literal(): unknown {
    LITERAL.lastIndex = this.#at;
    const token = LITERAL.exec(this.#text)?.[0];
    if (token === undefined) throw this.#unexpected('a value');
    const value: unknown = JSON.parse(token);
    if (typeof value === 'number' && !Number.isFinite(value)) throw this.#error('a number out of range');
    this.#at += token.length;
    return value;
  }
}

const malformed = (what: string, why: string): GantryError =>
  new GantryError('MALFORMED', `${what}: ${why}`, { origin: 'source' });

/**
 * Reads JSON (RFC 8259) of strangers. Refused beyond what JSON refuses: invalid UTF-8, a byte order mark, two fields of
 * one name, also when only the case differs (but not in labels, annotations and other maps whose keys are data), half
 * surrogate pairs, nesting deeper than 64. Objects may have an own property `__proto__`. The caller bounds the size.
 * @param what names the content in messages
 * @throws GantryError MALFORMED, with line and column (in UTF-16 units, from 1)
 */
export function parseStrictJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.byteLength === 0) throw malformed(what, 'it is empty');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new GantryError('MALFORMED', `${what}: not valid UTF-8`, { origin: 'source', cause });
  }
  if (text.startsWith('\uFEFF')) throw malformed(what, 'it starts with a byte order mark');
  return new Scanner(text, what).document();
}
