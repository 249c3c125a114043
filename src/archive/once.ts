import type { Digest } from '../oci/digest.ts';

/** Two images that share a blob may bring it at the same time: the second waits for the first, and tries itself if that fails. */
export class Once {
  readonly #running = new Map<Digest, Promise<void>>();

  /** `work` finds out by itself that there is nothing left to do. */
  async run(digest: Digest, work: () => Promise<void>): Promise<void> {
    for (let running = this.#running.get(digest); running !== undefined; running = this.#running.get(digest)) {
      await running.catch(() => {}); // whoever started it is told
    }
    const mine = work();
    this.#running.set(digest, mine);
    try {
      await mine;
    } finally {
      this.#running.delete(digest);
    }
  }
}
