/** The API, over the farm and the store that this server has. */
import { Api } from '../../server/api/api.ts';
import type { FarmPorts } from '../../server/api/ports.ts';
import type { CallOptions } from '../../call.ts';
import type { Config } from '../config.ts';
import { openStore } from '../store.ts';
import { gantryVersion } from '../version.ts';
import type { ServerPart, ServerSettings } from './part.ts';

/** @param opts.signal ends its live events */
export function apiPart(
  config: Config,
  settings: ServerSettings,
  farm: FarmPorts | undefined,
  opts: CallOptions,
): ServerPart {
  const api = new Api(
    {
      version: gantryVersion(),
      changes: settings.tokenFile !== undefined,
      protectReads: settings.protectReads,
      farm,
      store: settings.hasStore ? openStore(config) : undefined,
    },
    opts,
  );
  return {
    addTo: (app) => api.addTo(app),
    metrics: () => Promise.resolve({ type: '', body: '' }),
    ready: () => Promise.resolve({}),
    [Symbol.asyncDispose]: async () => api[Symbol.dispose](),
  };
}
