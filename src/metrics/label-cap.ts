/** What stands for all names beyond the cap; no registry has a name without a dot or a port, but for `localhost`. */
export const OTHER = 'other';

/** Each name is a time series for every metric that has it as a label. */
export const MAX_NAMES = 200;

/**
 * Bounds the values of a label. Names come from the references of users; without a bound a list with a thousand hosts
 * in it fills the memory of the worker and of Prometheus. What a name was turned into once it is turned into for ever,
 * so that what is added to a gauge is taken off the same one.
 */
export class LabelCap {
  readonly #known = new Set<string>();
  readonly #max: number;

  constructor(max = MAX_NAMES) {
    this.#max = max;
  }

  of(name: string): string {
    if (this.#known.has(name)) return name;
    if (this.#known.size >= this.#max) return OTHER;
    this.#known.add(name);
    return name;
  }
}
