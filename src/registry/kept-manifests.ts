import type { ByteStream } from '../call.ts';
import type { Digest } from '../oci/digest.ts';

/** Enough for what is between its resolution and its fetch in any number of open images; what falls out is asked for again. */
const MAX_BYTES = 16 << 20;

/** Manifests that resolving had to read: each is handed to whoever fetches it next, so that it does not count twice against a quota. */
export class KeptManifests {
  readonly #kept = new Map<string, Buffer>();
  #bytes = 0;

  keep(repository: string, digest: Digest, bytes: Buffer): void {
    this.take(repository, digest);
    this.#kept.set(`${repository}@${digest}`, bytes);
    this.#bytes += bytes.byteLength;
    for (const [key, { byteLength }] of this.#kept) {
      if (this.#bytes <= MAX_BYTES) break;
      this.#kept.delete(key); // the oldest goes first: a Map keeps the order of insertion
      this.#bytes -= byteLength;
    }
  }

  take(repository: string, digest: Digest): Buffer | undefined {
    const key = `${repository}@${digest}`;
    const bytes = this.#kept.get(key);
    this.#kept.delete(key);
    this.#bytes -= bytes?.byteLength ?? 0;
    return bytes;
  }
}

/** Bytes in memory as a stream. */
export const streamOf = (bytes: Uint8Array): ByteStream => ({
  async *[Symbol.asyncIterator]() {
    yield bytes;
  },
  [Symbol.asyncDispose]: () => Promise.resolve(),
});
