/**
 * Blobs on their way to several registries: read from their source once, into a file without a name, from which each reader goes on at
 * its own pace. A slow reader holds nobody up, and what a killed process leaves is nothing.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteStream, OpenOptions } from '../call.ts';
import { GantryError, retryClass } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf } from '../oci/digest.ts';
import type { ContentSource } from '../remote/ports.ts';
import { storeError } from './fs.ts';

export interface SpoolOptions {
  /** Bytes that are kept for readers that have not come yet. What is being read is kept beyond that. */
  readonly keepBytes?: number;
  /** The system's directory for temporary files unless given. */
  readonly dir?: string;
}

const KEEP_BYTES = 8 * 2 ** 30;
/** Each is an open file. */
const KEEP_FILES = 256;
const READ_BYTES = 256 << 10;

export class Spool {
  readonly #options: SpoolOptions;
  /** By digest and size, of which one reader may have been told a wrong one. The one that was asked for last is the last. */
  readonly #files = new Map<string, SpoolFile>();

  constructor(options: SpoolOptions = {}) {
    this.#options = options;
  }

  /** The same content, read from `source` by whoever comes first. When that one's source fails, the others go on with their own. */
  share(desc: Descriptor, source: ContentSource): ContentSource {
    return { open: (opts) => this.#open(desc, source, opts) };
  }

  /** Ends what is still being read from a source. */
  async [Symbol.asyncDispose](): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await Promise.all(files.map((file) => file.end()));
  }

  async #open(desc: Descriptor, source: ContentSource, opts: OpenOptions): Promise<ByteStream> {
    const key = `${desc.digest} ${desc.size}`;
    const known = this.#files.get(key);
    const parts = { desc, source, dir: this.#options.dir ?? tmpdir() };
    // Wrong bytes came from somebody's source: from here on each reader has the bytes of its own.
    if (known?.isWrong === true) return new SpoolFile({ ...parts, isShared: false }).read(opts);
    const isJoined = known?.isUsable === true;
    const file = isJoined ? known : new SpoolFile({ ...parts, isShared: true });
    this.#files.delete(key);
    this.#files.set(key, file);
    const stream = file.read(opts, isJoined ? source : undefined);
    await this.#makeRoom();
    return stream;
  }

  async #makeRoom(): Promise<void> {
    const { keepBytes = KEEP_BYTES } = this.#options;
    let bytes = [...this.#files.values()].reduce((sum, { size }) => sum + size, 0);
    for (const [key, file] of this.#files) {
      if (bytes <= keepBytes && this.#files.size <= KEEP_FILES) break;
      if (file.isRead) continue;
      this.#files.delete(key);
      bytes -= file.size;
      await file.end();
    }
  }
}

interface SpoolFileParts {
  readonly desc: Descriptor;
  readonly source: ContentSource;
  readonly dir: string;
  /** False: it ends with its one reader. */
  readonly isShared: boolean;
}

class SpoolFile {
  readonly size: number;
  readonly #parts: SpoolFileParts;
  readonly #stop = new AbortController();
  readonly #filled: Promise<void>;
  #handle: FileHandle | undefined;
  #written = 0;
  #readers = 0;
  #error: unknown;
  #wake = Promise.withResolvers<undefined>();

  constructor(parts: SpoolFileParts) {
    this.size = parts.desc.size;
    this.#parts = parts;
    this.#filled = this.#fill().catch((err: unknown) => {
      this.#error = err;
      this.#tell();
    });
  }

  get isRead(): boolean {
    return this.#readers > 0;
  }

  get isUsable(): boolean {
    return this.#error === undefined && !this.#stop.signal.aborted;
  }

  get isWrong(): boolean {
    return retryClass(this.#error) === 'restart';
  }

  /** What is there, then what comes; and what does not come, from the reader's own source, where that is another one. */
  read(opts: OpenOptions, own?: ContentSource): ByteStream {
    this.#readers += 1;
    let isOpen = true;
    const close = async (): Promise<void> => {
      if (!isOpen) return;
      isOpen = false;
      this.#readers -= 1;
      // Nobody waits for the rest: the connection to the source is for others.
      if (this.#readers === 0 && (this.#written < this.size || !this.#parts.isShared)) await this.end();
    };
    const chunks = this.#chunks(opts, own, close);
    return {
      [Symbol.asyncIterator]: () => chunks,
      [Symbol.asyncDispose]: async () => {
        await close();
        await chunks.return(undefined);
      },
    };
  }

  async end(): Promise<void> {
    this.#stop.abort(new GantryError('CANCELLED', 'nobody reads this any more'));
    await this.#filled;
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async *#chunks(
    { offset = 0, signal }: OpenOptions,
    own: ContentSource | undefined,
    close: () => Promise<void>,
  ): AsyncGenerator<Uint8Array, void> {
    let at = offset;
    try {
      while (at < this.size) {
        signal.throwIfAborted();
        if (at >= this.#written) {
          if (this.#error !== undefined) {
            // What has been given out of wrong bytes does not become right by what follows.
            if (own === undefined || (this.isWrong && at > offset)) throw this.#error;
            break;
          }
          await orAbort(this.#wake.promise, signal);
          continue;
        }
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, this.#written - at));
        const bytesRead = await this.#read(buffer, at);
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await close();
    }
    if (own === undefined || at >= this.size) return;
    await using rest = await own.open({ signal, offset: at });
    yield* rest;
  }

  async #read(buffer: Uint8Array, at: number): Promise<number> {
    const { digest } = this.#parts.desc;
    try {
      const { bytesRead = 0 } = (await this.#handle?.read(buffer, 0, buffer.byteLength, at)) ?? {};
      if (bytesRead > 0) return bytesRead;
    } catch (err) {
      throw storeError(err, `cannot read the temporary file of ${digest}`);
    }
    throw new GantryError('IO', `the temporary file of ${digest} is gone`, { origin: 'store' });
  }

  /** The last bytes are given out only when all of them are what the digest says. */
  async #fill(): Promise<void> {
    const handle = await this.#create();
    this.#handle = handle;
    const { desc, source } = this.#parts;
    const hash = createHash(algorithmOf(desc.digest));
    const { signal } = this.#stop;
    await using body = await source.open({ signal });
    let at = 0;
    for await (const chunk of body) {
      hash.update(chunk);
      await this.#write(handle, chunk, at);
      at += chunk.byteLength;
      if (at >= this.size) break;
      this.#written = at;
      this.#tell();
    }
    this.#check(at, hash);
    this.#written = at;
    this.#tell();
  }

  /** All of it: a disk that is full takes a part first. */
  async #write(handle: FileHandle, chunk: Uint8Array, at: number): Promise<void> {
    try {
      for (let done = 0; done < chunk.byteLength;) {
        const { bytesWritten } = await handle.write(chunk, done, chunk.byteLength - done, at + done);
        done += bytesWritten;
      }
    } catch (err) {
      throw this.#diskError(err);
    }
  }

  #diskError(err: unknown): Error {
    return storeError(err, `cannot write a temporary file in ${this.#parts.dir}`, {
      hint: 'set TMPDIR to a directory with room for what goes to several registries',
    });
  }

  async #create(): Promise<FileHandle> {
    try {
      const dir = await mkdtemp(join(this.#parts.dir, 'gantry-spool-'));
      try {
        return await open(join(dir, 'blob'), 'wx+', 0o600);
      } finally {
        await rm(dir, { recursive: true, force: true }); // what has no name is gone with its last handle
      }
    } catch (err) {
      throw this.#diskError(err);
    }
  }

  #check(bytes: number, hash: Hash): void {
    const { digest } = this.#parts.desc;
    const details = { origin: 'source', digest } as const;
    if (bytes !== this.size) {
      throw new GantryError('SIZE_MISMATCH', `${digest} has ${bytes} bytes, not ${this.size}`, details);
    }
    const got = `${algorithmOf(digest)}:${hash.digest('hex')}`;
    if (got !== digest) throw new GantryError('DIGEST_MISMATCH', `${digest} has bytes that are ${got}`, details);
  }

  #tell(): void {
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers();
  }
}

/** Waits for a promise, or until the signal aborts. */
async function orAbort(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
