/** What the server shows of a farm, and does for it: metrics, the API, the status page. */
import type { CallOptions } from '../../call.ts';
import { farmMetrics } from '../../metrics/farm-metrics.ts';
import { redisError, type RedisSettings } from '../../queue/connection.ts';
import { Farm } from '../../queue/farm.ts';
import type { Config } from '../config.ts';
import { redisHost } from '../service.ts';
import type { ServerPart, ServerSettings } from './part.ts';

export async function farmPart(
  _config: Config,
  _settings: ServerSettings,
  redis: RedisSettings,
  opts: CallOptions,
): Promise<ServerPart> {
  const farm = await Farm.open(redis, opts);
  /** What ioredis throws tells neither where nor whether to ask again. */
  const asked = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } catch (err) {
      throw redisError(err, redisHost(redis.url));
    }
  };
  return {
    addTo: () => undefined,
    metrics: (each) => asked(farmMetrics(farm, each)),
    ready: async (each) => {
      await asked(farm.workers(each));
      return { redis: 'ok' };
    },
    [Symbol.asyncDispose]: () => farm[Symbol.asyncDispose](),
  };
}
