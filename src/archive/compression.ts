/** Layers as they are unpacked: docker load of any age takes only plain tar files. */
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { GantryError, messageOf } from '../errors.ts';
import { zstdFrames } from './zstd-frames.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

const MAGIC_BYTES = 4;

/** By the first bytes, because media types are often wrong. @param start the first four bytes of the content, or more */
export function compressionOf(start: Uint8Array): Compression {
  const magic = Buffer.from(start.subarray(0, MAGIC_BYTES)).toString('hex');
  if (magic.startsWith('1f8b')) return 'gzip';
  // What is made for lazy pulling may begin with a frame that is to be skipped, 0x184D2A50 to 0x184D2A5F.
  return magic === '28b52ffd' || /^5.2a4d18$/.test(magic) ? 'zstd' : 'none';
}

/**
 * The content without its compression.
 * @param what names the content in messages
 * @throws GantryError MALFORMED when the compressed data are damaged; what the body throws
 */
export async function* unpacked(
  body: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = body[Symbol.asyncIterator]();
  try {
    const start = await peek(chunks);
    const all = joined(start, chunks);
    const compression = compressionOf(start);
    yield* compression === 'none' ? all : decompressed(all, compression, what);
  } finally {
    await chunks.return?.(); // the body holds a connection
  }
}

async function* decompressed(
  body: AsyncIterable<Uint8Array>,
  compression: Exclude<Compression, 'none'>,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const unpacker = compression === 'gzip' ? createGunzip() : createZstdDecompress();
  // An error of one side ends the other; it is thrown below.
  pipeline(Readable.from(compression === 'gzip' ? body : zstdFrames(body)), unpacker, () => {});
  try {
    yield* unpacker;
  } catch (err) {
    if (!isDamage(err)) throw err;
    throw new GantryError('MALFORMED', `${what}: damaged ${compression} data: ${messageOf(err)}`, {
      origin: 'source',
      cause: err,
    });
  }
}

const isDamage = (err: unknown): boolean =>
  err instanceof Error && 'code' in err && typeof err.code === 'string' && /^(?:Z_|ZSTD_)/.test(err.code);

/** At least as much as tells the compression, unless there is less. */
async function peek(chunks: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let start = Buffer.alloc(0);
  while (start.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    start = Buffer.concat([start, value]);
  }
  return start;
}

async function* joined(
  start: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (start.length > 0) yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
