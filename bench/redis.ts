import { spawn } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { openRedis } from '../src/queue/connection.ts';
import { own } from './own.ts';
import { freePort } from './port.ts';
import { end } from './service.ts';

const READY_WITHIN_MS = 10_000;

/** A running redis-server; disposing it ends the process and removes its directory. */
export interface RedisServer extends AsyncDisposable {
  /** `redis://127.0.0.1:port` */
  readonly url: string;
  readonly redis: Redis;
}

const settings = (dir: string, port: number): Readonly<Record<string, string>> => ({
  port: String(port),
  bind: '127.0.0.1',
  dir,
  save: '',
  appendonly: 'yes',
  appendfsync: 'everysec',
  'maxmemory-policy': 'noeviction',
});

/** Starts redis-server on a free port of loopback, with an append-only file that is synced every second in `dir`. */
export async function startRedis(dir: string): Promise<RedisServer> {
  await mkdir(dir, { recursive: true });
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const args = Object.entries(settings(dir, port)).flatMap(([name, value]) => [`--${name}`, value]);
  await using log = await open(join(dir, 'redis.log'), 'w');
  const child = own(spawn('redis-server', args, { stdio: ['ignore', log.fd, log.fd], detached: true }));
  let failure: string | undefined;
  child.once('error', (err) => (failure = err.message));
  child.once('exit', (code) => (failure = `ended with ${code}; see ${join(dir, 'redis.log')}`));
  for (const deadline = performance.now() + READY_WITHIN_MS; ; await sleep(20)) {
    if (failure !== undefined) throw new Error(`redis-server: ${failure}`);
    try {
      const redis = await openRedis({ url }, 'command', { signal: AbortSignal.timeout(READY_WITHIN_MS) });
      const stop = async (): Promise<void> => {
        redis.disconnect();
        await end(child);
        await rm(dir, { recursive: true, force: true });
      };
      return { url, redis, [Symbol.asyncDispose]: stop };
    } catch (err) {
      if (performance.now() < deadline) continue;
      await end(child);
      throw err;
    }
  }
}

/** Figures of INFO, by name; what is no number is NaN. */
export async function info(redis: Redis, section: string): Promise<(name: string) => number> {
  const text = await redis.info(section);
  return (name) => Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(text)?.[1]);
}
