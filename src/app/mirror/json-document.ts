/** Reads documents that gantry has written, and that somebody may have edited since. */
import { GantryError, messageOf } from '../../errors.ts';
import { isObject, type JsonObject } from '../../oci/fields.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { showValue } from '../../oci/show.ts';

/** One object of a document; each complaint names its place in it. */
export class JsonReader {
  readonly #object: JsonObject;
  readonly #where: string;

  constructor(value: unknown, where: string) {
    if (!isObject(value)) throw bad(where, `expected an object, not ${showValue(value)}`);
    this.#object = value;
    this.#where = where;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  /** @throws GantryError INVALID */
  text(name: string): string {
    const value = this.#object[name];
    if (typeof value === 'string') return value;
    throw this.bad(name, `expected text, not ${showValue(value)}`);
  }

  maybeText(name: string): string | undefined {
    return this.#object[name] === undefined ? undefined : this.text(name);
  }

  /** Undefined where it is not there. @throws GantryError INVALID */
  object(name: string): JsonReader | undefined {
    const value = this.#object[name];
    return value === undefined ? undefined : new JsonReader(value, `${this.#where}: ${name}`);
  }

  /** A number from 0. @throws GantryError INVALID */
  amount(name: string): number {
    const value = this.#object[name];
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    throw this.bad(name, `expected a number, not ${showValue(value)}`);
  }

  /** @throws GantryError INVALID */
  list<T>(name: string, read: (item: JsonReader) => T): T[] {
    const value = this.#object[name];
    if (!Array.isArray(value)) throw this.bad(name, `expected a list, not ${showValue(value)}`);
    return value.map((item: unknown, i) => read(new JsonReader(item, `${this.#where}: ${name}.${i}`)));
  }

  /** @throws GantryError INVALID */
  texts(name: string): string[] {
    const value = this.#object[name];
    if (!Array.isArray(value)) throw this.bad(name, `expected a list, not ${showValue(value)}`);
    return value.map((item: unknown, i) => {
      if (typeof item === 'string') return item;
      throw this.bad(`${name}.${i}`, `expected text, not ${showValue(item)}`);
    });
  }

  bad(name: string, why: string): GantryError {
    return bad(`${this.#where}: ${name}`, why);
  }
}

const bad = (where: string, why: string): GantryError =>
  new GantryError('INVALID', `${where}: ${why}`, { origin: 'user' });

/**
 * @param noun what the document is, for messages: `plan`
 * @throws GantryError INVALID for what is no such document, or one of a version that is not known
 */
export function readDocument(
  text: string,
  file: string,
  { noun, version }: { noun: string; version: number },
): JsonReader {
  let value: unknown;
  try {
    value = parseStrictJson(Buffer.from(text), file);
  } catch (err) {
    throw new GantryError('INVALID', `${messageOf(err)}; expected a ${noun}`, { origin: 'user', cause: err });
  }
  const reader = new JsonReader(value, file);
  if (!isObject(value) || value['document'] !== noun) throw bad(file, `this is not a ${noun} of gantry`);
  const found = reader.amount('version');
  if (found !== version) throw bad(file, `it is a ${noun} of version ${found}; this gantry reads version ${version}`);
  return reader;
}
