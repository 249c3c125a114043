/** The bytes of a blob on their way to a registry, hashed as they pass. */
import { createHash, type Hash } from 'node:crypto';
import type { ByteStream, CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf } from '../oci/digest.ts';
import type { ContentSource } from '../remote/ports.ts';
import type { UploadBody } from './transport.ts';

/** The state of the hash is kept so often, ... */
const SNAPSHOT_BYTES = 1 << 20;
/** ... and for so many places: a registry has most of what was sent, but for what was in the buffers between. */
const MAX_SNAPSHOTS = 64;

interface Snapshot {
  readonly offset: number;
  readonly hash: Hash;
}

/** The source, opened at some place and read from there. */
interface Reading {
  readonly stream: ByteStream;
  readonly chunks: AsyncIterator<Uint8Array>;
  readonly hash: Hash;
  /** Bytes that were hashed. */
  offset: number;
  /** Read, and not hashed yet: it belongs to the next part. */
  rest: Uint8Array | undefined;
}

export interface UploadOptions extends CallOptions {
  readonly onProgress?: (offset: number) => void;
}

/**
 * Gives a blob in parts, each of which can be asked for again: the source is then read from the nearest place whose hash is known. The last bytes go
 * out only when the whole is what its digest says; otherwise the request breaks, and even a registry that checks nothing cannot
 * take what it got for whole.
 */
export class VerifiedUpload implements AsyncDisposable {
  readonly #desc: Descriptor;
  readonly #source: ContentSource;
  readonly #opts: UploadOptions;
  readonly #snapshots: Snapshot[];
  /** What a request still holds of an earlier one is not read any more: it may wait there for long. */
  #reading: Reading | undefined;
  #fault: unknown;
  #given = 0;

  constructor(desc: Descriptor, source: ContentSource, opts: UploadOptions) {
    this.#desc = desc;
    this.#source = source;
    this.#opts = opts;
    this.#snapshots = [{ offset: 0, hash: createHash(algorithmOf(desc.digest)) }];
  }

  /** What the source threw, or what is wrong with its bytes: a request that failed because of it is not the registry's failure. */
  get fault(): unknown {
    return this.#fault;
  }

  /** So much of the start was given out, in one request or another: nobody can have more. */
  get given(): number {
    return this.#given;
  }

  /** The last byte was given out. */
  get isAtEnd(): boolean {
    return this.#reading?.offset === this.#desc.size;
  }

  /**
   * Gets ready to send from `start`. Before the request is made: a source that cannot be opened, or is not what it should be, breaks none
   * that has begun.
   */
  async seek(start: number): Promise<void> {
    await this.#guarded(async () => {
      const reading = await this.#at(start);
      if (reading.offset === this.#desc.size) this.#compare(reading);
    });
  }

  /** The part from `start` to before `end`, as the body of one request. */
  part(start: number, end: number): UploadBody {
    let wasOpened = false;
    return {
      length: end - start,
      exclusive: this.#reading?.stream.exclusive === true,
      open: () => {
        const again = wasOpened ? this.reset() : undefined;
        wasOpened = true;
        return this.#read(start, end, again);
      },
    };
  }

  /** After a request that failed: it may still be reading. */
  async reset(): Promise<void> {
    const reading = this.#reading;
    this.#reading = undefined;
    await reading?.stream[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reset();
  }

  async *#read(start: number, end: number, ready?: Promise<void>): AsyncGenerator<Uint8Array, void, undefined> {
    await ready;
    const reading = await this.#guarded(() => this.#at(start));
    while (reading.offset < end) {
      const chunk = await this.#guarded(async () => {
        const next = await this.#next(reading, end);
        if (reading.offset === this.#desc.size) this.#compare(reading);
        return next;
      });
      this.#given = Math.max(this.#given, reading.offset);
      yield chunk;
      this.#opts.onProgress?.(reading.offset);
    }
  }

  /** Keeps what goes wrong while the source is read, unless that reading was given up. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      if (!(err instanceof GivenUp)) this.#fault = err;
      throw err;
    }
  }

  async #at(start: number): Promise<Reading> {
    let reading = this.#reading;
    if (reading === undefined || reading.offset > start) {
      await this.reset();
      reading = await this.#open(start);
      this.#reading = reading;
    }
    while (reading.offset < start) await this.#next(reading, start);
    return reading;
  }

  async #open(start: number): Promise<Reading> {
    while (this.#snapshots.length > 1 && (this.#snapshots.at(-1)?.offset ?? 0) > start) this.#snapshots.pop();
    const { offset, hash } = this.#snapshots.at(-1) ?? { offset: 0, hash: createHash(algorithmOf(this.#desc.digest)) };
    const stream = await this.#source.open({ signal: this.#opts.signal, offset });
    return { stream, chunks: stream[Symbol.asyncIterator](), hash: hash.copy(), offset, rest: undefined };
  }

  /** The next bytes, as far as `limit` at most, hashed. */
  async #next(reading: Reading, limit: number): Promise<Uint8Array> {
    const chunk = reading.rest ?? (await this.#more(reading));
    const head = chunk.subarray(0, limit - reading.offset);
    reading.rest = head.byteLength < chunk.byteLength ? chunk.subarray(head.byteLength) : undefined;
    if (reading.rest !== undefined && limit === this.#desc.size) {
      throw this.#wrong('SIZE_MISMATCH', `is longer than ${limit} bytes`);
    }
    reading.hash.update(head);
    reading.offset += head.byteLength;
    if (reading.offset - (this.#snapshots.at(-1)?.offset ?? 0) >= SNAPSHOT_BYTES) this.#snapshot(reading);
    return head;
  }

  #isGivenUp(reading: Reading): boolean {
    return this.#reading !== reading;
  }

  async #more(reading: Reading): Promise<Uint8Array> {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await reading.chunks.next();
    } catch (err) {
      throw this.#isGivenUp(reading) ? new GivenUp() : err;
    }
    if (this.#isGivenUp(reading)) throw new GivenUp();
    if (next.done !== true) return next.value;
    throw this.#wrong('SIZE_MISMATCH', `ended at ${reading.offset} of ${this.#desc.size} bytes`);
  }

  #snapshot({ offset, hash }: Reading): void {
    this.#snapshots.push({ offset, hash: hash.copy() });
    if (this.#snapshots.length > MAX_SNAPSHOTS) this.#snapshots.splice(1, 1); // the first one is for a start from zero
  }

  #compare({ hash }: Reading): void {
    const { digest } = this.#desc;
    const got = `${algorithmOf(digest)}:${hash.copy().digest('hex')}`;
    if (got !== digest) throw this.#wrong('DIGEST_MISMATCH', `has bytes that are ${got}`);
  }

  #wrong(code: 'SIZE_MISMATCH' | 'DIGEST_MISMATCH', what: string): GantryError {
    const { digest } = this.#desc;
    return new GantryError(code, `${digest} ${what}`, { origin: 'source', digest });
  }
}

class GivenUp extends Error {}
