/**
 * Locks between processes on one file system, also a network one: a file that exists is held, its content names the owner,
 * and a heartbeat changes it. They keep work from being done twice; correctness never depends on them.
 */
import { randomUUID } from 'node:crypto';
import { type CallOptions, lockBackoffMs, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import {
  type FileHandle,
  ifExists,
  isErrno,
  quietly,
  type StoreFs,
  takeAway,
  unlinkIfExists,
  writeText,
} from './fs.ts';
import { LEFT_BEHIND, beatText, type LockNote, type LockSeen, lockHead, parseLock } from './lock-file.ts';

/** Makes the note of a lock; it is given what is being taken over: the file was there, and nobody held it. */
export type NoteMaker = (previous: LockSeen | undefined) => LockNote | Promise<LockNote>;

export type LockAttempt =
  { readonly state: 'held'; readonly lock: FileLock } | { readonly state: 'busy'; readonly seen: LockSeen };

interface Observation {
  readonly content: string;
  readonly since: number;
}

/** So often a lock may vanish or change hands while we look at it, before something else must be wrong with it. */
const MAX_ROUNDS = 100;

export class FileLocks {
  readonly #fs: StoreFs;
  readonly #staleMs: number;
  /** When each lock was last seen to change, on our own monotonic clock: other machines' clocks prove nothing. */
  readonly #observed = new Map<string, Observation>();

  constructor(fs: StoreFs, options: { staleMs: number }) {
    this.#fs = fs;
    this.#staleMs = options.staleMs;
  }

  /** Takes the lock, or tells who has it. A holder that was not seen to change for `staleMs` is taken over. */
  async tryAcquire(path: string, note: NoteMaker = () => ({})): Promise<LockAttempt> {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const fresh = await this.#create(path, await note(undefined));
      if (fresh !== undefined) return { state: 'held', lock: fresh };
      const content = await this.#read(path);
      if (content === undefined) continue; // released in between
      const seen = parseLock(content);
      if (seen.holder !== 'left' && !this.#isStale(path, content)) return { state: 'busy', seen };
      const lock = await this.#takeOver(path, content, await note(seen));
      if (lock !== undefined) return { state: 'held', lock };
    }
    throw new GantryError('IO', `cannot lock ${path}: it neither exists nor can be made`, {
      origin: 'store',
      hint: 'remove it',
    });
  }

  /** Waits for the lock. */
  async acquire(path: string, opts: CallOptions): Promise<FileLock> {
    for (let attempt = 0; ; attempt += 1) {
      opts.signal.throwIfAborted();
      const result = await this.tryAcquire(path);
      if (result.state === 'held') return result.lock;
      await sleep(lockBackoffMs(attempt), opts.signal);
    }
  }

  /** What a lock file says now; undefined when there is none. */
  async look(path: string): Promise<LockSeen | undefined> {
    const content = await this.#read(path);
    return content === undefined ? undefined : parseLock(content);
  }

  /**
   * Whether somebody holds it. Takes up to `staleMs` where only the heartbeat can tell; when nobody does, `tryAcquire` then
   * takes it over at once.
   */
  async isHeld(path: string, opts: CallOptions): Promise<boolean> {
    for (let attempt = 0; ; attempt += 1) {
      const before = this.#observed.get(path)?.content;
      const content = await this.#read(path);
      if (content === undefined) return false;
      const seen = parseLock(content);
      if (seen.holder !== 'unknown') return seen.holder === 'alive';
      if (this.#isStale(path, content)) return false;
      if (before !== undefined && before !== content) return true;
      await sleep(Math.min(lockBackoffMs(attempt), this.#staleMs / 4), opts.signal);
    }
  }

  #isStale(path: string, content: string): boolean {
    const now = performance.now();
    const last = this.#observed.get(path);
    if (last === undefined || last.content !== content) {
      this.#observed.set(path, { content, since: now });
      return false;
    }
    return now - last.since >= this.#staleMs;
  }

  async #read(path: string): Promise<string | undefined> {
    const bytes = await ifExists(this.#fs.readFile(path));
    if (bytes === undefined) this.#observed.delete(path);
    return bytes?.toString();
  }

  async #create(path: string, note: LockNote): Promise<FileLock | undefined> {
    const owner = randomUUID();
    const madeAt = performance.now();
    let file: FileHandle;
    try {
      file = await this.#fs.open(path, 'wx', 0o644);
    } catch (err) {
      if (isErrno(err, 'EEXIST')) return undefined;
      throw err;
    }
    this.#observed.delete(path);
    const head = lockHead(owner, note);
    try {
      await writeText(file, head + beatText(0));
    } catch (err) {
      // Left empty, the file would keep everybody out for as long as it takes to be called stale.
      await Promise.all([quietly(this.#fs.unlink(path)), quietly(file.close())]);
      throw err;
    }
    const beatAt = Buffer.byteLength(head);
    return new FileLock({ fs: this.#fs, path, file, owner, beatAt, madeAt, staleMs: this.#staleMs });
  }

  async #takeOver(path: string, judged: string, note: LockNote): Promise<FileLock | undefined> {
    const aside = `${path}.${randomUUID()}.old`;
    const isJudged = async (): Promise<boolean> => (await this.#fs.readFile(aside)).toString() === judged;
    if (!(await takeAway(this.#fs, path, aside, isJudged))) return undefined;
    try {
      return await this.#create(path, note);
    } finally {
      await quietly(this.#fs.unlink(aside));
    }
  }
}

interface FileLockParts {
  readonly fs: StoreFs;
  readonly path: string;
  readonly file: FileHandle;
  readonly owner: string;
  readonly beatAt: number;
  readonly madeAt: number;
  readonly staleMs: number;
}

/** A lock that is held. Disposing it releases it. */
export class FileLock implements AsyncDisposable {
  readonly owner: string;
  readonly #parts: FileLockParts;
  readonly #beatEveryMs: number;
  #timer: NodeJS.Timeout | undefined;
  /** The last sign of life that others could see, on our clock. */
  #seenAt: number;
  #beats = 0;
  #lost = false;
  #ended = false;
  #beating: Promise<void> = Promise.resolve();

  constructor(parts: FileLockParts) {
    this.owner = parts.owner;
    this.#parts = parts;
    this.#seenAt = parts.madeAt;
    this.#beatEveryMs = Math.max(50, Math.floor(parts.staleMs / 5));
    this.#schedule();
  }

  /** Seen at the last heartbeat: somebody else has taken over. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Looks at the file: do we still hold the lock? */
  async isOurs(): Promise<boolean> {
    const { fs, path, file } = this.#parts;
    const [ours, there] = await Promise.all([file.stat(), ifExists(fs.lstat(path))]);
    this.#lost ||= there === undefined || there.ino !== ours.ino;
    return !this.#lost;
  }

  /** Gives the lock up and removes it. */
  async release(): Promise<void> {
    await this.#end(async () => {
      // Nobody takes over what gave a sign of life a moment ago; only whoever has slept must look.
      const fresh = performance.now() - this.#seenAt < this.#parts.staleMs / 2;
      if (fresh ? this.#lost : !(await this.isOurs())) return;
      try {
        await unlinkIfExists(this.#parts.fs, this.#parts.path);
      } catch (err) {
        await quietly(this.#parts.file.write(LEFT_BEHIND, this.#parts.beatAt));
        throw err;
      }
    });
  }

  /** Gives the lock up and leaves its note, for whoever goes on with the work. */
  async leave(): Promise<void> {
    await this.#end(async () => {
      await this.#parts.file.write(LEFT_BEHIND, this.#parts.beatAt);
    });
  }

  /** As release, but never throws: by then the work is done, and the file gives itself away as left behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    await quietly(this.release());
  }

  async #end(last: () => Promise<void>): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    await this.#beating;
    try {
      await last();
    } finally {
      await this.#parts.file.close();
    }
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#beating = this.#beat().finally(() => {
        if (!this.#ended && !this.#lost) this.#schedule();
      });
    }, this.#beatEveryMs);
    this.#timer.unref();
  }

  async #beat(): Promise<void> {
    const { file, beatAt } = this.#parts;
    const at = performance.now();
    this.#beats += 1;
    try {
      // Through our own handle: after a takeover the file has another name, and this can no longer hurt the new holder.
      await file.write(beatText(this.#beats), beatAt);
      // On a network file system a write may stay on this machine for half a minute; a change of times takes it along.
      const now = new Date();
      await file.utimes(now, now);
      if (await this.isOurs()) this.#seenAt = at;
    } catch {
      // A beat that fails is one that nobody sees. Whether it costs us the lock, the next one tells.
    }
  }
}
