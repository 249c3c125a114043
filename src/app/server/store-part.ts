/** The store as a registry that others pull from, and what it lacks fetched from where it is. */
import type { CallOptions } from '../../call.ts';
import { joined } from '../../metrics/exposition.ts';
import { RegistryMetrics } from '../../metrics/server-metrics.ts';
import { addRegistry } from '../../server/registry/registry.ts';
import type { ImageSource } from '../../server/registry/source.ts';
import { StoreImages } from '../../server/registry/store-images.ts';
import type { Config } from '../config.ts';
import { storeState } from '../service.ts';
import { openStore } from '../store.ts';
import { storeSpace } from '../store-space.ts';
import { countedImages } from './counted-images.ts';
import type { ServerPart, ServerSettings } from './part.ts';

export async function storePart(config: Config, settings: ServerSettings, opts: CallOptions): Promise<ServerPart> {
  const store = openStore(config);
  await store.create();
  await using stack = new AsyncDisposableStack();
  const here = new StoreImages({ names: store.names, files: store });
  const metrics = new RegistryMetrics();
  let images: ImageSource = here;
  const { pullThrough } = settings;
  if (pullThrough !== undefined) {
    const { openPullThrough } = await import('./pull-through-part.ts');
    const parts = { store, here, observer: metrics.client() };
    images = stack.use(await openPullThrough(config, { ...settings, pullThrough }, parts, opts)).images;
  }
  const space = storeSpace(store);
  const source = countedImages(images, metrics);
  const owned = stack.move();
  return {
    addTo: (app) => void addRegistry(app, { source, isPrivate: settings.protectReads, log: settings.log }),
    metrics: async () => joined(await metrics.text(), await space()),
    ready: async () => ({ store: await storeState(store.root) }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
