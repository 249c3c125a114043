/** The file system as archives need it: what failed is told in one way, and ranges of files are streams. */
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { constants } from 'node:fs';
import type { ByteStream, CallOptions } from '../call.ts';
import { type ErrorOrigin, GantryError } from '../errors.ts';

const READ_BYTES = 256 << 10;

/** A pipe in the place of a file would block the open. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** The name of a failed system call's error. */
export function errnoOf(err: unknown): string | undefined {
  const code: unknown = err instanceof Error && 'code' in err ? err.code : undefined;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Says what could not be done where a system call failed. Anything else stays what it is. */
export function diskError(err: unknown, what: string, origin: ErrorOrigin): unknown {
  const code = errnoOf(err);
  if (code === undefined) return err;
  return new GantryError(FULL.has(code) ? 'NO_SPACE' : 'IO', `${what}: ${code}`, { origin, cause: err });
}

/** Does what can fail on the disk, and says what it was when it does. */
export async function saying<T>(what: string, origin: ErrorOrigin, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    throw diskError(err, what, origin);
  }
}

/** What `work` answers, or undefined where the file does not exist. */
export async function ifExists<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (err) {
    if (errnoOf(err) === 'ENOENT') return undefined;
    throw err;
  }
}

/** For what is done on the way out, where another error is what the caller must see. */
export async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // A temporary file may be left behind; its name says what it is.
  }
}

/** Opens a regular file for reading; undefined where there is none. @throws GantryError IO */
export async function openFile(path: string): Promise<{ file: FileHandle; size: number } | undefined> {
  const file = await saying(`cannot read ${path}`, 'source', () => ifExists(open(path, READ)));
  if (file === undefined) return undefined;
  try {
    const info = await file.stat();
    if (info.isFile()) return { file, size: info.size };
    throw new GantryError('IO', `cannot read ${path}: it is not a file`, { origin: 'source' });
  } catch (err) {
    await quietly(file.close());
    throw err;
  }
}

/** A part of a file. */
export interface Range {
  readonly file: FileHandle;
  /** For messages. */
  readonly path: string;
  /** Bytes from the beginning of the file; `to` is exclusive. */
  readonly from: number;
  readonly to: number;
}

/** Streams a part of a file by positioned reads, so that any number can read it at once. `close` is done at its end. */
export function streamRange(range: Range, opts: CallOptions, close?: () => Promise<void>): ByteStream {
  const chunks = readBlocks(range, opts);
  return {
    [Symbol.asyncIterator]: () => chunks,
    [Symbol.asyncDispose]: async () => {
      await chunks.return(undefined);
      await close?.();
    },
  };
}

async function* readBlocks(range: Range, opts: CallOptions): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = range.from; at < range.to;) {
    opts.signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, range.to - at));
    const { bytesRead } = await saying(`cannot read ${range.path}`, 'source', () =>
      range.file.read(buffer, 0, buffer.length, at),
    );
    if (bytesRead === 0) {
      throw new GantryError('MALFORMED', `${range.path} became shorter while it was read`, { origin: 'source' });
    }
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Reads a part of a file that is known to be small. */
export async function readRange(range: Range, opts: CallOptions): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of streamRange(range, opts)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes all of it at one place: one call may take only a part. */
export async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, position + done);
    if (bytesWritten === 0) throw Object.assign(new Error('nothing was written'), { code: 'EIO' });
    done += bytesWritten;
  }
}

/** Makes what was renamed or made in a directory survive a power failure. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
