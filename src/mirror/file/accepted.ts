/**
 * Reads a mirror file of which the published schema says that all is right. zod, of which that schema is made and which has the words for what is
 * wrong, takes as long to load as everything else that a run needs before its first request.
 */
import { buildMirrorFile, type ReadParts } from './build.ts';
import { isRecord, MirrorDocument } from './document.ts';
import type { FileInput } from './schema.ts';
import type { MirrorFile } from './types.ts';
import { JUDGES } from './values.ts';

/** Undefined for a file that may be wrong, or says what is not judged here: then readMirrorFile tells. */
export function readAccepted(text: string, file: string, parts: ReadParts, schema: unknown): MirrorFile | undefined {
  const document = new MirrorDocument(text, file, { env: parts.env });
  const { value } = document;
  if (document.problems.length > 0 || !isFile(schema, value)) return undefined;
  const { defaults = {}, creds = [], sync } = value;
  const said = {
    defaults,
    creds: creds.map((input, index) => ({ input, index })),
    sync: sync.map((input, index) => ({ input, index })),
  };
  return buildMirrorFile(document, file, said, parts);
}

/** The schema is made of the same declaration as the type. */
const isFile = (schema: unknown, value: unknown): value is FileInput => accepts(schema, value);

const WITHOUT_MEANING: ReadonlySet<string> = new Set(['$schema', 'title', 'description']);

type Check = (said: unknown, value: unknown, schema: Readonly<Record<string, unknown>>) => boolean;

/** Whether a value is surely as a JSON Schema says. Of a keyword that is not known here nothing is sure. */
export function accepts(schema: unknown, value: unknown): boolean {
  if (!isRecord(schema)) return false;
  return Object.entries(schema).every(([keyword, said]) => {
    if (WITHOUT_MEANING.has(keyword)) return true;
    return Object.hasOwn(CHECKS, keyword) && CHECKS[keyword]?.(said, value, schema) === true;
  });
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  integer: (value) => Number.isSafeInteger(value),
  boolean: (value) => typeof value === 'boolean',
  array: isList,
  object: isRecord,
};

/** Those that stand in the schema; each holds for values of its own type only, as JSON Schema has it. */
const CHECKS: Readonly<Record<string, Check>> = {
  type: (said, value) => typeof said === 'string' && TYPES[said]?.(value) === true,
  const: (said, value) => said === value,
  enum: (said, value) => isList(said) && said.includes(value),
  anyOf: (said, value) => isList(said) && said.some((each) => accepts(each, value)),
  format: (said, value) => {
    const judge = Object.entries(JUDGES).find(([name]) => name === said)?.[1];
    return judge !== undefined && typeof value === 'string' && judge(value) === undefined;
  },
  minLength: (said, value) => typeof value !== 'string' || (typeof said === 'number' && value.length >= said),
  minimum: (said, value) => typeof value !== 'number' || (typeof said === 'number' && value >= said),
  maximum: (said, value) => typeof value !== 'number' || (typeof said === 'number' && value <= said),
  minItems: (said, value) => !isList(value) || (typeof said === 'number' && value.length >= said),
  items: (said, value) => !isList(value) || value.every((each) => accepts(said, each)),
  required: (said, value) =>
    !isRecord(value) || (isList(said) && said.every((key) => Object.hasOwn(value, String(key)))),
  properties: (said, value) =>
    !isRecord(value) ||
    (isRecord(said) &&
      Object.entries(value).every(([key, each]) => !Object.hasOwn(said, key) || accepts(said[key], each))),
  additionalProperties: (said, value, { properties }) =>
    !isRecord(value) ||
    Object.entries(value).every(([key, each]) => {
      if (isRecord(properties) && Object.hasOwn(properties, key)) return true;
      return said !== false && accepts(said, each);
    }),
  // `x-*` is left out by the reader of the document.
  patternProperties: () => true,
  propertyNames: (said, value) => !isRecord(value) || Object.keys(value).every((key) => accepts(said, key)),
};
