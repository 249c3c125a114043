import type { CallOptions } from '../call.ts';

/** A counting semaphore whose waiters can give up. First come, first served. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a slot; rejects with the signal's reason when it aborts first. The answer gives the slot back, once. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(signal);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#give();
    };
  }

  #give(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next);
    next(); // the slot passes on without being free in between
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#waiting.delete(go);
        const reason: unknown = signal.reason;
        reject(reason);
      };
      const go = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener('abort', stop, { once: true });
    });
  }
}

/** Works on all items, so many at a time; answers in their order. The first that fails fails all. */
export function inParallel<T, R>(
  items: readonly T[],
  atATime: number,
  { signal }: CallOptions,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const slots = new Slots(atATime);
  return Promise.all(
    items.map(async (item) => {
      const leave = await slots.take(signal);
      try {
        return await work(item);
      } finally {
        leave();
      }
    }),
  );
}
