/** The text of a state file: what is remembered of all repositories. */
import { GantryError } from '../../errors.ts';
import { isDigest } from '../../oci/digest.ts';
import { field, isObject } from '../../oci/fields.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { showText, showValue } from '../../oci/show.ts';
import type { Gone } from './types.ts';

/** By repository and tag. */
export type PruneState = ReadonlyMap<string, ReadonlyMap<string, Gone>>;

const VERSION = 1;

const invalid = (what: string, why: string, hint: string): GantryError =>
  new GantryError('INVALID', `${what}: ${why}`, { origin: 'user', hint });

const OTHER_FILE = 'name the file that an earlier run wrote, or one that is not there yet';

/** @throws GantryError INVALID */
export function readState(bytes: Uint8Array, what: string): PruneState {
  let document: unknown;
  try {
    document = parseStrictJson(bytes, what);
  } catch (err) {
    throw err instanceof GantryError ? invalid(what, err.message.replace(`${what}: `, ''), OTHER_FILE) : err;
  }
  const version = isObject(document) ? field(document, 'version') : undefined;
  const repositories = isObject(document) ? field(document, 'repositories') : undefined;
  if (version === undefined || !isObject(repositories)) throw invalid(what, 'not a state file of gantry', OTHER_FILE);
  if (version !== VERSION) {
    throw invalid(
      what,
      `version ${showValue(version)}, and this gantry reads ${VERSION}`,
      'use the gantry that wrote it',
    );
  }
  return new Map(
    Object.entries(repositories).map(([repository, tags]) => {
      const where = `${what}: repositories.${showText(repository)}`;
      if (!isObject(tags)) throw invalid(where, `expected an object, got ${showValue(tags)}`, OTHER_FILE);
      return [repository, new Map(Object.entries(tags).map(([tag, gone]) => [tag, goneOf(gone, where, tag)]))];
    }),
  );
}

function goneOf(value: unknown, where: string, tag: string): Gone {
  const { digest, since }: { digest?: unknown; since?: unknown } = isObject(value) ? value : {};
  const at = typeof since === 'string' ? Date.parse(since) : Number.NaN;
  if (isDigest(digest) && !Number.isNaN(at)) return { digest, since: at };
  throw invalid(`${where}.${showText(tag)}`, 'expected a digest, and since when the tag is gone', OTHER_FILE);
}

/** Sorted, so that two of them can be compared. */
export function formatState(state: PruneState): string {
  const repositories = [...state]
    .filter(([, tags]) => tags.size > 0)
    .toSorted(byName)
    .map(([repository, tags]) => [repository, Object.fromEntries([...tags].toSorted(byName).map(shown))]);
  return `${JSON.stringify({ version: VERSION, repositories: Object.fromEntries(repositories) }, null, 2)}\n`;
}

const shown = ([tag, { digest, since }]: [string, Gone]) => [tag, { digest, since: new Date(since).toISOString() }];
const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => Number(a > b) - Number(a < b);
