/**
 * A session tells the garbage collection of other processes what a running pull relies on before any name needs it. Each
 * digest is claimed before we look whether it is there; the collection moves things aside before it reads the claims. So
 * either we see that it is gone, or the collection sees that we want it: nothing is lost in between.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { GantryError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { FileLock, FileLocks } from './file-lock.ts';
import { type FileHandle, ifExists, namesIn, quietly, type StoreFs, unlinkIfExists, writeText } from './fs.ts';
import type { Layout } from './layout.ts';

export interface SessionParts {
  readonly fs: StoreFs;
  readonly layout: Layout;
  readonly locks: FileLocks;
}

/**
 * A session on another machine or in another container that has shown no life for so long is over. Long, because what is
 * kept too long costs a little space, and what is taken from under a run costs the run; so clocks may differ by minutes.
 */
const DEAD_AFTER_MS = 3_600_000;

export class Session implements AsyncDisposable {
  readonly #fs: StoreFs;
  readonly #lock: FileLock;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #claimed = new Set<Digest>();

  private constructor(fs: StoreFs, lock: FileLock, file: FileHandle, path: string) {
    this.#fs = fs;
    this.#lock = lock;
    this.#file = file;
    this.#path = path;
  }

  static async start({ fs, layout, locks }: SessionParts): Promise<Session> {
    const base = join(layout.sessions, randomUUID());
    const attempt = await locks.tryAcquire(`${base}.lock`);
    if (attempt.state === 'busy') throw new GantryError('INTERNAL', `${base}.lock is not new`);
    try {
      return new Session(fs, attempt.lock, await fs.open(`${base}.claims`, 'a', 0o644), `${base}.claims`);
    } catch (err) {
      await quietly(attempt.lock.release());
      throw err;
    }
  }

  async claim(digest: Digest): Promise<void> {
    if (this.#claimed.has(digest)) return;
    if (this.#lock.lost) {
      throw new GantryError('LOST_LOCK', 'a garbage collection took this run for dead: it slept for too long', {
        origin: 'store',
        hint: 'start it again',
      });
    }
    // One write of one line: lines of concurrent claims never mix in a file that is opened for appending. It begins with the
    // line break, so that what a full disk has cut off does not spoil it.
    await writeText(this.#file, `\n${digest}\n`);
    this.#claimed.add(digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await quietly(this.#file.close());
    try {
      await unlinkIfExists(this.#fs, this.#path);
      await this.#lock.release();
    } catch {
      await quietly(this.#lock.leave()); // as long as there are claims, a lock must say that they are over
    }
  }
}

/** What all live sessions claim. The files that dead ones left behind are removed. */
export async function readClaims(parts: SessionParts): Promise<Set<Digest>> {
  const { fs, layout } = parts;
  const claims = new Set<Digest>();
  for (const entry of await namesIn(fs, layout.sessions)) {
    if (!entry.endsWith('.lock')) continue;
    const lock = join(layout.sessions, entry);
    const path = lock.replace(/\.lock$/, '.claims');
    if (await isOver(parts, lock)) {
      await unlinkIfExists(fs, path);
      await unlinkIfExists(fs, lock);
    } else {
      const text = (await ifExists(fs.readFile(path)))?.toString() ?? '';
      for (const line of text.split('\n')) if (isDigest(line)) claims.add(line);
    }
  }
  return claims;
}

async function isOver({ fs, locks }: SessionParts, lock: string): Promise<boolean> {
  const holder = (await locks.look(lock))?.holder;
  if (holder !== 'unknown') return holder !== 'alive';
  const info = await ifExists(fs.lstat(lock));
  return info === undefined || Date.now() - info.mtime.getTime() > DEAD_AFTER_MS;
}
