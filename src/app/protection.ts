/** Keeps garbage collection away from what open runs rely on, for as long as a worker lives. */
import type { ContentStore } from '../store/content-store.ts';

const RENEW_EVERY_MS = 60_000;
const opts = { signal: new AbortController().signal };

export interface ProtectionParts {
  readonly store: ContentStore;
  /** No run is open, and nothing is handled. */
  readonly isIdle: () => Promise<boolean>;
  readonly everyMs?: number;
  readonly onError: (err: unknown) => void;
}

/**
 * Holds a session of the store. What a session claims only grows, so between runs a new one takes its place: else a worker
 * that lives for months would keep all that it ever saw from being collected.
 */
export class Protection implements AsyncDisposable {
  readonly #parts: ProtectionParts;
  readonly #timer: NodeJS.Timeout;
  #session: AsyncDisposable;
  #isUsed = false;
  #renewing: Promise<void> | undefined;

  private constructor(parts: ProtectionParts, session: AsyncDisposable) {
    this.#parts = parts;
    this.#session = session;
    this.#timer = setInterval(() => this.#tick(), parts.everyMs ?? RENEW_EVERY_MS);
  }

  static async start(parts: ProtectionParts): Promise<Protection> {
    return new Protection(parts, await parts.store.protect(opts));
  }

  /** Something was claimed since the session began. */
  used(): void {
    this.#isUsed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    await this.#session[Symbol.asyncDispose]();
  }

  #tick(): void {
    if (!this.#isUsed || this.#renewing !== undefined) return;
    this.#renewing = this.#renew()
      .catch(this.#parts.onError)
      .finally(() => {
        this.#renewing = undefined;
      });
  }

  async #renew(): Promise<void> {
    const { store, isIdle } = this.#parts;
    if (!(await isIdle())) return;
    const next = await store.protect(opts);
    // Asked once more: a run that began in between has claims in the old one alone; one that begins from now on, in both.
    const [before, after] = (await isIdle()) ? [this.#session, next] : [next, this.#session];
    this.#isUsed = after !== next;
    this.#session = after;
    await before[Symbol.asyncDispose]();
  }
}
