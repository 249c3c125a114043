import type { CallOptions } from '../call.ts';

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly stop: AbortController;
  waiters: number;
  /** When the answer is too old; infinite while the call is under way. */
  expiresAt: number;
}

export interface SharedCallsOptions {
  /** How long an answer is given to later callers, in milliseconds. */
  readonly ttlMs: number;
  readonly maxEntries?: number;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

/**
 * One call in flight per key, and its answer kept for a while; a failure is not kept. A caller that gives up leaves the
 * others alone, and the call itself ends when the last of them has left.
 */
export class SharedCalls<T> {
  readonly #flights = new Map<string, Flight<T>>();
  readonly #options: Required<SharedCallsOptions>;

  constructor(options: SharedCallsOptions) {
    this.#options = { maxEntries: 1024, now: () => performance.now(), ...options };
  }

  async get(key: string, start: (opts: CallOptions) => Promise<T>, { signal }: CallOptions): Promise<T> {
    signal.throwIfAborted();
    const known = this.#flights.get(key);
    const flight = known !== undefined && this.#options.now() < known.expiresAt ? known : this.#start(key, start);
    flight.waiters += 1;
    try {
      return await untilAborted(flight.promise, signal);
    } finally {
      flight.waiters -= 1;
      if (flight.waiters === 0 && flight.expiresAt === Infinity) {
        this.#drop(key, flight);
        flight.stop.abort(signal.reason);
      }
    }
  }

  /** An answer that came another way. */
  know(key: string, answer: T): void {
    this.#start(key, () => Promise.resolve(answer));
  }

  /** The next caller asks again. A call under way goes on for those that wait for it. */
  forget(key: string): void {
    this.#flights.delete(key);
  }

  #start(key: string, start: (opts: CallOptions) => Promise<T>): Flight<T> {
    const stop = new AbortController();
    const flight: Flight<T> = { promise: start({ signal: stop.signal }), stop, waiters: 0, expiresAt: Infinity };
    flight.promise.then(
      () => {
        flight.expiresAt = this.#options.now() + this.#options.ttlMs;
        if (this.#options.ttlMs === 0) this.#drop(key, flight); // an answer that nobody is given any more may be large
      },
      () => {
        flight.expiresAt = 0;
        this.#drop(key, flight);
      },
    );
    this.#flights.delete(key);
    // The oldest goes first: a Map keeps the order of insertion.
    const [oldest] = this.#flights.keys();
    if (this.#flights.size >= this.#options.maxEntries && oldest !== undefined) this.#flights.delete(oldest);
    this.#flights.set(key, flight);
    return flight;
  }

  #drop(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const stop = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
