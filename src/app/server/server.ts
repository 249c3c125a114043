/** `gantry server`: what a farm does, what a store has, for people, programs, Prometheus and container engines. See docs/server.md. */
import type { CallOptions } from '../../call.ts';
import { joined } from '../../metrics/exposition.ts';
import { ProcessMetrics } from '../../metrics/process-metrics.ts';
import { addAccess } from '../../server/access.ts';
import { addHealth } from '../../server/health.ts';
import { addPage } from '../../server/page.ts';
import { createApp, type RunningServer, startServer } from '../../server/http.ts';
import type { Config } from '../config.ts';
import { gantryVersion } from '../version.ts';
import { apiPart } from './api-part.ts';
import { farmPart } from './farm-part.ts';
import type { ServerPart, ServerSettings } from './part.ts';
import { storePart } from './store-part.ts';
import { tokenFile } from './token-file.ts';

/** One connection a watcher, ten a busy client of the registry. */
const MAX_CONNECTIONS = 4096;

/** @throws GantryError USAGE, NETWORK, ... when Redis, the store, a file or the port cannot be used */
export async function startGantryServer(
  config: Config,
  settings: ServerSettings,
  opts: CallOptions,
): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack();
  const closing = new AbortController();
  const { redis } = settings;
  const farm = redis === undefined ? undefined : stack.use(await farmPart(redis, opts));
  const parts: ServerPart[] = farm === undefined ? [] : [farm];
  if (settings.hasStore) parts.push(stack.use(await storePart(config, settings, opts)));
  parts.push(stack.use(apiPart(config, settings, farm?.ports, closing)));
  const own = new ProcessMetrics({ version: gantryVersion() });

  const token = settings.tokenFile === undefined ? undefined : await tokenFile(settings.tokenFile);
  const app = addAccess(createApp(), { token, protectReads: settings.protectReads, host: settings.listen.host });
  addHealth(app, {
    metrics: async (each) => joined(await own.text(), ...(await Promise.all(parts.map((part) => part.metrics(each))))),
    ready: async (each) => {
      const told = await Promise.all(parts.map((part) => part.ready(each)));
      return Object.assign({}, ...told);
    },
  });
  addPage(app);
  for (const part of parts) part.addTo(app);
  const server = stack.use(await startServer({ maxConnections: MAX_CONNECTIONS, ...settings.listen }, app));
  stack.defer(() => closing.abort()); // goes first: a stream of events would keep the server from closing
  const owned = stack.move();
  return { port: server.port, url: server.url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
