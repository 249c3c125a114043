import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import { Slots } from '../flow/slots.ts';

/** What all requests to one registry share: a number of connections, and a time before which it wants to be left alone. */
export class Gate {
  readonly #slots: Slots;
  #closedUntil = 0;
  #patienceMs = 0;
  #why = '';

  constructor(maxConnections: number) {
    this.#slots = new Slots(maxConnections);
  }

  /**
   * Waits until the registry may be asked; the answer gives the place back.
   * @throws GantryError RATE_LIMITED when that is too far away to wait for
   */
  async enter(opts: CallOptions): Promise<() => void> {
    for (;;) {
      const waitMs = this.#closedUntil - performance.now();
      if (waitMs > this.#patienceMs) {
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

  /**
   * After a 429 or 503 with Retry-After. The later end wins: two answers never shorten each other's wait. Longer than
   * `patienceMs` nobody waits for it; of two answers the lesser patience holds.
   */
  closeFor(ms: number, why: string, patienceMs: number): void {
    const now = performance.now();
    this.#patienceMs = this.#closedUntil > now ? Math.min(this.#patienceMs, patienceMs) : patienceMs;
    const until = now + ms;
    if (until <= this.#closedUntil) return;
    this.#closedUntil = until;
    this.#why = why;
  }
}
