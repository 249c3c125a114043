import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import { Slots } from '../flow/slots.ts';
import { RateLimit } from './rate-limit.ts';

/** Which way the content of a request goes. */
export type Direction = 'read' | 'write';

/** What the registry said when it asked to be left alone: an error of it. */
type Closing = Pick<GantryError, 'message' | 'host'>;

/**
 * What all requests to one registry share: a number of connections each way, and a time before which it wants to be left alone. Each
 * way has its own, because a copy within one registry reads while it writes: who holds a place for writing may wait for one for
 * reading, and nobody does the reverse, so that none waits for ever. That is why an upload keeps one place (`hold`) while it
 * opens its source, again and again if need be.
 */
export class Gate {
  readonly #slots: Readonly<Record<Direction, Slots>>;
  readonly #pace: RateLimit | undefined;
  #closedUntil = 0;
  #patienceMs = 0;
  #why: Closing = { message: '', host: undefined };

  /** @param perSecond requests a second, both ways together */
  constructor(maxConnections: number, perSecond?: number) {
    this.#pace = perSecond === undefined ? undefined : new RateLimit(perSecond);
    this.#slots = { read: new Slots(maxConnections), write: new Slots(maxConnections) };
  }

  /**
   * Waits until the registry may be asked; the answer gives the place back.
   * @throws GantryError RATE_LIMITED when that is too far away to wait for
   */
  async enter(direction: Direction, opts: CallOptions): Promise<() => void> {
    await this.#pace?.pass(1, opts);
    for (;;) {
      await this.#opened(opts); // before a place is taken: who waits holds none
      const leave = await this.#slots[direction].take(opts.signal);
      if (this.#closedUntil <= performance.now()) return leave;
      leave();
    }
  }

  /** The same for a request of somebody who holds a place. */
  async pass(opts: CallOptions): Promise<void> {
    await this.#pace?.pass(1, opts);
    await this.#opened(opts);
  }

  /** A place for several requests, one after the other; the answer gives it back. */
  hold(direction: Direction, { signal }: CallOptions): Promise<() => void> {
    return this.#slots[direction].take(signal);
  }

  /**
   * After a 429 or 503 with Retry-After. The later end wins: two answers never shorten each other's wait. Longer than
   * `patienceMs` nobody waits for it; of two answers the lesser patience holds.
   */
  closeFor(ms: number, why: Closing, patienceMs: number): void {
    const now = performance.now();
    this.#patienceMs = this.#closedUntil > now ? Math.min(this.#patienceMs, patienceMs) : patienceMs;
    const until = now + ms;
    if (until <= this.#closedUntil) return;
    this.#closedUntil = until;
    this.#why = why;
  }

  async #opened({ signal }: CallOptions): Promise<void> {
    for (;;) {
      const waitMs = this.#closedUntil - performance.now();
      if (waitMs <= 0) return;
      if (waitMs > this.#patienceMs) {
        const { message, host } = this.#why;
        const from = host === undefined ? {} : { host };
        throw new GantryError('RATE_LIMITED', message, {
          origin: 'source',
          retryAfterMs: Math.ceil(waitMs),
          ...from,
        });
      }
      await sleep(waitMs, signal);
    }
  }
}
