/**
 * Content while somebody writes it, this process or another one on the same disk. What the disk shows is followed: the lock names
 * the owner, whose file grows in order and without holes; a takeover makes a file that begins with the same bytes; a commit renames it.
 */
import { constants } from 'node:fs';
import { type ByteStream, sleep } from '../call.ts';
import type { FollowOptions, FollowRequest } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import { attemptsOf } from './attempts.ts';
import type { BlobParts } from './blob-stream.ts';
import type { FileLocks } from './file-lock.ts';
import { type FileHandle, ifExists, quietly, storeError } from './fs.ts';

export interface GrowingParts extends BlobParts {
  readonly locks: FileLocks;
}

const READ_BYTES = 256 << 10;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW;
/** Between two looks while nothing comes, in milliseconds. Events of the file system do not cross a network. */
const FIRST_LOOK_MS = 25;
const LAST_LOOK_MS = 250;
const DEFAULT_PATIENCE_MS = 60_000;

/** A stream of what is there or being written; undefined when it is neither. */
export async function followGrowing(
  parts: GrowingParts,
  request: FollowRequest,
  opts: FollowOptions,
): Promise<ByteStream | undefined> {
  const follower = new Follower(parts, request, opts);
  try {
    if (!(await follower.look())) return undefined;
  } catch (err) {
    await follower.close();
    throw storeError(err, `cannot read ${request.digest}`);
  }
  const blocks = follower.blocks();
  return {
    [Symbol.asyncIterator]: () => blocks,
    [Symbol.asyncDispose]: async () => {
      await blocks.return(undefined);
      await follower.close(); // a generator that was never started does not reach its own finally
    },
  };
}

/**
 * One reader. It hands out the last byte only when the file that it reads has become the blob, which says that all its bytes are right, and
 * goes over to another file only when that begins with what was handed out. To hash that again would cost each reader as much as the writer.
 */
class Follower {
  readonly #parts: GrowingParts;
  readonly #request: FollowRequest;
  readonly #opts: FollowOptions;
  #position = 0;
  /** What is read now, and whose it is; a blob is nobody's. */
  #file: FileHandle | undefined;
  #owner = '';
  #isBlob = false;

  constructor(parts: GrowingParts, request: FollowRequest, opts: FollowOptions) {
    this.#parts = parts;
    this.#request = request;
    this.#opts = opts;
  }

  /** Finds where the content is now. Whether it is there, or somebody was at it. */
  async look(): Promise<boolean> {
    return (await this.#findBlob()) || (await this.#findIngest());
  }

  async *blocks(): AsyncGenerator<Uint8Array, void, undefined> {
    const { digest, size } = this.#request;
    let lookMs = FIRST_LOOK_MS;
    let cameAt = performance.now();
    try {
      for (;;) {
        this.#opts.signal.throwIfAborted();
        const isExpected = this.#opts.isExpected?.() === true; // what came after it was is found by the looks that follow
        const block = await this.#read();
        if (block !== undefined) {
          yield block;
          lookMs = FIRST_LOOK_MS;
          cameAt = performance.now();
        } else if (this.#isBlob) {
          if (this.#position === size) return;
          throw new GantryError('SIZE_MISMATCH', `${digest} ends at ${this.#position} of ${size} bytes`, {
            origin: 'store',
            digest,
          });
        } else if (!(await this.#findBlob())) {
          const isThere = await this.#findIngest();
          const isLate = performance.now() - cameAt > (this.#opts.patienceMs ?? DEFAULT_PATIENCE_MS);
          if (isLate && !isExpected) throw this.#late(isThere);
          await sleep(lookMs, this.#opts.signal);
          lookMs = Math.min(LAST_LOOK_MS, lookMs * 2);
        }
      }
    } catch (err) {
      throw storeError(err, `cannot read ${digest}`);
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) await quietly(file.close());
  }

  /** What has come since, without what must be held back; undefined when there is nothing. */
  async #read(): Promise<Uint8Array | undefined> {
    const { size } = this.#request;
    // Of unfinished content the last byte is kept: a client that has all bytes would take them for good.
    const wanted = Math.min(READ_BYTES, size - this.#position - (this.#isBlob ? 0 : 1));
    if (this.#file === undefined || wanted <= 0) return undefined;
    const buffer = Buffer.allocUnsafe(wanted);
    const { bytesRead } = await this.#file.read(buffer, 0, wanted, this.#position);
    if (bytesRead === 0) return undefined;
    const block = buffer.subarray(0, bytesRead);
    this.#position += bytesRead;
    return block;
  }

  /** Whether the content is whole and under its name; it is read from there then. */
  async #findBlob(): Promise<boolean> {
    const { fs, layout } = this.#parts;
    const { digest, size } = this.#request;
    const path = layout.blob(digest);
    const info = await ifExists(fs.lstat(path));
    if (info?.isFile() !== true || info.size !== size) return false;
    // The file that was followed has only got its name.
    const isSame = this.#file !== undefined && (await this.#file.stat()).ino === info.ino;
    if (!isSame && !(await this.#switchTo(path))) return false;
    this.#isBlob = true;
    return true;
  }

  /** Whether there is an ingest of it. A new owner's file has what the earlier ones had, or soon will. */
  async #findIngest(): Promise<boolean> {
    const { layout, locks } = this.#parts;
    const { ref, digest, size } = this.#request;
    const seen = await locks.look(layout.ingestLock(ref));
    if (seen === undefined) return false;
    const [attempt] = attemptsOf(seen);
    const isOurs = attempt?.owner === seen.owner && attempt.digest === digest && attempt.size === size;
    if (!isOurs || seen.owner === this.#owner) return isOurs;
    if (await this.#switchTo(layout.ingestData(ref, seen.owner))) this.#owner = seen.owner;
    return true;
  }

  /** Whether the file is there, and has all that was handed out. */
  async #switchTo(path: string): Promise<boolean> {
    const file = await ifExists(this.#parts.fs.open(path, READ));
    if (file === undefined) return false;
    const before = this.#file;
    let unused: FileHandle | undefined = file;
    try {
      if ((await file.stat()).size < this.#position) return false;
      await this.#compare(file);
      this.#file = file;
      unused = before;
      return true;
    } finally {
      if (unused !== undefined) await quietly(unused.close());
    }
  }

  /** What was handed out may have come from an attempt that turned out to be wrong, and was begun again. */
  async #compare(file: FileHandle): Promise<void> {
    const { digest } = this.#request;
    const [ours, theirs] = [Buffer.allocUnsafe(READ_BYTES), Buffer.allocUnsafe(READ_BYTES)];
    for (let at = 0; at < this.#position;) {
      this.#opts.signal.throwIfAborted();
      const wanted = Math.min(READ_BYTES, this.#position - at);
      const [mine, other] = await Promise.all([
        this.#file?.read(ours, 0, wanted, at),
        file.read(theirs, 0, wanted, at),
      ]);
      const count = Math.min(mine?.bytesRead ?? 0, other.bytesRead);
      if (count === 0 || ours.compare(theirs, 0, count, 0, count) !== 0) {
        throw new GantryError('DIGEST_MISMATCH', `${digest}: bytes that were handed out were wrong`, {
          origin: 'source',
          digest,
        });
      }
      at += count;
    }
  }

  #late(isThere: boolean): GantryError {
    const { digest } = this.#request;
    return isThere
      ? new GantryError('TIMEOUT', `nothing more of ${digest} has come for too long`, { origin: 'store', digest })
      : new GantryError('NOT_FOUND', `the ingest of ${digest} has ended without it`, { origin: 'store', digest });
  }
}
