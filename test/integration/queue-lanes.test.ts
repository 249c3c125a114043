/** What limits a registry over all workers: settings and blocks of its lane, quotas, slots. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LaneStatus } from '../../src/flow/farm-status.ts';
import { RedisBudget } from '../../src/queue/budget.ts';
import { Keys } from '../../src/queue/keys.ts';
import { Lanes } from '../../src/queue/lanes.ts';
import { type HeldSlot, SlotLeases } from '../../src/queue/slots.ts';
import { Tickets } from '../../src/queue/tickets.ts';
import { failureOf, never } from '../support/clients.ts';
import { HandGraph, LANE, type Opened, openedRedis, until } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';

const opts = { signal: never };
let server: TestRedis;
/** Two clients, as of two workers. */
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

class Place implements AsyncDisposable {
  readonly namespace = `gantry-${randomUUID()}`;
  readonly keys = new Keys(this.namespace);
  readonly tickets = new Tickets(one.redis, this.keys);
  readonly lanes = new Lanes(one.redis, this.keys, this.tickets);

  async status(): Promise<LaneStatus> {
    const [status] = await this.lanes.status(() => 3, opts);
    return status ?? assert.fail('no lane');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tickets[Symbol.asyncDispose]();
  }
}

const isAbout = (ms: number, wanted: number): boolean => ms <= wanted && ms > wanted - 1_000;

describe('a lane', { timeout: 60_000 }, () => {
  it('takes limits before it has tickets, and gives them up again', async () => {
    await using place = new Place();
    const { lanes } = place;
    await lanes.set('localhost:5000', { concurrency: 4, quota: { requests: 100, periodMs: 60_000 } });
    assert.deepEqual(await place.status(), {
      name: 'localhost:5000',
      tickets: { waiting: 0, active: 0, delayed: 0 },
      oldestAt: undefined,
      concurrency: 4,
      quota: { requests: 100, periodMs: 60_000 },
      headroom: [],
      paused: false,
      blockedUntil: undefined,
      blockedBecause: undefined,
      workers: 3,
    });
    await lanes.set('localhost:5000', { concurrency: 2 });
    assert.equal((await place.status()).quota?.requests, 100, 'what is not named stays');
    await lanes.set('localhost:5000', { concurrency: null, quota: null });
    const { concurrency, quota } = await place.status();
    assert.deepEqual([concurrency, quota], [undefined, undefined]);
  });

  it('tells what waits in it, and since when', async () => {
    await using place = new Place();
    const before = Date.now();
    const g = await HandGraph.open(one.redis, ['A', 'B'], { namespace: place.namespace });
    const { tickets, oldestAt = 0 } = await place.status();
    assert.deepEqual(tickets, { waiting: 2, active: 0, delayed: 0 });
    const added = await place.tickets.queue(LANE).getJob(`${g.run}.1`);
    assert.equal(oldestAt, added?.timestamp);
    assert.ok(oldestAt >= before);
    await g[Symbol.asyncDispose]();
  });

  it('is paused and resumed by name', async () => {
    await using place = new Place();
    const { lanes } = place;
    for (const work of [lanes.pause(LANE), lanes.resume(LANE)]) {
      assert.match((await failureOf(work, 'NOT_FOUND')).hint ?? '', /none yet/);
    }
    await lanes.set(LANE, {});
    await lanes.pause(LANE);
    await lanes.pause(LANE);
    assert.equal((await place.status()).paused, true);
    await lanes.resume(LANE);
    assert.equal((await place.status()).paused, false);
    assert.match((await failureOf(lanes.pause('docker.io'), 'NOT_FOUND')).hint ?? '', /there are registry\.example/);
  });

  it('is blocked until the later of two ends, whichever comes last', async () => {
    await using place = new Place();
    const { lanes, tickets } = place;
    await lanes.set(LANE, {});
    const ttl = (): Promise<number> => tickets.queue(LANE).getRateLimitTtl();
    assert.ok(isAbout(await lanes.block(LANE, 20_000, 'first'), 20_000));
    assert.ok(isAbout(await lanes.block(LANE, 5_000, 'shorter'), 20_000));
    assert.ok(isAbout(await ttl(), 20_000));
    const { blockedUntil = 0, blockedBecause } = await place.status();
    assert.ok(isAbout(blockedUntil - Date.now(), 20_000));
    assert.equal(blockedBecause, 'first');
    const many = [30_000, 60_000, 1_000, 45_000];
    await Promise.all(many.map((ms) => lanes.block(LANE, ms, `for ${ms}`)));
    assert.ok(isAbout(await ttl(), 60_000));
    assert.equal((await place.status()).blockedBecause, 'for 60000');
  });

  it('a block ends by itself', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, {});
    await place.lanes.block(LANE, 50, 'short');
    await until(async () => (await place.status()).blockedUntil === undefined);
    assert.equal((await place.status()).blockedBecause, undefined);
    assert.ok((await place.tickets.queue(LANE).getRateLimitTtl()) <= 0);
  });
});

describe('a quota', { timeout: 60_000 }, () => {
  const budgets = ({ namespace }: Place): [RedisBudget, RedisBudget] => [
    new RedisBudget(one.redis, namespace),
    new RedisBudget(two.redis, namespace),
  ];

  /** How many of so many requests at once get leave. */
  async function charged(place: Place, requests: number, identity = 'alice'): Promise<number> {
    const accounts = budgets(place);
    const all = Array.from({ length: requests }, (_, i) => accounts[i % 2 === 0 ? 0 : 1].charge(LANE, identity, opts));
    const results = await Promise.allSettled(all);
    return results.filter(({ status }) => status === 'fulfilled').length;
  }

  it('is never exceeded by two clients at once, and is counted for each identity', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, { quota: { requests: 100, periodMs: 3_600_000 } });
    assert.equal(await charged(place, 300), 100);
    assert.equal(await charged(place, 3, 'anonymous'), 3);
    const { headroom } = await place.status();
    assert.deepEqual(
      headroom.toSorted((a, b) => a.remaining - b.remaining),
      [
        { identity: 'alice', limit: 100, remaining: 0 },
        { identity: 'anonymous', limit: 100, remaining: 97 },
      ],
    );
    const err = await failureOf(
      new RedisBudget(two.redis, place.namespace).charge(LANE, 'alice', opts),
      'RATE_LIMITED',
    );
    assert.deepEqual([err.origin, err.host], ['source', LANE]);
    assert.ok(isAbout(err.retryAfterMs ?? 0, 36_000), 'the time of one request');
  });

  it('comes back little by little, and not above the limit', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, { quota: { requests: 10, periodMs: 1_000 } });
    const budget = new RedisBudget(one.redis, place.namespace);
    const startedAt = performance.now();
    assert.ok((await charged(place, 20)) >= 10);
    let later = 0;
    while (later < 5) {
      const waitMs = await budget.charge(LANE, 'alice', opts).then(
        () => 0,
        (err: { retryAfterMs: number }) => err.retryAfterMs,
      );
      if (waitMs === 0) later += 1;
      else await sleep(waitMs);
    }
    assert.ok(performance.now() - startedAt >= 400, 'five of them take half a second');
    await one.redis.hincrby(place.keys.bucket(LANE, 'alice'), 'at', -60_000);
    assert.equal(await charged(place, 30), 10, 'an hour of rest brings no more than the limit');
  });

  it('is shown with what has come back since, also while nobody takes any', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, { quota: { requests: 10, periodMs: 3_600_000 } });
    assert.equal(await charged(place, 20), 10);
    const rest = async (ms: number): Promise<number | undefined> => {
      await one.redis.hincrby(place.keys.bucket(LANE, 'alice'), 'at', -ms);
      return (await place.status()).headroom[0]?.remaining;
    };
    assert.equal(await rest(0), 0);
    assert.equal(await rest(1_900_000), 5);
    assert.equal(await rest(9_000_000), 10, 'no more than the limit');
  });

  it('is lowered by what the registry says, never raised', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, { quota: { requests: 100, periodMs: 3_600_000 } });
    const budget = new RedisBudget(one.redis, place.namespace);
    await budget.charge(LANE, 'alice', opts);
    const corrected = async (remaining: number): Promise<number> => {
      budget.correct(LANE, 'alice', { limit: 100, remaining, periodMs: 3_600_000 });
      return (await place.status()).headroom[0]?.remaining ?? assert.fail();
    };
    assert.equal(await corrected(500), 99);
    assert.equal(await corrected(7), 7);
    assert.equal(await charged(place, 20), 7);
  });

  it('none: nothing is held back, and what the registry says is shown', async () => {
    await using place = new Place();
    await place.lanes.set(LANE, {});
    const budget = new RedisBudget(one.redis, place.namespace);
    budget.correct(LANE, 'alice', { limit: 100, remaining: 0, periodMs: undefined });
    assert.equal(await charged(place, 20), 20);
    assert.deepEqual((await place.status()).headroom, [{ identity: 'alice', limit: 100, remaining: 0 }]);
  });
});

describe('slots of a second registry', { timeout: 60_000 }, () => {
  const leases = ({ namespace }: Place, slots: number, leaseMs = 10_000): [SlotLeases, SlotLeases] => [
    new SlotLeases({ redis: one.redis, namespace, slots, leaseMs }),
    new SlotLeases({ redis: two.redis, namespace, slots, leaseMs }),
  ];

  const isHeld = (slot: HeldSlot | { readonly afterMs: number }): slot is HeldSlot => !('afterMs' in slot);

  async function held(from: SlotLeases): Promise<HeldSlot> {
    const slot = await from.tryTake(LANE);
    return isHeld(slot) ? slot : assert.fail(`none for ${slot.afterMs} ms`);
  }

  it('are never more over two clients, and come back when they are given up', async () => {
    await using place = new Place();
    const clients = leases(place, 3);
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => clients[i % 2 === 0 ? 0 : 1].tryTake(LANE)));
    const got = all.filter(isHeld);
    assert.equal(got.length, 3);
    for (const slot of all) if (!isHeld(slot)) assert.ok(slot.afterMs > 0 && slot.afterMs <= 10_000);
    await got[0]?.[Symbol.asyncDispose]();
    await using _again = await held(clients[1]);
    assert.ok(!isHeld(await clients[0].tryTake(LANE)));
    for (const slot of got.slice(1)) await slot[Symbol.asyncDispose]();
    assert.ok(got.every(({ signal }) => !signal.aborted));
  });

  it('are kept as long as they are held, also when nobody else asks', async () => {
    await using place = new Place();
    const [first, second] = leases(place, 1, 150);
    await using slot = await held(first);
    await sleep(600); // four leases long
    assert.equal(slot.signal.aborted, false);
    assert.ok(!isHeld(await second.tryTake(LANE)));
  });

  it('that of a holder which died comes back after its lease, and not before', async () => {
    await using place = new Place();
    const [first, second] = leases(place, 2, 300);
    await using _alive = await held(first);
    const third = await openedRedis(server);
    const dead = new SlotLeases({ redis: third.redis, namespace: place.namespace, slots: 2, leaseMs: 300 });
    const slot = await held(dead);
    await third[Symbol.asyncDispose](); // it does not renew any more
    await assert.rejects(async () => slot[Symbol.asyncDispose](), /closed/); // ends its timer
    const before = performance.now();
    let afterMs = 0;
    for (;;) {
      const next = await second.tryTake(LANE);
      if (isHeld(next)) {
        await next[Symbol.asyncDispose]();
        break;
      }
      afterMs = Math.max(afterMs, next.afterMs);
      await sleep(next.afterMs);
    }
    assert.ok(afterMs > 0 && afterMs <= 300);
    assert.ok(performance.now() - before < 5_000);
  });

  it('a holder whose slot went to another is told', async () => {
    await using place = new Place();
    const [first, second] = leases(place, 1, 150);
    await using slot = await held(first);
    await one.redis.del(place.keys.slots(LANE));
    await using _other = await held(second);
    await until(() => slot.signal.aborted);
  });

  it('are as many as the lane may have tickets, else so many for each worker', async () => {
    await using place = new Place();
    const [first] = leases(place, 2);
    await using all = new AsyncDisposableStack();
    const takeAll = async (): Promise<number> => {
      for (let taken = 0; ; taken += 1) {
        const slot = await first.tryTake(LANE);
        if (!isHeld(slot)) return taken;
        all.use(slot);
      }
    };
    assert.equal(await takeAll(), 2, 'no worker is known yet');
    await one.redis.sadd(place.keys.workers, 'w1', 'w2', 'w3');
    assert.equal(await takeAll(), 4);
    await place.lanes.set(LANE, { concurrency: 7 });
    assert.equal(await takeAll(), 1);
    await place.lanes.set(LANE, { concurrency: 3 });
    assert.equal(await takeAll(), 0);
  });

  it('who waits for one is woken when it is free, the first to come first, once; who has gone is passed over', async () => {
    await using place = new Place();
    const woken: string[] = [];
    const gone = new Set(['second']);
    const wake = async (waiting: string): Promise<boolean> => {
      woken.push(waiting);
      return !gone.has(waiting);
    };
    const own = new SlotLeases({ redis: one.redis, namespace: place.namespace, slots: 1, leaseMs: 10_000, wake });
    const slot = await held(own);
    for (const who of ['first', 'second', 'first', 'third', 'fourth']) {
      assert.ok(!isHeld(await own.tryTake(LANE, who)));
      await sleep(2); // they are told apart by the millisecond
    }
    await slot[Symbol.asyncDispose]();
    assert.deepEqual(woken, ['first']);
    const next = await own.tryTake(LANE, 'fourth');
    assert.ok(isHeld(next), 'whoever comes may have it');
    await next[Symbol.asyncDispose]();
    assert.deepEqual(woken, ['first', 'second', 'third']);
    await (await held(own))[Symbol.asyncDispose]();
    assert.deepEqual(woken, ['first', 'second', 'third']);
  });

  it('are not given while the lane is blocked', async () => {
    await using place = new Place();
    const [first] = leases(place, 5);
    await place.lanes.set(LANE, {});
    await place.lanes.block(LANE, 20_000, '429');
    const slot = await first.tryTake(LANE);
    assert.ok(!isHeld(slot) && isAbout(slot.afterMs, 20_000));
  });
});
