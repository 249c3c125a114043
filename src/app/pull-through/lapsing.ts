/** What holds for a while. Bounded: what was told longest ago goes first, and is found out again when it is wanted. */

interface Entry<T> {
  readonly value: T;
  /** On the clock. */
  readonly until: number;
}

export class Lapsing<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #maxEntries: number;
  readonly #now: () => number;

  /** @param now milliseconds on a clock that never goes back */
  constructor(maxEntries: number, now: () => number = () => performance.now()) {
    this.#maxEntries = maxEntries;
    this.#now = now;
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.#now() < entry.until) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** Holds for so many milliseconds from now on, in the place of what held before. */
  set(key: string, value: T, ms: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, until: this.#now() + ms });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#maxEntries && oldest !== undefined) this.#entries.delete(oldest);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
