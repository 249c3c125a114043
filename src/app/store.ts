import { ContentStore } from '../store/content-store.ts';
import type { Config } from './config.ts';

/** Apart from the rest of the wiring: most commands that speak to registries have no use for a store, and need not load one. */
export const openStore = (config: Config): ContentStore =>
  new ContentStore({ root: config.store, staleLockMs: config.staleLockMs });
