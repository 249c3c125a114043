/** The file-system calls that the store makes: one small interface, so that tests can make the n-th one fail or be the last. */
import { type ErrorDetails, GantryError } from '../errors.ts';

export interface FileHandle {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  /** At the end of what was written before, unless there is a position. */
  write(text: string, position?: number): Promise<{ bytesWritten: number }>;
  writev(chunks: readonly Uint8Array[]): Promise<{ bytesWritten: number }>;
  sync(): Promise<void>;
  stat(): Promise<FileInfo>;
  utimes(atime: Date, mtime: Date): Promise<void>;
  /** A second one does nothing. */
  close(): Promise<void>;
}

export interface FileInfo {
  readonly size: number;
  readonly ino: number;
  readonly mtime: Date;
  isFile(): boolean;
}

export interface StoreFs {
  open(path: string, flags: string | number, mode?: number): Promise<FileHandle>;
  rename(from: string, to: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  rmdir(path: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
  lstat(path: string): Promise<FileInfo>;
  readFile(path: string): Promise<Buffer>;
  rm(path: string, options: { recursive: boolean; force: boolean }): Promise<void>;
  statfs(path: string): Promise<{ bavail: number; bsize: number }>;
}

/** The name of a failed system call's error; the codes of node's own errors (`ERR_...`, `ABORT_ERR`) are none. */
function errno(err: unknown): string | undefined {
  const code: unknown = err instanceof Error && 'code' in err ? err.code : undefined;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

export const isErrno = (err: unknown, ...codes: readonly string[]): boolean => codes.includes(errno(err) ?? '');

const FULL_HINT = 'free some space, or choose another store with --store; what is done stays';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: FULL_HINT,
  EDQUOT: FULL_HINT,
  EACCES: 'check the permissions of the store, or choose another with --store',
  EPERM: 'check the permissions of the store, or choose another with --store',
  EROFS: 'the file system is read-only; choose another store with --store',
  EMFILE: 'too many open files: raise `ulimit -n`, or lower --concurrency',
  ENFILE: 'too many open files on this machine: lower --concurrency',
  EFBIG: 'the file system or a ulimit does not allow files of this size',
  EIO: 'the disk may be failing: look at the log of the kernel',
  EXDEV: 'ingest/, blobs/ and gantry/ of a store must be on one file system',
  ENOTDIR: 'a part of the store is not a directory; choose another with --store',
};

/** Says what could not be done where a system call failed. Anything else is no fault of the disk and stays what it is. */
export function storeError(err: unknown, what: string, details: ErrorDetails = {}): Error {
  const code = errno(err);
  if (code === undefined) return err instanceof Error ? err : new GantryError('INTERNAL', `${what}: ${String(err)}`);
  const hint = HINTS[code];
  return new GantryError(hint === FULL_HINT ? 'NO_SPACE' : 'IO', `${what}: ${code}`, {
    origin: 'store',
    cause: err,
    ...(hint === undefined ? {} : { hint }),
    ...details,
  });
}

/** Does what can fail on the disk, and says what it was when it does. */
export async function saying<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    throw storeError(err, what);
  }
}

/** For what is done on the way out, where another error or a result is what the caller must see. */
export async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // What is left behind, the next collection removes.
  }
}

/** What `work` answers, or undefined where the file does not exist. */
export async function ifExists<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (err) {
    if (isErrno(err, 'ENOENT')) return undefined;
    throw err;
  }
}

export async function unlinkIfExists(fs: StoreFs, path: string): Promise<void> {
  await ifExists(fs.unlink(path));
}

/** The names in a directory; none where it does not exist. */
export const namesIn = async (fs: StoreFs, directory: string): Promise<string[]> =>
  (await ifExists(fs.readdir(directory))) ?? [];

/** Whether there was something to move. */
export const moved = async (fs: StoreFs, from: string, to: string): Promise<boolean> =>
  (await ifExists(fs.rename(from, to).then(() => true))) ?? false;

/** Makes a name for a file where there is none yet. Whether it did. */
export async function linkOnce(fs: StoreFs, existing: string, path: string): Promise<boolean> {
  try {
    await fs.link(existing, path);
    return true;
  } catch (err) {
    if (isErrno(err, 'EEXIST', 'ENOENT')) return false;
    throw err;
  }
}

/**
 * Moves a file to `aside`, if it is the one that was judged. Two may try: rename gives the file to one of them, and whoever
 * finds that it moved another file than the one it judged puts that back.
 */
export async function takeAway(
  fs: StoreFs,
  path: string,
  aside: string,
  isJudged: () => Promise<boolean>,
): Promise<boolean> {
  if (!(await moved(fs, path, aside))) return false;
  if (await isJudged()) return true;
  await linkOnce(fs, aside, path);
  await unlinkIfExists(fs, aside);
  return false;
}

/** IOV_MAX is 1,024. */
const MAX_CHUNKS = 512;

/** Writes all of `chunks` at the end of what was written before: one writev may take only a part of them. */
export async function writeAll(file: FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  let next = 0;
  let rest: Uint8Array[] = [];
  while (next < chunks.length || rest.length > 0) {
    const fresh = chunks.slice(next, next + MAX_CHUNKS - rest.length);
    next += fresh.length;
    const batch = [...rest, ...fresh];
    const { bytesWritten } = await file.writev(batch);
    rest = without(batch, bytesWritten);
    if (bytesWritten === 0 && rest.length > 0) throw Object.assign(new Error('nothing was written'), { code: 'EIO' });
  }
}

/** A short text, whole or not at all: a file system that takes only a part of it is full. */
export async function writeText(file: FileHandle, text: string): Promise<void> {
  const { bytesWritten } = await file.write(text);
  if (bytesWritten === Buffer.byteLength(text)) return;
  throw Object.assign(new Error('only a part was written'), { code: 'ENOSPC' });
}

function without(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = bytes;
  for (const chunk of chunks) {
    if (skip < chunk.byteLength) left.push(chunk.subarray(skip));
    skip = Math.max(0, skip - chunk.byteLength);
  }
  return left;
}

/** Makes a small file that is whole and durable, but for its name. */
export async function writeDurable(fs: StoreFs, path: string, text: string): Promise<FileInfo> {
  const file = await fs.open(path, 'wx', 0o644);
  try {
    try {
      await writeText(file, text);
      await file.sync();
      return await file.stat();
    } finally {
      await file.close();
    }
  } catch (err) {
    await quietly(fs.unlink(path));
    throw err;
  }
}

/** Makes a small file appear whole and durable, or not at all. */
export async function writeFileAtomic(fs: StoreFs, path: string, text: string, unique: string): Promise<FileInfo> {
  const temporary = `${path}.${unique}.tmp`;
  const info = await writeDurable(fs, temporary, text);
  try {
    await fs.rename(temporary, path);
    return info;
  } catch (err) {
    await quietly(fs.unlink(temporary));
    throw err;
  }
}
