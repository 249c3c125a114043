/** How full the disk of a store is, for whoever scrapes a process. */
import { statfs } from 'node:fs/promises';
import { sleep } from '../call.ts';
import type { Exposition } from '../metrics/exposition.ts';
import { storeMetrics, type StoreSpace } from '../metrics/store-metrics.ts';
import type { ContentStore } from '../store/content-store.ts';

/** A network file system that is away holds whoever asks it; the other metrics are not to wait for that. */
const PATIENCE_MS = 1000;

/** Asked at each scrape; never by two at a time, as each that hangs takes one of the few threads that read files. */
export function storeSpace(store: ContentStore): () => Promise<Exposition> {
  let asking: Promise<StoreSpace | undefined> | undefined;
  const ask = async (): Promise<StoreSpace | undefined> => {
    try {
      const { bavail, blocks, bsize } = await statfs(store.root);
      return { store: await store.id(), free: bavail * bsize, size: blocks * bsize };
    } catch {
      return undefined; // readiness says why
    } finally {
      asking = undefined;
    }
  };
  return async () => {
    asking ??= ask();
    const stop = new AbortController();
    const late = sleep(PATIENCE_MS, stop.signal).then(
      () => undefined,
      () => undefined,
    );
    const space = await Promise.race([asking, late]);
    stop.abort();
    return storeMetrics(space);
  };
}
