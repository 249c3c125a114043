/** What becomes of a run when its Redis fails. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { failureOf, never } from '../support/clients.ts';
import { wholeBodies } from '../support/farm-images.ts';
import {
  finishesAfter,
  killed,
  type Outage,
  outOfMemory,
  pulling,
  refusingCommand,
  silentFor,
} from '../support/farm-outage.ts';
import type { TestRedisOptions } from '../support/redis.ts';

const opts = { signal: never };

const OUTAGES: readonly (readonly [what: string, outage: Outage, redis?: TestRedisOptions])[] = [
  ['is restarted', ({ redis }) => redis.restart()],
  ['has TLS and a password, and is killed', killed, { tls: true, password: 'p@ss/w#rd%' }],
  ['does not answer for longer than locks last', silentFor(3_000)],
  ['is out of memory', outOfMemory],
  ['refuses a command', refusingCommand],
];

describe('a run is finished whose Redis', { concurrency: 2 }, () => {
  for (const [what, outage, redis] of OUTAGES) it(what, (t) => finishesAfter(outage, t, redis));
});

test('a run whose Redis is emptied is lost, its producer is told, and the next one fetches what is missing', async () => {
  await using it = await pulling();
  const { registry, corpus, farm } = it;
  const run = { id: '', roots: await farm.roots(corpus.refs) };
  const { promise: submitted, resolve } = Promise.withResolvers<string>();
  const dispatched = failureOf(farm.client.dispatcher({ onSubmitted: resolve }).dispatch(run, opts), 'UPSTREAM');
  await it.underWay(await submitted);
  await farm.redis.command('FLUSHALL');
  assert.match((await dispatched).message, /Redis has lost its data/);
  await farm.startWorker(); // one that knows nothing of before
  const { images } = await farm.client.dispatcher().dispatch(run, opts);
  assert.deepEqual([...new Set(images.map(({ state }) => state))], ['done']);
  await farm.assertHolds(corpus.digests);
  const objects = wholeBodies(registry).map(({ object }) => object);
  assert.equal(new Set(objects).size, objects.length, 'a blob was fetched twice');
});
