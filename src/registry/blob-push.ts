/** Sends one blob to a repository, through whatever goes wrong on the way. */
import { sleep } from '../call.ts';
import { asGantryError, GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { PushOptions } from '../remote/ports.ts';
import { hasContent } from './put-manifest.ts';
import { type OnRetry, retryDelayMs, type RetryConfig } from './retry.ts';
import {
  askSession,
  cancelUpload,
  partEnd,
  sendChunk,
  sendRest,
  type Session,
  startUpload,
  type UploadParts,
} from './upload.ts';
import type { VerifiedUpload } from './verified-upload.ts';

/** How a registry wants to be treated, as far as its answers have shown. */
export interface RegistryHabits {
  /** It declined a whole blob in one request: the size of the parts that are tried. Undefined: it has not. */
  chunkBytes: number | undefined;
  /** The size that it has taken last. Undefined: none so far. */
  taken?: number;
}

export interface BlobPushParts {
  readonly to: UploadParts;
  readonly retry: RetryConfig;
  readonly onRetry: OnRetry | undefined;
  /** What was learned about the registry, for all its repositories. */
  readonly habits: RegistryHabits;
  readonly desc: Descriptor;
  readonly upload: VerifiedUpload;
  /** Started by a mount that was not accepted. */
  readonly session: Session | undefined;
}

const FIRST_CHUNK_BYTES = 64 << 20;
const LEAST_CHUNK_BYTES = 1 << 20;
/** Lost sessions and parts of one blob that broke or came in part, together, beyond the tries that failed in a row. */
const MAX_ROUNDS = 100;
/** Progress that counts: after so many bytes an upload has earned a fresh budget of tries. */
const EARNED_BYTES = 1 << 20;
const GIVE_UP_MS = 2_000;

export class BlobPush {
  readonly #parts: BlobPushParts;
  readonly #opts: PushOptions;
  #session: Session | undefined;
  /** What the registry had before the last request. */
  #before = 0;
  /** The size of parts that the last request went by. */
  #tried: number | undefined;
  #failures = 0;
  #rounds = 0;

  constructor(parts: BlobPushParts, opts: PushOptions) {
    this.#parts = parts;
    this.#opts = opts;
    this.#session = parts.session;
  }

  /** @throws GantryError what the source threw, or what the registry said to the last try */
  async run(): Promise<void> {
    for (;;) {
      try {
        if (await this.#step()) return;
      } catch (err) {
        if (await this.#isThereAfter(err)) return;
      }
    }
  }

  /** One request that sends bytes; true when it was the last. */
  async #step(): Promise<boolean> {
    const { to, desc, upload, habits } = this.#parts;
    const { chunkBytes } = habits;
    const session = (this.#session ??= await this.#start());
    this.#before = session.offset;
    this.#tried = chunkBytes;
    if (chunkBytes === undefined || session.offset >= desc.size) {
      await sendRest(to, session, desc, upload, this.#opts);
      return true;
    }
    const end = partEnd(session, desc, chunkBytes);
    this.#session = await sendChunk(to, session, desc, upload, { ...this.#opts, end });
    // Also an answer that is none of an error: a registry may keep a byte of each part for ever.
    if (this.#session.offset < end) throw short(to, this.#session, end);
    habits.taken = chunkBytes;
    this.#failures = 0;
    return false;
  }

  async #start(): Promise<Session> {
    const { to } = this.#parts;
    const started = await startUpload(to, undefined, this.#opts);
    if (started.state === 'open') return started.session;
    throw new GantryError('MALFORMED', `${to.repository}: an upload of nothing was answered with success`);
  }

  /** Gets ready for another try. True when none is needed: the answer was lost, not the blob. */
  async #isThereAfter(err: unknown): Promise<boolean> {
    const { to, desc, upload } = this.#parts;
    const session = this.#session;
    if (this.#opts.signal.aborted || upload.fault !== undefined) return this.#giveUp(upload.fault ?? err);
    await upload.reset();
    if (session === undefined) throw err; // it could not be started, for which there were tries enough
    if (wantsParts(err)) {
      await this.#cancel();
      this.#smaller(desc.size - session.offset, session.minChunk, err);
      return false; // not a failure: what was learned ends, at the smallest part
    }
    // Most sessions that "are unknown" have been committed.
    if (await hasContent(to, 'blob', desc, this.#opts)) return true;
    this.#session = await this.#where(session, err);
    const hasEarned = (this.#session?.offset ?? 0) - this.#before >= EARNED_BYTES;
    this.#failures = hasEarned ? 1 : this.#failures + 1;
    this.#rounds += 1;
    const delayMs = this.#rounds > MAX_ROUNDS ? undefined : this.#delayMs(err);
    if (delayMs === undefined) return this.#giveUp(err);
    this.#parts.onRetry?.(asGantryError(err), delayMs);
    await sleep(delayMs, this.#opts.signal);
    return false;
  }

  /** Where to go on; undefined: with a new session. */
  async #where(session: Session, err: unknown): Promise<Session | undefined> {
    if (isCode(err, 'NOT_FOUND')) return undefined;
    if (this.#delayMs(err) === undefined) return session;
    try {
      return await askSession(this.#parts.to, session, this.#parts.upload, this.#opts);
    } catch (why) {
      this.#opts.signal.throwIfAborted();
      if (!isCode(why, 'NOT_FOUND')) await this.#cancel(); // it is of no use, and would be left open
      return undefined;
    }
  }

  /**
   * After a part was refused that had `sent` bytes. A blob that is refused at every size says nothing about others.
   * @throws GantryError what the registry said, when it does not take the smallest parts either
   */
  #smaller(sent: number, minChunk: number, err: unknown): void {
    const { habits } = this.#parts;
    const tried = this.#tried;
    if (habits.chunkBytes !== tried) return; // another upload has learned it meanwhile
    let next = tried === undefined ? FIRST_CHUNK_BYTES : tried / 4;
    // What a PUT may not bring, PATCH may. What a PATCH was refused for, it will be again.
    const most = tried === undefined ? Infinity : sent;
    while (next >= most && next >= LEAST_CHUNK_BYTES) next /= 4;
    const isTooSmall = next < Math.max(LEAST_CHUNK_BYTES, minChunk);
    habits.chunkBytes = isTooSmall ? habits.taken : next;
    if (isTooSmall) throw err;
  }

  #delayMs(err: unknown): number | undefined {
    const again = isCode(err, 'NOT_FOUND') ? new GantryError('UPSTREAM', 'an upload was lost') : err;
    return retryDelayMs(again, Math.max(1, this.#failures), this.#parts.retry);
  }

  async #giveUp(err: unknown): Promise<never> {
    await this.#cancel();
    throw err;
  }

  /** Also after an abort: it is one small request, and spares the registry an unfinished upload. */
  async #cancel(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    await cancelUpload(this.#parts.to, session, { signal: AbortSignal.timeout(GIVE_UP_MS) }).catch(() => undefined);
  }
}

const short = ({ repository }: UploadParts, { offset }: Session, end: number): GantryError =>
  new GantryError('UPSTREAM', `${repository}: an upload stands at ${offset} bytes when it was sent ${end}`);

/** 413 Content Too Large, 405 of registries that take no body with PUT, 411. */
const PARTS_WANTED: ReadonlySet<number> = new Set([405, 411, 413]);

const wantsParts = (err: unknown): boolean => err instanceof GantryError && PARTS_WANTED.has(err.status ?? 0);
