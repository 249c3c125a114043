/** A whole farm on this machine: Redis, workers, the server. See docs/farm.md. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Config } from './config.ts';
import type { ServerSettings } from './server/part.ts';
import { startGantryServer } from './server/server.ts';
import { makeTokenFile } from './server/token-file.ts';
import { type LocalRedis, startRedis } from './local-redis.ts';
import { aborted, type Log } from './service.ts';
import { supervise } from './supervise.ts';
import { openStore } from './store.ts';

export interface UpSettings {
  readonly workers: number;
  /** Options that each of them gets. */
  readonly workerArgs: readonly string[];
  readonly server: Omit<ServerSettings, 'redis' | 'hasStore' | 'log'>;
  /** Where Redis keeps what it knows; inside the store unless given. */
  readonly redisDir?: string;
  readonly log: Log;
}

/** `src/app` and `dist/app` are equally deep. */
const GANTRY = fileURLToPath(new URL('../../bin/gantry.js', import.meta.url));

/**
 * Runs until the signal aborts; then the workers end first, and Redis last.
 * @throws GantryError USAGE when something is missing or in use, UPSTREAM when Redis ends by itself
 */
export async function up(config: Config, settings: UpSettings, opts: CallOptions): Promise<void> {
  const { log } = settings;
  await openStore(config).create(); // four workers would say what is wrong with it
  const dir = settings.redisDir ?? join(config.store, 'gantry', 'redis');
  await using redis = await startRedis(dir, config.env, opts);
  const tokenFile = settings.server.tokenFile ?? join(dir, 'token');
  if (settings.server.tokenFile === undefined) await makeTokenFile(tokenFile);
  const stop = new AbortController();
  const signal = AbortSignal.any([opts.signal, stop.signal]);
  const workers = Array.from({ length: settings.workers }, (_, i) =>
    supervise(workerProgram(i + 1, redis.url, config, settings), { signal }),
  );
  const crash = Promise.race([endOf(redis), ...workers]);
  crash.catch(() => undefined); // is awaited once the server runs
  try {
    await using server = await startGantryServer(
      config,
      { ...settings.server, tokenFile, redis: { url: redis.url }, hasStore: true, log },
      { signal },
    );
    log(`up: ${settings.workers} workers, store at ${config.store}, ${redis.url} kept in ${dir}`);
    log(
      `up: page on ${server.url}/ (for changes it asks for the token in ${tokenFile}), metrics on ${server.url}/metrics`,
    );
    log(`up: now type  gantry pull --redis ${redis.url} docker.io/library/redis:7`);
    await Promise.race([crash, aborted(opts.signal)]);
  } finally {
    stop.abort();
    await Promise.allSettled(workers);
  }
}

const workerProgram = (n: number, redis: string, config: Config, { workerArgs, log }: UpSettings) => ({
  name: `up: worker ${n}`,
  args: [GANTRY, 'worker', '--metrics-host', '127.0.0.1', '--metrics-port', '0', ...workerArgs],
  env: { ...config.env, GANTRY_REDIS: redis, GANTRY_REDIS_CA: '', GANTRY_STORE: config.store },
  log,
});

async function endOf(redis: LocalRedis): Promise<never> {
  await redis.ended;
  const last = redis.log().trim().split('\n').at(-1) ?? '';
  throw new GantryError('UPSTREAM', `redis-server has ended: ${last}`, {
    hint: 'what it knew is kept; start `gantry up` again',
  });
}
