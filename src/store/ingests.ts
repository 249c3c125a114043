import { join } from 'node:path';
import type { CallOptions } from '../call.ts';
import type { ContentInfo, ContentWriter, Ingest, IngestRequest, IngestStatus } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import { type Digester, isDigest } from '../oci/digest.ts';
import type { FileLock, FileLocks } from './file-lock.ts';
import { type FileHandle, ifExists, moved, namesIn, quietly, type StoreFs, unlinkIfExists, writeAll } from './fs.ts';
import type { Layout } from './layout.ts';
import type { LockNote, LockSeen } from './lock-file.ts';
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

/** The lock of an ingest, and what its earlier owner has left. */
interface Taken {
  readonly request: IngestRequest;
  readonly lock: FileLock;
  /** The file of this owner. */
  readonly path: string;
  /** The file of the owner before. */
  readonly left: string | undefined;
  /** Whether the owner before wrote the same content. */
  readonly same: boolean;
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
    const { layout, locks, fs } = this.#parts;
    checkRef(request.ref);
    const lockPath = layout.ingestLock(request.ref);
    const attempt = await locks.tryAcquire(lockPath, (previous) => noteOf(request, previous));
    if (attempt.state === 'busy') return { state: 'busy', since: startOf(attempt.seen.note) ?? new Date() };
    const taken = this.#taken(request, attempt.lock, attempt.previous);
    try {
      const info = await findPresent();
      if (info === undefined) return { state: 'open', writer: await this.#writer(taken, opts) };
      if (taken.left !== undefined) await unlinkIfExists(fs, taken.left);
      await taken.lock.release();
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
    const data = await ifExists(this.#parts.fs.lstat(this.#parts.layout.ingestData(ref, seen.owner)));
    const startedAt = startOf(seen.note) ?? new Date(0);
    return {
      ref,
      offset: data?.size ?? 0,
      total: typeof size === 'number' && size >= 0 ? size : undefined,
      expected: isDigest(digest) ? digest : undefined,
      startedAt,
      updatedAt: data?.mtime ?? startedAt,
    };
  }

  /** Removes an ingest that nobody holds, with its bytes. False when there is none. @throws GantryError BUSY */
  async abort(ref: string, opts: CallOptions): Promise<boolean> {
    const { layout, locks, fs } = this.#parts;
    const path = layout.ingestLock(ref);
    if ((await locks.look(path)) === undefined) return false;
    const attempt = (await locks.isHeld(path, opts)) ? undefined : await locks.tryAcquire(path, () => ({ ref }));
    if (attempt?.state !== 'held') {
      throw new GantryError('BUSY', `the ingest ${ref} is being written`, {
        origin: 'store',
        hint: 'stop its writer first',
      });
    }
    await using lock = attempt.lock;
    const { left } = this.#taken({ ref }, lock, attempt.previous);
    if (left !== undefined) await unlinkIfExists(fs, left);
    return true;
  }

  #taken(request: IngestRequest, lock: FileLock, previous: LockSeen | undefined): Taken {
    const { layout } = this.#parts;
    const before = previous?.owner ?? '';
    return {
      request,
      lock,
      path: layout.ingestData(request.ref, lock.owner),
      left: before === '' ? undefined : layout.ingestData(request.ref, before),
      same: previous?.note['digest'] === (request.digest ?? '') && previous.note['size'] === (request.size ?? -1),
    };
  }

  async #writer(taken: Taken, opts: CallOptions): Promise<ContentWriter> {
    const { fs } = this.#parts;
    const { request, lock, path, left } = taken;
    const digester = newDigester(request);
    const usable = await this.#usableBytes(taken);
    // While it is being copied the prefix is there twice.
    const reservation = await this.#space.reserve(Math.max(usable, (request.size ?? 0) - usable), request.ref);
    let file: FileHandle | undefined;
    try {
      file = await fs.open(path, 'wx', 0o444);
      const offset =
        left === undefined || usable === 0 ? 0 : await this.#copyPrefix(left, file, digester, usable, opts);
      if (left !== undefined) await unlinkIfExists(fs, left);
      reservation.bytes = Math.max(0, (request.size ?? 0) - offset);
      const onEnd = (): void => this.#space.free(reservation);
      return new BlobWriter({ ...this.#parts, request, lock, file, path, offset, digester, reservation, onEnd });
    } catch (err) {
      this.#space.free(reservation);
      if (file !== undefined) await quietly(file.close());
      throw err;
    }
  }

  /** Leaves things as they were found: what an earlier owner has written is not lost because we could not go on. */
  async #giveBack({ left, same, path, lock }: Taken): Promise<void> {
    const { fs } = this.#parts;
    const kept = left !== undefined && same && (await moved(fs, left, path).catch(() => false));
    if (!kept) await quietly(unlinkIfExists(fs, path));
    await quietly(kept ? lock.leave() : lock.release());
  }

  /** Nothing that was written for other content, and nothing that is longer than this content can be. */
  async #usableBytes({ left, same, request }: Taken): Promise<number> {
    if (left === undefined || !same) return 0;
    const info = await ifExists(this.#parts.fs.lstat(left));
    return info?.isFile() === true && info.size <= (request.size ?? Infinity) ? info.size : 0;
  }

  /**
   * Copies what the previous owner wrote into our own file while hashing it. Never the same inode: the previous owner may
   * only be slow, and its late writes would corrupt what is verified here.
   */
  async #copyPrefix(
    from: string,
    target: FileHandle,
    digester: Digester,
    length: number,
    opts: CallOptions,
  ): Promise<number> {
    const source = await ifExists(this.#parts.fs.open(from, 'r'));
    if (source === undefined) return 0;
    try {
      let copied = 0;
      while (copied < length) {
        opts.signal.throwIfAborted();
        const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, length - copied));
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

/** An ingest keeps the time at which it was first started, through every takeover. */
const noteOf = (request: IngestRequest, previous?: LockNote): LockNote => ({
  ref: request.ref,
  digest: request.digest ?? '',
  size: request.size ?? -1,
  startedAt: (previous === undefined ? undefined : startOf(previous)?.getTime()) ?? Date.now(),
});

function startOf(note: LockNote): Date | undefined {
  const { startedAt } = note;
  return typeof startedAt === 'number' && Number.isSafeInteger(startedAt) ? new Date(startedAt) : undefined;
}

function checkRef(ref: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (ref.length > 0 && ref.length <= MAX_REF_LENGTH && !/[\u0000-\u001f\u007f]/.test(ref)) return;
  throw new GantryError('INVALID', `not a name for an ingest: ${JSON.stringify(ref.slice(0, 100))}`, {
    origin: 'user',
    hint: `use up to ${MAX_REF_LENGTH} printable characters`,
  });
}
