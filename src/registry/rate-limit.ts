import { type CallOptions, sleep } from '../call.ts';

/** Keeps all transfers together below a number of bytes per second. */
export class RateLimit {
  readonly #bytesPerMs: number;
  /** When the bytes that were let through so far are paid for. */
  #paidUntil = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Waits until `bytes` more may pass. */
  async pass(bytes: number, opts: CallOptions): Promise<void> {
    const now = performance.now();
    this.#paidUntil = Math.max(this.#paidUntil, now) + bytes / this.#bytesPerMs;
    const waitMs = this.#paidUntil - now;
    if (waitMs > 1) await sleep(waitMs, opts.signal);
  }
}
