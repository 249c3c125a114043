/**
 * Blobs on their way to several registries: read from their source once, into a file without a name, from which each reader goes on at
 * its own pace. A slow reader holds nobody up, and what a killed process leaves is nothing.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteStream, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import type { ContentSource } from '../remote/ports.ts';

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
  /** The one that was asked for last is the last. */
  readonly #files = new Map<Digest, SpoolFile>();

  constructor(options: SpoolOptions = {}) {
    this.#options = options;
  }

  /** The same content, read from `source` by whoever comes first. */
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
    const known = this.#files.get(desc.digest);
    const file = known?.isUsable === true ? known : new SpoolFile(desc, source, this.#options.dir ?? tmpdir());
    this.#files.delete(desc.digest);
    this.#files.set(desc.digest, file);
    const stream = file.read(opts);
    await this.#makeRoom();
    return stream;
  }

  async #makeRoom(): Promise<void> {
    const { keepBytes = KEEP_BYTES } = this.#options;
    let bytes = [...this.#files.values()].reduce((sum, { size }) => sum + size, 0);
    for (const [digest, file] of this.#files) {
      if (bytes <= keepBytes && this.#files.size <= KEEP_FILES) break;
      if (file.isRead) continue;
      this.#files.delete(digest);
      bytes -= file.size;
      await file.end();
    }
  }
}

class SpoolFile {
  readonly size: number;
  readonly #desc: Descriptor;
  readonly #source: ContentSource;
  readonly #dir: string;
  readonly #stop = new AbortController();
  readonly #filled: Promise<void>;
  #handle: FileHandle | undefined;
  #written = 0;
  #readers = 0;
  #error: unknown;
  #wake = Promise.withResolvers<undefined>();

  constructor(desc: Descriptor, source: ContentSource, dir: string) {
    this.size = desc.size;
    this.#desc = desc;
    this.#source = source;
    this.#dir = dir;
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

  /** What is there, then what comes. */
  read(opts: OpenOptions): ByteStream {
    this.#readers += 1;
    let isOpen = true;
    const close = async (): Promise<void> => {
      if (!isOpen) return;
      isOpen = false;
      this.#readers -= 1;
      // Nobody waits for the rest: the connection to the source is for others.
      if (this.#readers === 0 && this.#written < this.size) await this.end();
    };
    const chunks = this.#chunks(opts, close);
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

  async *#chunks({ offset = 0, signal }: OpenOptions, close: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    try {
      for (let at = offset; at < this.size;) {
        signal.throwIfAborted();
        if (at >= this.#written) {
          if (this.#error !== undefined) throw this.#error;
          await orAbort(this.#wake.promise, signal);
          continue;
        }
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, this.#written - at));
        const { bytesRead = 0 } = (await this.#handle?.read(buffer, 0, buffer.byteLength, at)) ?? {};
        if (bytesRead === 0)
          throw new GantryError('IO', `the spool of ${this.#desc.digest} is gone`, { origin: 'store' });
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await close();
    }
  }

  /** The last bytes are given out only when all of them are what the digest says. */
  async #fill(): Promise<void> {
    const handle = await this.#create();
    this.#handle = handle;
    const hash = createHash(algorithmOf(this.#desc.digest));
    const { signal } = this.#stop;
    await using body = await this.#source.open({ signal });
    let at = 0;
    for await (const chunk of body) {
      hash.update(chunk);
      await handle.writev([chunk], at);
      at += chunk.byteLength;
      if (at >= this.size) break;
      this.#written = at;
      this.#tell();
    }
    this.#check(at, hash);
    this.#written = at;
    this.#tell();
  }

  async #create(): Promise<FileHandle> {
    try {
      const dir = await mkdtemp(join(this.#dir, 'gantry-spool-'));
      try {
        return await open(join(dir, 'blob'), 'wx+', 0o600);
      } finally {
        await rm(dir, { recursive: true, force: true }); // what has no name is gone with its last handle
      }
    } catch (cause) {
      throw new GantryError('IO', `cannot write a temporary file in ${this.#dir}`, {
        origin: 'store',
        cause,
        hint: 'set TMPDIR to a directory with room for what goes to several registries',
      });
    }
  }

  #check(bytes: number, hash: Hash): void {
    const { digest } = this.#desc;
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
