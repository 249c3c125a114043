import type { ByteStream } from '../call.ts';

/** Bytes that are in memory, as a stream. */
export const streamBytes = (bytes: Uint8Array): ByteStream => ({
  async *[Symbol.asyncIterator]() {
    yield bytes;
  },
  [Symbol.asyncDispose]: () => Promise.resolve(),
});
