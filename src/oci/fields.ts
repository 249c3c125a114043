/** Reads typed fields out of JSON of strangers. `where` names the place in messages: `manifest sha256:...: layers.3`. */
import { GantryError } from '../errors.ts';
import { foldKey } from './json.ts';
import { showText, showValue } from './show.ts';

export type JsonObject = Readonly<Record<string, unknown>>;
export type StringMap = Readonly<Record<string, string>>;

export const malformed = (where: string, why: string): GantryError =>
  new GantryError('MALFORMED', `${where}: ${why}`, { origin: 'source' });

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isStringMap = (value: unknown): value is StringMap =>
  isObject(value) && Object.values(value).every((item) => typeof item === 'string');

export const isStringList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');

/** The names that a kind of object gives a meaning to. */
export class FieldNames {
  readonly #exact: ReadonlySet<string>;
  readonly #folded: ReadonlyMap<string, string>;

  constructor(...names: readonly string[]) {
    this.#exact = new Set(names);
    this.#folded = new Map(names.map((name) => [foldKey(name), name]));
  }

  /**
   * Readers in Go take `Manifests` for `manifests`; to us it would be nothing. Such a document is refused.
   * @throws GantryError MALFORMED
   */
  check(object: JsonObject, where: string): void {
    for (const key of Object.keys(object)) {
      if (this.#exact.has(key)) continue;
      const meant = this.#folded.get(foldKey(key));
      if (meant !== undefined) throw malformed(where, `the field ${showText(key)} must be written "${meant}"`);
    }
  }
}

/** An own field; `null` counts as absent, because Go writes empty lists so. */
export const field = (object: JsonObject, name: string): unknown =>
  Object.hasOwn(object, name) ? (object[name] ?? undefined) : undefined;

/** @throws GantryError MALFORMED */
export function objectAt(value: unknown, where: string, names?: FieldNames): JsonObject {
  if (!isObject(value)) throw malformed(where, `must be an object, got ${showValue(value)}`);
  names?.check(value, where);
  return value;
}

/** @throws GantryError MALFORMED */
export function optionalStringMap(object: JsonObject, name: string, where: string): StringMap | undefined {
  const value = field(object, name);
  if (value === undefined || isStringMap(value)) return value;
  const bad = isObject(value) ? Object.keys(value).find((key) => typeof value[key] !== 'string') : undefined;
  const place = bad === undefined ? '' : ` (${showText(bad, 80)} does not)`;
  throw malformed(`${where}.${name}`, `must be an object that maps text to text${place}`);
}
