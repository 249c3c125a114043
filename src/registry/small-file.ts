import { open, type FileHandle } from 'node:fs/promises';
import { GantryError, messageOf } from '../errors.ts';

/** Configuration, hosts and certificate files are a few KiB; a path that leads to something endless is an accident. */
const MAX_BYTES = 1024 * 1024;

const codeOf = (err: unknown): unknown => (err instanceof Error && 'code' in err ? err.code : undefined);

/** Whether a file-system call failed because nothing is there. */
export const isMissing = (err: unknown): boolean => codeOf(err) === 'ENOENT' || codeOf(err) === 'ENOTDIR';

/** Wraps what the file system threw. */
export const ioError = (what: string, err: unknown): GantryError =>
  err instanceof GantryError
    ? err
    : new GantryError('IO', `${what}: ${messageOf(err)}`, { origin: 'user', cause: err });

async function readBounded(handle: FileHandle, file: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    // Not by the size of stat: a pipe (`<(pass show auth)`) has none.
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(64 * 1024), 0, 64 * 1024, null);
    if (bytesRead === 0) return Buffer.concat(chunks);
    total += bytesRead;
    if (total > MAX_BYTES) throw new GantryError('TOO_LARGE', `${file} is larger than 1 MiB`, { origin: 'user' });
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

/** The content of a small file, or undefined where there is none. */
export async function readSmallFile(file: string): Promise<Buffer | undefined> {
  try {
    await using handle = await open(file, 'r');
    return await readBounded(handle, file);
  } catch (err) {
    if (isMissing(err)) return undefined;
    throw ioError(`cannot read ${file}`, err);
  }
}

/** Text without its byte order mark. @throws GantryError INVALID */
export function decodeText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new GantryError('INVALID', `${file}: not UTF-8 text`, { origin: 'user' });
  }
}

/** A GantryError that points at a place in a text, in the form that editors and terminals make a link of. */
export function errorAt(file: string, text: string, offset: number, message: string): GantryError {
  const before = text.slice(0, offset).split('\n');
  const column = (before.at(-1)?.length ?? 0) + 1;
  return new GantryError('INVALID', `${file}:${before.length}:${column}: ${message}`, { origin: 'user' });
}
