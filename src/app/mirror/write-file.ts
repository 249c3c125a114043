import { randomBytes } from 'node:crypto';
import { access, constants, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GantryError, messageOf } from '../../errors.ts';

/**
 * Replaces a file as a whole: whoever reads it finds the old text or the new one, also after a kill or on a full disk. Where a link leads
 * is replaced, not the link; what is no file, such as /dev/stdout or a pipe, is written to.
 * @param options `mode`: that of the file, whatever the umask; 0644 without the bits of the umask unless given
 * @throws GantryError IO
 */
export async function writeFileWhole(path: string, text: string, options: { mode?: number } = {}): Promise<void> {
  try {
    const there = await stat(path).catch(() => undefined);
    if (there === undefined) await replace(path, text, options.mode);
    else if (there.isFile()) await replace(await realpath(path), text, options.mode);
    else await writeFile(path, text);
  } catch (err) {
    throw new GantryError('IO', `cannot write ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}

/**
 * Before hours of work whose result is to go there.
 * @param use what is to become of it: a file that is to grow may stand in a directory that takes no other
 * @throws GantryError USAGE when it could not be written in the end
 */
export async function assertPlace(path: string, use: 'replace' | 'append' = 'replace'): Promise<void> {
  try {
    const there = await stat(path).catch(() => undefined);
    if (there?.isDirectory() === true) throw new Error('it is a directory');
    if (there !== undefined && (use === 'append' || !there.isFile())) await access(path, constants.W_OK);
    else await tryFile(temporaryBeside(there === undefined ? path : await realpath(path)));
  } catch (err) {
    throw new GantryError('USAGE', `cannot write ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}

/** Permissions alone do not tell whether a directory takes files. */
async function tryFile(path: string): Promise<void> {
  await using _file = await open(path, 'wx', 0o600);
  await rm(path);
}

async function replace(path: string, text: string, mode: number | undefined): Promise<void> {
  const temp = temporaryBeside(path);
  try {
    await using file = await open(temp, 'wx', 0o644);
    if (mode !== undefined) await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
    await rename(temp, path);
  } catch (err) {
    await rm(temp, { force: true }).catch(() => undefined);
    throw err;
  }
}

/** Hidden, because the collector of node_exporter takes every *.prom of its directory. */
const temporaryBeside = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
