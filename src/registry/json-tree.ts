/**
 * JSON that can be changed and written back without loss. JSON.parse does not do for docker's config.json: its errors
 * quote the text, which is where the passwords are; it moves keys that look like numbers to the front; and it rounds
 * numbers beyond 2^53.
 */
import { errorAt } from './small-file.ts';

export interface JsonObject {
  readonly kind: 'object';
  /** Where it begins in the text. */
  readonly at: number;
  readonly members: Map<string, JsonTree>;
}

export interface JsonString {
  readonly kind: 'string';
  readonly at: number;
  readonly value: string;
}

export type JsonTree =
  | JsonObject
  | JsonString
  | { readonly kind: 'array'; readonly at: number; readonly items: readonly JsonTree[] }
  /** A number, true, false or null, as it was written. */
  | { readonly kind: 'literal'; readonly at: number; readonly source: string };

const MAX_DEPTH = 64;

const SPACE = /[ \t\r\n]*/y;
// oxlint-disable-next-line no-control-regex
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const LITERAL = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.+-])/y;

class JsonReader {
  readonly #text: string;
  readonly #file: string;
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  document(): JsonTree {
    const tree = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('something follows the end of the JSON value');
    return tree;
  }

  #fail(message: string, at = this.#at): never {
    throw errorAt(this.#file, this.#text, at, message);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #space(): void {
    this.#take(SPACE);
  }

  #next(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #value(depth: number): JsonTree {
    if (depth > MAX_DEPTH) this.#fail('nested too deeply');
    this.#space();
    const at = this.#at;
    if (this.#next('{')) return this.#object(at, depth);
    if (this.#next('[')) return this.#array(at, depth);
    if (this.#text[at] === '"') return { kind: 'string', at, value: this.#string() };
    const source = this.#take(LITERAL);
    if (source === undefined) this.#fail(at >= this.#text.length ? 'the file ends here' : 'not a JSON value');
    return { kind: 'literal', at, source };
  }

  #string(): string {
    const source = this.#take(STRING);
    if (source === undefined) this.#fail('not a JSON string');
    return String(JSON.parse(source));
  }

  #object(at: number, depth: number): JsonObject {
    const members = new Map<string, JsonTree>();
    if (this.#next('}')) return { kind: 'object', at, members };
    do {
      this.#space();
      const start = this.#at;
      const key = this.#string();
      // Readers differ in which of the two they take, and writing the file back would lose the other.
      if (members.has(key)) this.#fail('this key is in the object twice', start);
      if (!this.#next(':')) this.#fail('expected ":"');
      members.set(key, this.#value(depth + 1));
    } while (this.#next(','));
    if (!this.#next('}')) this.#fail('expected "," or "}"');
    return { kind: 'object', at, members };
  }

  #array(at: number, depth: number): JsonTree {
    const items: JsonTree[] = [];
    if (this.#next(']')) return { kind: 'array', at, items };
    do items.push(this.#value(depth + 1));
    while (this.#next(','));
    if (!this.#next(']')) this.#fail('expected "," or "]"');
    return { kind: 'array', at, items };
  }
}

/** @throws GantryError INVALID that names file, line and column and shows nothing of the text */
export const parseJsonTree = (text: string, file: string): JsonTree => new JsonReader(text, file).document();

export const jsonString = (value: string): JsonString => ({ kind: 'string', at: 0, value });

export const jsonObject = (members: Map<string, JsonTree> = new Map()): JsonObject => ({
  kind: 'object',
  at: 0,
  members,
});

/** JSON text, indented by tabs as docker does. */
export function printJsonTree(tree: JsonTree, indent = ''): string {
  if (tree.kind === 'literal') return tree.source;
  if (tree.kind === 'string') return JSON.stringify(tree.value);
  const inner = `${indent}\t`;
  const isArray = tree.kind === 'array';
  const parts = isArray
    ? tree.items.map((item) => inner + printJsonTree(item, inner))
    : [...tree.members].map(([key, value]) => `${inner}${JSON.stringify(key)}: ${printJsonTree(value, inner)}`);
  const [open, close] = isArray ? '[]' : '{}';
  return parts.length === 0 ? `${open}${close}` : `${open}\n${parts.join(',\n')}\n${indent}${close}`;
}
