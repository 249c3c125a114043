/** The mirror file of a command, with what it refers to. */
import { readFileSync, statSync } from 'node:fs';
import { GantryError, messageOf } from '../errors.ts';
import { readAccepted } from '../mirror/file/accepted.ts';
import type { MirrorFile } from '../mirror/file/types.ts';
import type { Env } from './config.ts';

/** Ten thousand rules take about 2 MiB. */
const MAX_BYTES = 16 * 1024 ** 2;

/** @throws GantryError NOT_FOUND, TOO_LARGE, IO */
export function readTextFile(path: string): string {
  try {
    // A device or pipe, such as that of `<(command)` in a shell, has no size.
    const { size } = statSync(path);
    if (size > MAX_BYTES) throw new GantryError('TOO_LARGE', `${path} is larger than 16 MiB`, { origin: 'user' });
    return readFileSync(path, 'utf8');
  } catch (err) {
    if (err instanceof GantryError) throw err;
    const isMissing = err instanceof Error && 'code' in err && err.code === 'ENOENT';
    throw isMissing
      ? new GantryError('NOT_FOUND', `there is no file ${path}`, { origin: 'user', cause: err })
      : new GantryError('IO', `cannot read ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}

/** `src/app` and `dist/app` are equally deep. */
const SCHEMA = new URL('../../docs/mirror.schema.json', import.meta.url);

/** @throws GantryError NOT_FOUND, TOO_LARGE, IO; INVALID with all that is wrong in it */
export const loadMirrorFile = (path: string, env: Env): Promise<MirrorFile> =>
  readMirrorText(readTextFile(path), path, env);

/** @throws GantryError INVALID with all that is wrong in it */
export async function readMirrorText(text: string, name: string, env: Env): Promise<MirrorFile> {
  const parts = { env, readFile: readTextFile };
  const schema: unknown = JSON.parse(readFileSync(SCHEMA, 'utf8'));
  const accepted = readAccepted(text, name, parts, schema);
  if (accepted !== undefined) return accepted;
  const { readMirrorFile } = await import('../mirror/file/read.ts');
  return readMirrorFile(text, name, parts);
}
