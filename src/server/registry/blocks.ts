/** Memory for bytes on their way out, used again and again: to allocate it for each block costs more than to fill it. */

const LARGE = 512 << 10;
const SMALL = 32 << 10;
/** Beyond it blocks are small: many slow clients must not take gigabytes. Bytes. */
const MAX_LARGE_IN_USE = 64 << 20;
/** Bytes that are kept for later. */
const MAX_KEPT = 16 << 20;

export class Blocks {
  readonly #free: Buffer[] = [];
  #largeInUse = 0;

  /** @param wanted bytes that are left to send */
  take(wanted: number): Buffer {
    if (wanted <= SMALL || this.#largeInUse >= MAX_LARGE_IN_USE) return Buffer.allocUnsafeSlow(Math.min(wanted, SMALL));
    this.#largeInUse += LARGE;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LARGE);
  }

  /** @param isIdle nobody reads from it any more; else it is left to the garbage collector */
  give(block: Buffer, isIdle: boolean): void {
    if (block.length !== LARGE) return;
    this.#largeInUse -= LARGE;
    if (isIdle && this.#free.length * LARGE < MAX_KEPT) this.#free.push(block);
  }
}
