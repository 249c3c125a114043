/** Runs whose Redis fails in the middle: time is lost, content never. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestFarm, until } from './farm.ts';
import { type Corpus, fill, wholeBodies } from './farm-images.ts';
import type { TestRedisOptions } from './redis.ts';
import { TestRegistry } from './registry.ts';

const IMAGES = 100;
const WORKERS = 3;
const CONCURRENCY = 4;

/** What is done to the Redis of a farm. */
export type Outage = (farm: TestFarm) => Promise<void>;

export const killed: Outage = async ({ redis }) => {
  await redis.kill();
  await redis.start();
};

/** Connections stay, nothing is answered. */
export const silentFor =
  (ms: number): Outage =>
  async ({ redis }) => {
    redis.pauseProcess();
    await sleep(ms); // how long it takes is what is tested
    redis.resumeProcess();
  };

/** Nothing that needs memory works, until workers have run into that. */
export const outOfMemory: Outage = async (farm) => {
  await farm.redis.command('CONFIG', 'SET', 'maxmemory', '1mb');
  await until('a worker is refused', () => farm.problems.includes('OOM'));
  await farm.redis.command('CONFIG', 'SET', 'maxmemory', '0');
};

/** One command is refused to scripts, and the rest works: a ticket fails whose node has done nothing wrong. */
export const refusingCommand: Outage = async (farm) => {
  await farm.redis.command('ACL', 'SETUSER', 'default', '-sadd');
  await until('a worker is refused', () => farm.problems.includes('run this command'));
  await farm.redis.command('ACL', 'SETUSER', 'default', '+sadd');
};

export interface Pulling extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly corpus: Corpus;
  readonly farm: TestFarm;
  /** Resolves when a part of the images is done. */
  underWay(run: string): Promise<void>;
}

/** A farm and images that it needs some seconds for: each request takes 50 ms. */
export async function pulling(redis: TestRedisOptions = {}): Promise<Pulling> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start({ latencyMs: 50 }));
  const corpus = fill(registry, { images: IMAGES, blobs: 150 });
  const farm = stack.use(await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY, redis }));
  const all = stack.move();
  return {
    registry,
    corpus,
    farm,
    underWay: (run) => until('a part of it', async () => (await farm.client.run(run)).images.done >= IMAGES / 5),
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

/** The run ends well; at most what was under way is fetched a second time. */
export async function finishesAfter(outage: Outage, t: TestContext, redis?: TestRedisOptions): Promise<void> {
  await using it = await pulling(redis);
  const { registry, corpus, farm } = it;
  const run = await farm.submit(corpus.refs);
  await it.underWay(run);
  await outage(farm);
  await farm.done(run, corpus.refs);
  await farm.assertHolds(corpus.digests);
  const [whole, wanted] = [wholeBodies(registry).length, corpus.digests.size - IMAGES];
  t.diagnostic(`${whole} whole bodies of ${wanted} blobs`);
  assert.ok(whole <= wanted + WORKERS * CONCURRENCY, `${whole} whole bodies of ${wanted} blobs`);
}
