/** Writes to one repository of a registry: blobs by mount or upload, manifests byte for byte. */
import { type CallOptions, sleep } from '../call.ts';
import { asGantryError, GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind, ContentSource, PushOptions, PutManifest, Pusher } from '../remote/ports.ts';
import { targetError } from '../remote/registry-errors.ts';
import { hasContent, lookupTag, putManifest } from './put-manifest.ts';
import type { RegistryRequests } from './requests.ts';
import { type OnRetry, retryDelayMs, type RetryConfig } from './retry.ts';
import {
  askSession,
  cancelUpload,
  sendChunk,
  sendRest,
  type Session,
  startUpload,
  type UploadParts,
} from './upload.ts';
import { VerifiedUpload } from './verified-upload.ts';

export interface PusherParts {
  readonly client: RegistryRequests;
  /** `host[:port]/path`. */
  readonly repository: string;
  readonly retry: RetryConfig;
  readonly onRetry: OnRetry | undefined;
  /** What was learned about the registry, for all its repositories. */
  readonly habits: RegistryHabits;
}

/** How a registry wants to be treated, as far as its answers have shown. */
export interface RegistryHabits {
  /** It declined a whole blob in one request: the size of the parts that are tried. Undefined: it has not. */
  chunkBytes: number | undefined;
}

const FIRST_CHUNK_BYTES = 64 << 20;
const LEAST_CHUNK_BYTES = 1 << 20;
/** Started by a mount that was not accepted; the upload that follows takes it up. */
const MAX_OPEN_SESSIONS = 64;
/** Lost sessions and broken parts of one blob together, beyond the tries that failed in a row. */
const MAX_ROUNDS = 100;
/** Progress that counts: after so many bytes an upload has earned a fresh budget of tries. */
const EARNED_BYTES = 1 << 20;

export class RegistryPusher implements Pusher {
  readonly #parts: PusherParts;
  readonly #upload: UploadParts;
  /** By digest. */
  readonly #sessions = new Map<string, Session>();

  constructor(parts: PusherParts) {
    this.#parts = parts;
    this.#upload = { client: parts.client, repository: parts.repository };
  }

  lookup(tag: string, opts: CallOptions): Promise<Digest | undefined> {
    return atTarget(undefined, () => lookupTag(this.#upload, tag, opts));
  }

  has(kind: ContentKind, desc: Descriptor, opts: CallOptions): Promise<boolean> {
    return atTarget(desc.digest, () => hasContent(this.#upload, kind, desc, opts));
  }

  putManifest(desc: Descriptor, bytes: Uint8Array, opts: CallOptions & { tag?: string }): Promise<PutManifest> {
    return atTarget(desc.digest, () => putManifest(this.#upload, desc, bytes, opts));
  }

  /** Whether the repository may be written: starts an upload and gives it up. @throws GantryError DENIED, UNAUTHORIZED, ... */
  async check(opts: CallOptions): Promise<void> {
    await atTarget(undefined, async () => {
      const started = await startUpload(this.#upload, undefined, opts);
      if (started.state === 'open') await cancelUpload(this.#upload, started.session, opts);
    });
  }

  async mount(desc: Descriptor, from: string | undefined, opts: CallOptions): Promise<boolean> {
    const path = from === undefined ? undefined : parseRepository(from).path;
    try {
      const started = await startUpload(this.#upload, { digest: desc.digest, from: path }, opts);
      if (started.state === 'mounted') return true;
      await this.#keep(desc, started.session, opts);
      return false;
    } catch (err) {
      // Not allowed to read the other repository, or a registry that knows no mounts. An upload tells whether this one may be written.
      if (isCode(err, 'UNAUTHORIZED', 'DENIED', 'NOT_FOUND', 'UNSUPPORTED')) return false;
      throw targetError(err, desc.digest);
    }
  }

  async push(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    await using upload = new VerifiedUpload(desc, source, opts);
    try {
      await this.#pushAll(desc, upload, opts);
    } catch (err) {
      throw upload.fault === undefined ? targetError(err, desc.digest) : err;
    }
  }

  async #pushAll(desc: Descriptor, upload: VerifiedUpload, opts: PushOptions): Promise<void> {
    let session = this.#sessions.get(desc.digest);
    this.#sessions.delete(desc.digest);
    let failures = 0;
    for (let round = 0; ; round += 1) {
      const before = session?.offset ?? 0;
      const tried = this.#parts.habits.chunkBytes;
      try {
        session ??= await this.#start(opts);
        session = await this.#send(session, desc, upload, opts);
        if (session === undefined) return;
        if (session.offset <= before) throw this.#stuck(session);
        failures = 0;
      } catch (err) {
        if (opts.signal.aborted || upload.fault !== undefined) {
          if (session !== undefined) await this.#giveUp(session);
          throw upload.fault ?? err;
        }
        await upload.reset();
        if (session !== undefined && wantsParts(err)) {
          await this.#giveUp(session);
          this.#smaller(tried, desc.size - session.offset, session.minChunk, err);
          session = undefined;
          continue; // not a failure: what was learned ends, at the smallest part
        }
        // The answer may have been lost, not the blob: most sessions that "are unknown" have been committed.
        if (session !== undefined && (await hasContent(this.#upload, 'blob', desc, opts))) return;
        if (session === undefined) throw err; // it could not be started, for which there were tries enough
        session = await this.#afterFailure(session, err, opts);
        failures = session !== undefined && session.offset - before >= EARNED_BYTES ? 1 : failures + 1;
        const delayMs = round >= MAX_ROUNDS ? undefined : this.#delayMs(err, failures);
        if (delayMs === undefined) {
          if (session !== undefined) await this.#giveUp(session);
          throw err;
        }
        this.#parts.onRetry?.(asGantryError(err), delayMs);
        await sleep(delayMs, opts.signal);
      }
    }
  }

  async #start(opts: CallOptions): Promise<Session> {
    const started = await startUpload(this.#upload, undefined, opts);
    if (started.state === 'open') return started.session;
    throw new GantryError('MALFORMED', `${this.#parts.repository}: an upload of nothing was answered with success`);
  }

  /** Sends what is left, or the next part of it. Undefined at the end. */
  async #send(
    session: Session,
    desc: Descriptor,
    upload: VerifiedUpload,
    opts: CallOptions,
  ): Promise<Session | undefined> {
    const { chunkBytes } = this.#parts.habits;
    const isLast = chunkBytes === undefined || session.offset >= desc.size;
    if (!isLast) return sendChunk(this.#upload, session, desc, upload, { ...opts, chunkBytes });
    await sendRest(this.#upload, session, desc, upload, opts);
    return undefined;
  }

  /** Also an answer that is none of an error: a registry may say for ever that it has another part than it was sent. */
  #stuck({ offset }: Session): GantryError {
    return new GantryError('UPSTREAM', `${this.#parts.repository}: an upload does not get beyond ${offset} bytes`);
  }

  /** Where to go on; undefined: with a new session. Throws what no further try can help. */
  async #afterFailure(session: Session, err: unknown, opts: CallOptions): Promise<Session | undefined> {
    if (isCode(err, 'NOT_FOUND')) return undefined;
    if (retryDelayMs(err, 1, this.#parts.retry) === undefined) return session;
    try {
      return await askSession(this.#upload, session, opts);
    } catch {
      opts.signal.throwIfAborted();
      return undefined; // the old session is lost, or of no use
    }
  }

  /**
   * After parts of `tried` bytes were refused (undefined: all at once), the last of which had `sent`.
   * @throws GantryError what the registry said, when it does not take the smallest parts either
   */
  #smaller(tried: number | undefined, sent: number, minChunk: number, err: unknown): void {
    const { habits } = this.#parts;
    if (habits.chunkBytes !== tried) return; // another upload has learned it meanwhile
    let next = tried === undefined ? FIRST_CHUNK_BYTES : tried / 4;
    // What a PUT may not bring, PATCH may. What a PATCH was refused for, it will be again.
    const most = tried === undefined ? Infinity : sent;
    while (next >= most && next >= LEAST_CHUNK_BYTES) next /= 4;
    if (next < Math.max(LEAST_CHUNK_BYTES, minChunk)) throw err;
    habits.chunkBytes = next;
  }

  #delayMs(err: unknown, failures: number): number | undefined {
    const again = new GantryError('UPSTREAM', 'an upload was lost');
    return retryDelayMs(isCode(err, 'NOT_FOUND') ? again : err, failures, this.#parts.retry);
  }

  async #keep(desc: Descriptor, session: Session, opts: CallOptions): Promise<void> {
    this.#sessions.set(desc.digest, session);
    const [oldest] = this.#sessions;
    if (this.#sessions.size <= MAX_OPEN_SESSIONS || oldest === undefined) return;
    this.#sessions.delete(oldest[0]);
    await cancelUpload(this.#upload, oldest[1], opts);
  }

  /** Also after an abort: it is one small request, and spares the registry an unfinished upload. */
  async #giveUp(session: Session): Promise<void> {
    await cancelUpload(this.#upload, session, { signal: AbortSignal.timeout(GIVE_UP_MS) }).catch(() => undefined);
  }
}

const GIVE_UP_MS = 2_000;

async function atTarget<T>(digest: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    throw targetError(err, digest);
  }
}

/** 413 Content Too Large, 405 of registries that take no body with PUT, 411. */
const PARTS_WANTED: ReadonlySet<number> = new Set([405, 411, 413]);

const wantsParts = (err: unknown): boolean => err instanceof GantryError && PARTS_WANTED.has(err.status ?? 0);
