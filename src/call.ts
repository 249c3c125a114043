/** What calls take and give, whatever they are about. */

/** What every call that waits takes. */
export interface CallOptions {
  readonly signal: AbortSignal;
}

/** Bytes on their way. Iterate once; dispose to give up early, which releases the connection or file behind it. */
export interface ByteStream extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** A chunk that fills its ArrayBuffer is the consumer's alone, which may free that memory as soon as it is done. */
  readonly exclusive?: boolean;
}

export interface OpenOptions extends CallOptions {
  /** First byte wanted; 0 when absent. */
  readonly offset?: number;
}

/** Waits `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

/**
 * containerd's wait for a locked ref key (core/content/helpers.go, OpenWriter): 16 ms doubling to 2048 ms, with jitter
 * over the upper half so that waiters spread but none spins.
 */
export function lockBackoffMs(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(2048, 16 * 2 ** Math.min(attempt, 7));
  return Math.ceil(ceiling / 2 + (random() * ceiling) / 2);
}

/** Below this the garbage collector does better by itself. */
const MIN_SPENT_BYTES = 16 << 10;

/** Whether the memory of a chunk is all its own, and worth freeing (`chunk.buffer.transfer(0)`) by whoever is done with it. */
export const fillsItsBuffer = (chunk: Uint8Array): chunk is Uint8Array<ArrayBuffer> =>
  chunk.byteLength >= MIN_SPENT_BYTES &&
  chunk.byteLength === chunk.buffer.byteLength &&
  chunk.buffer instanceof ArrayBuffer;
