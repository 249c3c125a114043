// @ts-check
/** Values that several parts of the page look at. */
import { useEffect, useState } from 'preact/hooks';

/** @template T */
export class Cell {
  #value;
  /** @type {Set<() => void>} */
  #watchers = new Set();

  /** @param {T} value */
  constructor(value) {
    this.#value = value;
  }

  /** @returns {T} */
  get() {
    return this.#value;
  }

  /** @param {T} value */
  set(value) {
    if (value === this.#value) return;
    this.#value = value;
    for (const tell of this.#watchers) tell();
  }

  /**
   * @param {() => void} tell
   * @returns {() => void} ends it
   */
  watch(tell) {
    this.#watchers.add(tell);
    return () => void this.#watchers.delete(tell);
  }
}

/**
 * The value, and a new rendering when it changes.
 * @template T
 * @param {Cell<T>} cell
 * @returns {T}
 */
export function useCell(cell) {
  const [, render] = useState(0);
  useEffect(() => cell.watch(() => render((n) => n + 1)), [cell]);
  return cell.get();
}
