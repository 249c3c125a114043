import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import { Slots } from '../flow/slots.ts';

/** What all requests to one registry share: a number of connections, and a time before which it wants to be left alone. */
export class Gate {
  readonly #slots: Slots;
  readonly #maxWaitMs: number;
  #closedUntil = 0;
  #why = '';

  /** Longer than `maxWaitMs` nobody waits at it. */
  constructor(maxConnections: number, maxWaitMs: number) {
    this.#slots = new Slots(maxConnections);
    this.#maxWaitMs = maxWaitMs;
  }

  /**
   * Waits until the registry may be asked; the answer gives the place back.
   * @throws GantryError RATE_LIMITED when that is too far away to wait for
   */
  async enter(opts: CallOptions): Promise<() => void> {
    for (;;) {
      const waitMs = this.#closedUntil - performance.now();
      if (waitMs > this.#maxWaitMs) {
        throw new GantryError('RATE_LIMITED', this.#why, { origin: 'source', retryAfterMs: Math.ceil(waitMs) });
      }
      if (waitMs > 0) {
        await sleep(waitMs, opts.signal); // before a place is taken: who waits holds none
        continue;
      }
      const leave = await this.#slots.take(opts.signal);
      if (this.#closedUntil <= performance.now()) return leave;
      leave();
    }
  }

  /** After a 429 or 503 with Retry-After. The later end wins: two answers never shorten each other's wait. */
  closeFor(ms: number, why: string): void {
    const until = performance.now() + ms;
    if (until <= this.#closedUntil) return;
    this.#closedUntil = until;
    this.#why = why;
  }
}
