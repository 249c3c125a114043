import { join } from 'node:path';
import type { CallOptions } from '../call.ts';
import type { ContentInfo, ContentWriter, Ingest, IngestRequest, IngestStatus } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import { type Digester, isDigest } from '../oci/digest.ts';
import { type Attempt, attemptsOf, contentOf, noteOf, startOf } from './attempts.ts';
import type { FileLock, FileLocks, LockAttempt } from './file-lock.ts';
import { type FileHandle, ifExists, namesIn, quietly, type StoreFs, unlinkIfExists, writeAll } from './fs.ts';
import type { Layout } from './layout.ts';
import { Space } from './space.ts';
import type { DirectorySync } from './sync-dirs.ts';
import { BlobWriter, newDigester } from './writer.ts';

const COPY_BYTES = 1 << 20;
const MAX_REF_LENGTH = 1024;

export interface IngestsParts {
  readonly fs: StoreFs;
  readonly layout: Layout;
  readonly locks: FileLocks;
  readonly directories: DirectorySync;
}

/** The file of an earlier attempt. */
interface Left extends Attempt {
  readonly path: string;
  readonly bytes: number;
  readonly changedAt: Date;
}

/** The lock of an ingest, and what its earlier owners have left. */
interface Taken {
  readonly request: IngestRequest;
  readonly lock: FileLock;
  /** The file of this owner. */
  readonly path: string;
  readonly left: readonly Left[];
}

/** Unfinished writes: one lock file that names the ingest and its owner, and one file of bytes per owner. */
export class Ingests {
  readonly #parts: IngestsParts;
  readonly #space: Space;

  constructor(parts: IngestsParts) {
    this.#parts = parts;
    this.#space = new Space(parts.fs, parts.layout.root);
  }

  /** @param findPresent looks whether the content is there: the last writer may have committed just before we got the lock */
  async start(
    request: IngestRequest,
    findPresent: () => Promise<ContentInfo | undefined>,
    opts: CallOptions,
  ): Promise<Ingest> {
    checkRef(request.ref);
    const { attempt, left } = await this.#acquire(request);
    if (attempt.state === 'busy') return { state: 'busy', since: startOf(attempt.seen.note) ?? new Date() };
    const { lock } = attempt;
    const taken = { request, lock, path: this.#parts.layout.ingestData(request.ref, lock.owner), left };
    try {
      const info = await findPresent();
      if (info === undefined) return { state: 'open', writer: await this.#writer(taken, opts) };
      await this.#remove(left);
      await lock.release();
      return { state: 'present', info };
    } catch (err) {
      await this.#giveBack(taken);
      throw err;
    }
  }

  async list(opts: CallOptions): Promise<IngestStatus[]> {
    const { fs, layout } = this.#parts;
    const found: IngestStatus[] = [];
    for (const entry of await namesIn(fs, layout.ingests)) {
      opts.signal.throwIfAborted();
      const status = entry.endsWith('.lock') ? await this.status(join(layout.ingests, entry)) : undefined;
      if (status !== undefined) found.push(status);
    }
    return found.toSorted((a, b) => a.startedAt.getTime() - b.startedAt.getTime());
  }

  /** What a lock file says about its ingest. */
  async status(lockPath: string): Promise<IngestStatus | undefined> {
    const seen = await this.#parts.locks.look(lockPath);
    if (seen === undefined) return undefined;
    const { ref, digest, size } = seen.note;
    if (typeof ref !== 'string') return undefined;
    const data = (await this.#there(ref, attemptsOf(seen))).find((each) => isPartOf(each, seen.note));
    const startedAt = startOf(seen.note) ?? new Date(0);
    return {
      ref,
      offset: data?.bytes ?? 0,
      total: typeof size === 'number' && size >= 0 ? size : undefined,
      expected: isDigest(digest) ? digest : undefined,
      startedAt,
      updatedAt: data?.changedAt ?? startedAt,
    };
  }

  /** Removes an ingest that nobody holds, with its bytes. False when there is none. @throws GantryError BUSY */
  async abort(ref: string, opts: CallOptions): Promise<boolean> {
    const { layout, locks } = this.#parts;
    const path = layout.ingestLock(ref);
    if ((await locks.look(path)) === undefined) return false;
    const taken = (await locks.isHeld(path, opts)) ? undefined : await this.#acquire({ ref });
    if (taken?.attempt.state !== 'held') {
      throw new GantryError('BUSY', `the ingest ${ref} is being written`, {
        origin: 'store',
        hint: 'stop its writer first',
      });
    }
    await using _lock = taken.attempt.lock;
    await this.#remove(taken.left);
    return true;
  }

  /** Tries to take the lock, with a note that keeps what earlier owners have left. */
  async #acquire(request: IngestRequest): Promise<{ attempt: LockAttempt; left: readonly Left[] }> {
    let left: readonly Left[] = [];
    const attempt = await this.#parts.locks.tryAcquire(this.#parts.layout.ingestLock(request.ref), async (previous) => {
      left = await this.#there(request.ref, previous === undefined ? [] : attemptsOf(previous));
      return noteOf(request, previous, left);
    });
    return { attempt, left };
  }

  /** What is left of these attempts, the longest first. */
  async #there(ref: string, attempts: readonly Attempt[]): Promise<Left[]> {
    const found: Left[] = [];
    for (const attempt of attempts) {
      const path = this.#parts.layout.ingestData(ref, attempt.owner);
      const info = await ifExists(this.#parts.fs.lstat(path));
      if (info?.isFile() === true) found.push({ ...attempt, path, bytes: info.size, changedAt: info.mtime });
    }
    return found.toSorted((a, b) => b.bytes - a.bytes);
  }

  async #remove(left: readonly Left[]): Promise<void> {
    for (const { path } of left) await unlinkIfExists(this.#parts.fs, path);
  }

  async #writer({ request, lock, path, left }: Taken, opts: CallOptions): Promise<ContentWriter> {
    const digester = newDigester(request);
    const best = left.find((each) => isPartOf(each, contentOf(request)));
    // Now, not at the end: a process that is killed here again and again would fill the disk with copies.
    await this.#remove(left.filter((each) => each !== best));
    const usable = best?.bytes ?? 0;
    // While it is being copied the prefix is there twice.
    const reservation = await this.#space.reserve(Math.max(usable, (request.size ?? 0) - usable), request.ref);
    let file: FileHandle | undefined;
    try {
      file = await this.#parts.fs.open(path, 'wx', 0o444);
      const offset = best === undefined ? 0 : await this.#copyPrefix(best, file, digester, opts);
      if (best !== undefined) await this.#remove([best]);
      reservation.bytes = Math.max(0, (request.size ?? 0) - offset);
      const onEnd = (): void => this.#space.free(reservation);
      return new BlobWriter({ ...this.#parts, request, lock, file, path, offset, digester, reservation, onEnd });
    } catch (err) {
      this.#space.free(reservation);
      if (file !== undefined) await quietly(file.close());
      throw err;
    }
  }

  /** Leaves things as they were found: what earlier owners have written is not lost because we could not go on. */
  async #giveBack({ request, lock, path, left }: Taken): Promise<void> {
    await quietly(unlinkIfExists(this.#parts.fs, path));
    const kept = await this.#there(request.ref, left).catch(() => left);
    await quietly(kept.length > 0 ? lock.leave() : lock.release());
  }

  /**
   * Copies what an earlier owner wrote into our own file while hashing it. Never the same inode: that owner may only be
   * slow, and its late writes would corrupt what is verified here.
   */
  async #copyPrefix({ path, bytes }: Left, target: FileHandle, digester: Digester, opts: CallOptions): Promise<number> {
    const source = await ifExists(this.#parts.fs.open(path, 'r'));
    if (source === undefined) return 0;
    try {
      let copied = 0;
      while (copied < bytes) {
        opts.signal.throwIfAborted();
        const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, bytes - copied));
        const { bytesRead } = await source.read(buffer, 0, buffer.byteLength, copied);
        if (bytesRead === 0) break;
        const chunk = buffer.subarray(0, bytesRead);
        digester.update(chunk);
        await writeAll(target, [chunk]);
        copied += bytesRead;
      }
      return copied;
    } finally {
      await source.close();
    }
  }
}

/** Nothing that was written for other content, and nothing that is longer than this content can be. */
const isPartOf = (left: Left, { digest, size }: { readonly digest?: unknown; readonly size?: unknown }): boolean =>
  left.digest === digest && left.size === size && (left.size < 0 || left.bytes <= left.size);

function checkRef(ref: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (ref.length > 0 && ref.length <= MAX_REF_LENGTH && !/[\u0000-\u001f\u007f]/.test(ref)) return;
  throw new GantryError('INVALID', `not a name for an ingest: ${JSON.stringify(ref.slice(0, 100))}`, {
    origin: 'user',
    hint: `use up to ${MAX_REF_LENGTH} printable characters`,
  });
}
