/** The store as a registry that others pull from, and what it lacks fetched from where it is. */
import type { CallOptions } from '../../call.ts';
import type { Config } from '../config.ts';
import { storeState } from '../service.ts';
import { openStore } from '../store.ts';
import type { ServerPart, ServerSettings } from './part.ts';

export async function storePart(config: Config, _settings: ServerSettings, _opts: CallOptions): Promise<ServerPart> {
  const store = openStore(config);
  await store.create();
  return {
    addTo: () => undefined,
    metrics: () => Promise.resolve({ type: '', body: '' }),
    ready: async () => ({ store: await storeState(store.root) }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
