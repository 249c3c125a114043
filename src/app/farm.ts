/** How the command line reaches a farm. */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Farm } from '../queue/farm.ts';
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

/** Loads what only a farm needs, which a pull in one process does without. */
export async function openFarm(config: Config, flags: FarmFlags, opts: CallOptions): Promise<Farm> {
  const settings = redisSettings(config, flags);
  const { Farm } = await import('../queue/farm.ts');
  return Farm.open(settings, opts);
}

/** Opens a farm for some work. Whatever Redis throws meanwhile comes out as an error that names it. */
export async function withFarm<T>(
  config: Config,
  flags: FarmFlags,
  opts: CallOptions,
  work: (farm: Farm) => Promise<T>,
): Promise<T> {
  await using farm = await openFarm(config, flags, opts);
  try {
    return await work(farm);
  } catch (err) {
    throw farm.named(err);
  }
}

/** The store into which a farm pulls where nobody names one: that of its workers. @throws GantryError USAGE unless they all have the same */
export async function commonTarget(farm: Farm, opts: CallOptions): Promise<string> {
  const workers = await farm.workers(opts);
  const stores = new Set(workers.flatMap(({ store }) => store ?? []));
  const [only] = stores;
  if (only !== undefined && stores.size === 1) return only;
  if (only === undefined) {
    throw new GantryError('USAGE', 'no worker is connected that could say which store is meant', {
      origin: 'user',
      hint: 'start one with `gantry worker`, or give --store DIR or --target STORE-ID',
    });
  }
  throw new GantryError('USAGE', `the workers have ${stores.size} stores: ${[...stores].toSorted().join(', ')}`, {
    origin: 'user',
    hint: 'give --target with one of these, or --store with the directory of one',
  });
}
