/** How the command line reaches a farm. */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { Farm } from '../queue/farm.ts';
import type { RedisSettings } from '../queue/connection.ts';
import type { Config } from './config.ts';

/** What flags say about Redis; the environment (GANTRY_REDIS, GANTRY_REDIS_CA) says the rest. */
export interface FarmFlags {
  readonly redis?: string | undefined;
  readonly redisCa?: string | undefined;
}

/** @throws GantryError USAGE when neither a flag nor the environment names a Redis */
export function redisSettings(config: Config, flags: FarmFlags): RedisSettings {
  const url = flags.redis ?? config.redis;
  if (url === undefined) {
    throw new GantryError('USAGE', 'no Redis is named', {
      origin: 'user',
      hint: 'give --redis redis://HOST:6379, or set GANTRY_REDIS, which also keeps a password out of the list of processes',
    });
  }
  const caFile = flags.redisCa ?? config.redisCa;
  return { url, ...(caFile === undefined ? {} : { caFile }) };
}

export const openFarm = (config: Config, flags: FarmFlags, opts: CallOptions): Promise<Farm> =>
  Farm.open(redisSettings(config, flags), opts);
