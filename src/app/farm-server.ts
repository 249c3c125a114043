/** The server of a farm: the state of all of it as metrics, and probes. See docs/farm.md. */
import type { CallOptions } from '../call.ts';
import { joined } from '../metrics/exposition.ts';
import { farmMetrics } from '../metrics/farm-metrics.ts';
import { ProcessMetrics } from '../metrics/process-metrics.ts';
import { redisError, type RedisSettings } from '../queue/connection.ts';
import { Farm } from '../queue/farm.ts';
import { healthRoutes } from '../server/health.ts';
import { type ListenOptions, type RunningServer, startServer } from '../server/http.ts';
import { redisHost } from './service.ts';
import { gantryVersion } from './version.ts';

/** @throws GantryError USAGE, NETWORK, ... when Redis or the port cannot be used */
export async function startFarmServer(
  redis: RedisSettings,
  where: ListenOptions,
  opts: CallOptions,
): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack();
  const farm = stack.use(await Farm.open(redis, opts));
  const own = new ProcessMetrics({ version: gantryVersion() });
  /** What ioredis throws tells neither where nor whether to ask again. */
  const asked = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } catch (err) {
      throw redisError(err, redisHost(redis.url));
    }
  };
  const routes = healthRoutes({
    metrics: async (each) => joined(await own.text(), await asked(farmMetrics(farm, each))),
    ready: async (each) => {
      await asked(farm.workers(each));
      return { redis: 'ok' };
    },
  });
  const server = stack.use(await startServer(where, routes));
  const owned = stack.move();
  return { port: server.port, url: server.url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
