import { randomBytes } from 'node:crypto';
import { access, constants, open, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GantryError, messageOf } from '../../errors.ts';

/**
 * Replaces a file as a whole: whoever reads it finds the old text or the new one, also after a kill or on a full disk. Where a link leads
 * is replaced, not the link; what is no file, such as /dev/stdout or a pipe, is written to.
 * @throws GantryError IO
 */
export async function writeFileWhole(path: string, text: string): Promise<void> {
  try {
    const there = await stat(path).catch(() => undefined);
    if (there === undefined) await replace(path, text);
    else if (there.isFile()) await replace(await realpath(path), text);
    else await writeFile(path, text);
  } catch (err) {
    throw new GantryError('IO', `cannot write ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}

/** Before hours of work whose result is to go there. @throws GantryError IO */
export async function assertPlace(path: string): Promise<void> {
  try {
    const there = await stat(path).catch(() => undefined);
    await access(there === undefined || there.isFile() ? dirname(path) : path, constants.W_OK);
  } catch (err) {
    throw new GantryError('IO', `cannot write ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}

async function replace(path: string, text: string): Promise<void> {
  // Hidden, because the collector of node_exporter takes every *.prom of its directory.
  const temp = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    await using file = await open(temp, 'wx', 0o644);
    await file.writeFile(text);
    await file.sync();
    await rename(temp, path);
  } catch (err) {
    await rm(temp, { force: true }).catch(() => undefined);
    throw err;
  }
}
