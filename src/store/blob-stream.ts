import { constants } from 'node:fs';
import { join } from 'node:path';
import type { ByteStream, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { type FileHandle, isErrno, namesIn, storeError, type StoreFs } from './fs.ts';
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
  opts.signal.throwIfAborted();
  const path = parts.layout.blob(digest);
  let file: FileHandle | undefined;
  try {
    file = (await open(parts.fs, path)) ?? (await openAside(parts, digest));
  } catch (err) {
    throw storeError(err, `cannot read ${path}`, { digest });
  }
  if (file === undefined) {
    throw new GantryError('NOT_FOUND', `${digest} is not in the store`, { origin: 'store', digest });
  }
  return streamFile(file, path, opts);
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
