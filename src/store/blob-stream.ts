import { constants } from 'node:fs';
import { join } from 'node:path';
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import type { OpenFile } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { type FileHandle, isErrno, namesIn, saying, storeError, type StoreFs } from './fs.ts';
import type { Layout } from './layout.ts';

const READ_BYTES = 256 << 10;

/** A link is never followed: what is in the store is in the store. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW;

export interface BlobParts {
  readonly fs: StoreFs;
  readonly layout: Layout;
}

/** Streams a blob from the disk. Holds one block; the file is closed at the end, on an error, and on dispose. */
export async function openBlob(parts: BlobParts, digest: Digest, opts: OpenOptions): Promise<ByteStream> {
  const file = await openHandle(parts, digest, opts);
  if (file === undefined) {
    throw new GantryError('NOT_FOUND', `${digest} is not in the store`, { origin: 'store', digest });
  }
  return streamFile(file, parts.layout.blob(digest), opts);
}

/** A blob as an open file, for those who read it into memory of their own. */
export async function openBlobFile(parts: BlobParts, digest: Digest, opts: CallOptions): Promise<OpenFile | undefined> {
  const file = await openHandle(parts, digest, opts);
  if (file === undefined) return undefined;
  const path = parts.layout.blob(digest);
  try {
    const { size } = await file.stat();
    const read: OpenFile['read'] = (buffer, offset, length, position) =>
      saying(`cannot read ${path}`, () => file.read(buffer, offset, length, position));
    return { size, read, close: () => file.close() };
  } catch (err) {
    await file.close();
    throw storeError(err, `cannot look at ${path}`, { digest });
  }
}

async function openHandle(parts: BlobParts, digest: Digest, opts: CallOptions): Promise<FileHandle | undefined> {
  opts.signal.throwIfAborted();
  const path = parts.layout.blob(digest);
  try {
    return (await open(parts.fs, path)) ?? (await openAside(parts, digest));
  } catch (err) {
    throw storeError(err, `cannot read ${path}`, { digest });
  }
}

export function streamFile(file: FileHandle, path: string, opts: OpenOptions): ByteStream {
  const chunks = readBlocks(file, path, opts);
  return {
    [Symbol.asyncIterator]: () => chunks,
    [Symbol.asyncDispose]: async () => {
      await chunks.return(undefined);
      await file.close(); // a generator that was never started does not reach its own finally
    },
  };
}

async function open(fs: StoreFs, path: string): Promise<FileHandle | undefined> {
  try {
    return await fs.open(path, READ);
  } catch (err) {
    if (isErrno(err, 'ENOENT', 'ELOOP')) return undefined;
    throw err;
  }
}

/** A collection moves aside what it means to delete, and gives back what turns out to be needed: until then it is there. */
async function openAside({ fs, layout }: BlobParts, digest: Digest): Promise<FileHandle | undefined> {
  for (const each of await namesIn(fs, layout.trash)) {
    const file = await open(fs, layout.trashed(join(layout.trash, each), digest));
    if (file !== undefined) return file;
  }
  return open(fs, layout.blob(digest)); // it may have been given back while we were looking
}

async function* readBlocks(
  file: FileHandle,
  path: string,
  opts: OpenOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = opts.offset ?? 0;
  try {
    for (;;) {
      opts.signal.throwIfAborted();
      const buffer = Buffer.allocUnsafe(READ_BYTES);
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (err) {
    throw storeError(err, `cannot read ${path}`);
  } finally {
    await file.close();
  }
}
