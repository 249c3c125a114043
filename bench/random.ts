/** A seeded source of numbers: the same seed gives the same corpus on every machine. Not for secrets. */
export class Random {
  #state: number;

  constructor(seed: string) {
    let h = 0x811c9dc5; // FNV-1a, to spread similar seeds
    for (const c of Buffer.from(seed)) h = Math.imul(h ^ c, 0x01000193);
    this.#state = h >>> 0;
  }

  /** Mulberry32: 32 evenly distributed bits. */
  bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** At least 0, below 1. */
  unit(): number {
    return this.bits() / 0x1_0000_0000;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  /** Sizes of files and layers are spread over magnitudes: as many between 1 and 10 KB as between 1 and 10 MB. */
  logBetween(low: number, high: number): number {
    return Math.round(Math.exp(Math.log(low) + this.unit() * (Math.log(high) - Math.log(low))));
  }
}
