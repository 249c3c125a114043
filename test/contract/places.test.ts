import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { digestOf } from '../../src/oci/digest.ts';
import { Keys } from '../../src/queue/keys.ts';
import { RedisPlaces } from '../../src/queue/places.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import { type Opened, openedRedis } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';
import { placesContract } from './places-suite.ts';

let server: TestRedis;
let one: Opened;
let two: Opened;

before(async () => {
  server = await TestRedis.start();
  one = await openedRedis(server);
  two = await openedRedis(server);
});
after(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

placesContract('one process', async () => ({
  places: new LocalPlaces(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}));

placesContract('a farm', async () => ({
  places: new RedisPlaces(one.redis, `gantry-${randomUUID()}`),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}));

describe('places of a farm', { timeout: 60_000 }, () => {
  const A = 'one.example/a';
  const digests = Array.from({ length: 300 }, (_, i) => digestOf(`blob ${i}`));

  const isAbout = (ms: number, wanted: number): boolean => ms <= wanted && ms > wanted - 60_000;

  async function keysBelow(namespace: string): Promise<string[]> {
    return one.redis.keys(`{${namespace}}:*`);
  }

  it('are the same for all workers', async () => {
    const namespace = `gantry-${randomUUID()}`;
    const [mine, yours] = [new RedisPlaces(one.redis, namespace), new RedisPlaces(two.redis, namespace)];
    await mine.add(A, digests);
    assert.ok((await yours.find(A, digests)).every(({ isHere }) => isHere));
    await mine.setRefusesMounts(A);
    assert.equal(await yours.refusesMounts(A), true);
  });

  it('are forgotten after a day, those that came later with them; refused mounts after an hour', async () => {
    const namespace = `gantry-${randomUUID()}`;
    const places = new RedisPlaces(one.redis, namespace);
    await places.add(A, digests);
    const shards = await keysBelow(namespace);
    assert.equal(shards.length, 16);
    for (const key of shards) {
      assert.ok(isAbout(await one.redis.pttl(key), 24 * 3_600_000), key);
      await one.redis.pexpire(key, 5_000);
    }
    await places.add('one.example/b', digests);
    for (const key of shards) assert.ok((await one.redis.pttl(key)) <= 5_000, 'what is old is not kept by what is new');
    await places.setRefusesMounts(A);
    const refusing = new Keys(namespace).refusesMounts('one.example');
    assert.ok(isAbout(await one.redis.pttl(refusing), 3_600_000));
    await one.redis.pexpire(refusing, 5_000);
    await places.setRefusesMounts('one.example/b');
    assert.ok((await one.redis.pttl(refusing)) <= 5_000, 'one more does not keep those before it');
  });

  it('are bounded: what is full begins anew', async () => {
    const namespace = `gantry-${randomUUID()}`;
    const places = new RedisPlaces(one.redis, namespace);
    const [first] = digests;
    assert.ok(first);
    const shard = `${new Keys(namespace).places('one.example')}:${first.slice(7, 8)}`;
    const filler = Array.from({ length: 16_384 }, (_, i) => [`sha256:${i}`, A]).flat();
    await one.redis.hset(shard, ...filler);
    await places.add(A, [first]);
    assert.equal(await one.redis.hlen(shard), 1);
    assert.ok(isAbout(await one.redis.pttl(shard), 24 * 3_600_000));
  });
});
