import type { Exposition } from './exposition.ts';
import { Meters } from './meters.ts';

/** The file system that a store is on. */
export interface StoreSpace {
  /** The id of the store: processes that share one tell the same, and are not counted twice. */
  readonly store: string;
  /** Bytes that may still be written. */
  readonly free: number;
  /** Bytes. */
  readonly size: number;
}

/** @param space undefined when the file system does not answer: no value is better than one of before */
export function storeMetrics(space: StoreSpace | undefined): Promise<Exposition> {
  const meters = new Meters();
  const labels = ['store'] as const;
  const free = meters.gauge('gantry_store_free_bytes', 'What fits on the disk of the store.', labels);
  const size = meters.gauge('gantry_store_size_bytes', 'The size of that disk.', labels);
  if (space !== undefined) {
    free.set({ store: space.store }, space.free);
    size.set({ store: space.store }, space.size);
  }
  return meters.text();
}
