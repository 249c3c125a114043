/** What BullMQ does that the farm relies on, or has a guard for. It is pinned exactly: look here when it moves. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DelayedError, type Job, type Processor, Queue, Worker, type WorkerOptions } from 'bullmq';
import { Flag } from '../contract/dispatcher-world.ts';
import { HandGraph, LANE, type Opened, openedRedis, until } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';

let server: TestRedis;
let connection: Opened;

before(async () => {
  server = await TestRedis.start();
  connection = await openedRedis(server);
});
after(async () => {
  await connection[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** As the workers of the farm have it. */
const LIMITER = { max: 1e9, duration: 1_000 };
const GONE = { count: 0 };

/** A queue with the options of the farm, and workers for it. */
class Place implements AsyncDisposable {
  readonly tag: string;
  readonly queue: Queue;
  readonly #stack = new AsyncDisposableStack();

  constructor(tag = `{pin-${randomUUID()}}`) {
    this.tag = tag;
    this.queue = this.open(100);
  }

  open(maxLen?: number): Queue {
    const streams = maxLen === undefined ? {} : { streams: { events: { maxLen } } };
    const queue = new Queue(LANE, { connection: connection.redis, prefix: this.tag, ...streams });
    this.#stack.defer(() => queue.close());
    return queue;
  }

  worker(
    process: Processor | null,
    { isLimited = true, ...options }: Partial<WorkerOptions> & { isLimited?: boolean } = {},
  ): Worker {
    const limiter = isLimited ? { limiter: LIMITER } : {};
    const own = { connection: connection.redis, prefix: this.tag, drainDelay: 1, ...limiter, ...options };
    const worker = new Worker(LANE, process, { removeOnComplete: GONE, removeOnFail: GONE, ...own });
    worker.on('error', () => undefined);
    this.#stack.defer(() => worker.close(true));
    return worker;
  }

  key(name: string): string {
    return `${this.tag}:${LANE}:${name}`;
  }

  counts(): Promise<Record<string, number>> {
    return this.queue.getJobCounts('wait', 'active', 'delayed', 'completed', 'failed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const idle = { wait: 0, active: 0, delayed: 0, completed: 0, failed: 0 };
const job = (id: string, opts = {}): { name: string; data: object; opts: object } => ({
  name: 'v',
  data: { v: 1, r: 'r', n: id },
  opts: { jobId: id, ...opts },
});

describe('adding', { timeout: 30_000 }, () => {
  it('a job whose id exists is not added again', async () => {
    await using place = new Place();
    const { queue } = place;
    await queue.add('v', { first: true }, { jobId: 'r.1' });
    await queue.add('v', { first: false }, { jobId: 'r.1' });
    await queue.addBulk([{ name: 'v', data: {}, opts: { jobId: 'r.1', lifo: true } }]);
    assert.equal((await place.counts())['wait'], 1);
    assert.deepEqual((await queue.getJob('r.1'))?.data, { first: true });
  });

  it('lifo: the last of a list comes out first, and before what was there', async () => {
    await using place = new Place();
    await place.queue.addBulk([job('a'), job('b')]);
    await place.queue.addBulk([job('c', { lifo: true }), job('d', { lifo: true })]);
    const order: (string | undefined)[] = [];
    place.worker(async ({ id }) => void order.push(id));
    await until(() => order.length === 4);
    assert.deepEqual(order, ['d', 'c', 'a', 'b']);
  });

  it('of a long list is one call after the other: an event each, of which about 100 stay', async () => {
    await using place = new Place();
    place.worker(async () => undefined, { concurrency: 20 });
    await place.queue.addBulk(Array.from({ length: 1_000 }, (_, i) => job(`r.${i}`)));
    await until(async () => (await place.counts())['wait'] === 0);
    assert.ok((await connection.redis.xlen(place.key('events'))) < 300);
  });

  it('a queue that is opened without a bound on events sets it back for everybody', async () => {
    await using place = new Place();
    const bound = (): Promise<string | null> => connection.redis.hget(place.key('meta'), 'opts.maxLenEvents');
    await until(async () => (await bound()) === '100');
    place.open();
    await until(async () => (await bound()) === '10000');
  });
});

describe('a ticket that a script of ours adds', { timeout: 30_000 }, () => {
  const opened = (tag: string): Promise<HandGraph> =>
    HandGraph.open(connection.redis, ['A'], { namespace: tag.slice(1, -1) });

  it('is what BullMQ itself adds, in the same place', async () => {
    await using theirs = new Place();
    await using ours = new Place();
    await using g = await opened(ours.tag);
    await g.expand('A', ['x', 'y']);
    const { run } = g;
    const add = (n: string, lifo = false): Promise<unknown> =>
      theirs.queue.add('v', { v: 2, r: run, n }, { jobId: `${run}.${n}`, ...(lifo ? { lifo } : {}) });
    await add('1');
    await add('3', true);
    await add('2', true);
    const { redis } = connection;
    for (const list of ['wait', 'active']) {
      assert.deepEqual(await redis.lrange(ours.key(list), 0, -1), await redis.lrange(theirs.key(list), 0, -1));
    }
    for (const place of [ours, theirs]) assert.equal(await redis.zscore(place.key('marker'), '0'), '0');
    const fields = async (place: Place, n: string): Promise<Record<string, string>> => {
      const { timestamp, opts, ...rest } = await redis.hgetall(place.key(`${run}.${n}`));
      assert.ok(Math.abs(Date.now() - Number(timestamp)) < 60_000);
      assert.ok(opts?.startsWith('{'));
      return rest;
    };
    for (const n of ['1', '2', '3']) assert.deepEqual(await fields(ours, n), await fields(theirs, n));
    assert.equal(
      await redis.hget(ours.key('meta'), 'opts.maxLenEvents'),
      await redis.hget(theirs.key('meta'), 'opts.maxLenEvents'),
    );
  });

  it('for the settle as well', async () => {
    await using ours = new Place();
    await using g = await opened(ours.tag);
    await g.expand('A', ['x']);
    await g.done('x');
    const found = await ours.queue.getJob(`${g.run}.1.p`);
    assert.deepEqual(
      [found?.name, found?.data, await found?.getState()],
      ['p', { v: 2, r: g.run, n: '1', p: 1 }, 'waiting'],
    );
  });

  for (const [what, hold, letGo] of [
    ['paused', (queue: Queue) => queue.pause(), (queue: Queue) => queue.resume()],
    ['full', (queue: Queue) => queue.setGlobalConcurrency(0), undefined],
  ] as const) {
    it(`wakes no worker of a lane that is ${what}`, async () => {
      await using theirs = new Place();
      await using ours = new Place();
      for (const { queue } of [theirs, ours]) await hold(queue);
      await theirs.queue.add('v', {}, { jobId: 'r.1' });
      await using _g = await opened(ours.tag);
      for (const place of [theirs, ours]) {
        assert.equal(await connection.redis.exists(place.key('marker')), 0);
        assert.equal((await place.counts())['wait'], 1);
        await letGo?.(place.queue);
      }
      if (letGo === undefined) return;
      let taken = 0;
      ours.worker(async () => void (taken += 1));
      await until(() => taken === 1);
    });
  }

  it('wakes a worker that waits', async () => {
    await using ours = new Place();
    const taken = new Flag();
    const worker = ours.worker(async () => taken.set(), { drainDelay: 60 });
    await worker.waitUntilReady();
    const drained = new Flag();
    worker.on('drained', () => drained.set());
    await ours.queue.add('v', {}, { jobId: 'first' });
    await drained.happened;
    await using _g = await opened(ours.tag);
    await taken.happened;
    await until(async () => (await ours.counts())['wait'] === 0);
  });

  it('keeps its job small in Redis, also while it is worked on', async () => {
    await using ours = new Place();
    await using g = await opened(ours.tag);
    const key = ours.key(`${g.run}.1`);
    const encoding = async (): Promise<unknown> => connection.redis.object('ENCODING', key);
    assert.match(String(await encoding()), /^(?:listpack|ziplist)$/);
    const go = new Flag();
    ours.worker(() => go.happened, { name: `${'worker'.repeat(6)}-12345-abcd` });
    await until(async () => (await ours.counts())['active'] === 1);
    assert.match(String(await encoding()), /^(?:listpack|ziplist)$/);
    go.set();
    await until(async () => (await connection.redis.exists(key)) === 0);
    await ours.queue.add('v', { n: 'x'.repeat(80) }, { jobId: 'large' });
    assert.equal(await connection.redis.object('ENCODING', ours.key('large')), 'hashtable');
  });
});

describe('the end of a job', { timeout: 30_000 }, () => {
  it('leaves nothing, done or failed: its id is free', async () => {
    await using place = new Place();
    place.worker(async ({ id }) => (id === 'bad' ? Promise.reject(new Error('no')) : undefined));
    await place.queue.addBulk([job('good'), job('bad')]);
    await until(async () => (await place.counts())['wait'] === 0 && (await place.counts())['active'] === 0);
    assert.deepEqual(await place.counts(), idle);
    assert.deepEqual(await Promise.all(['good', 'bad'].map((id) => place.queue.getJob(id))), [undefined, undefined]);
  });

  it('DelayedError after moveToDelayed: no attempt is made of it, but a start is counted', async () => {
    await using place = new Place();
    const seen: number[][] = [];
    place.worker(async (it: Job, token) => {
      seen.push([it.attemptsMade, it.attemptsStarted, it.stalledCounter]);
      if (seen.length === 3) return;
      await it.moveToDelayed(Date.now() + 5, token);
      throw new DelayedError();
    });
    await place.queue.add('v', {}, { jobId: 'r.1' });
    await until(() => seen.length === 3);
    assert.deepEqual(seen, [
      [0, 1, 0],
      [0, 2, 0],
      [0, 3, 0],
    ]);
  });

  it('a job that stalled is counted as such, and beyond the bound it comes as one to fail', async () => {
    await using place = new Place();
    await place.queue.add('v', {}, { jobId: 'r.1' });
    const dies = async (): Promise<void> => {
      const worker = place.worker(null, { autorun: false, lockDuration: 20 });
      await until(async () => (await worker.getNextJob('dead')) !== undefined);
      await until(async () => (await connection.redis.exists(place.key('r.1:lock'))) === 0);
    };
    const stalledCheck = { stalledInterval: 50, maxStalledCount: 1 };
    const counted: number[][] = [];
    await dies();
    const first = place.worker(
      async (it: Job, token) => {
        counted.push([it.attemptsStarted, it.stalledCounter]);
        await it.moveToDelayed(Date.now() + 1, token);
        throw new DelayedError();
      },
      { ...stalledCheck, concurrency: 1 },
    );
    await until(() => counted.length > 0);
    await first.close();
    assert.deepEqual(counted[0], [2, 1]);
    await dies();
    const failed = Promise.withResolvers<[Job | undefined, Error]>();
    const second = place.worker(async () => assert.fail('it is handed out'), stalledCheck);
    second.on('failed', (it, err) => failed.resolve([it, err]));
    const [it, err] = await failed.promise;
    assert.equal(it?.deferredFailure, 'job stalled more than allowable limit');
    assert.equal(err.message, it.deferredFailure);
  });

  it('an error of the processor tells failed without that', async () => {
    await using place = new Place();
    const failed = Promise.withResolvers<Job | undefined>();
    const worker = place.worker(() => Promise.reject(new Error('redis is away')));
    worker.on('failed', (it) => failed.resolve(it));
    await place.queue.add('v', {}, { jobId: 'r.1' });
    const it = await failed.promise;
    assert.ok(it);
    assert.equal(it.deferredFailure, undefined);
  });
});

describe('waiting', { timeout: 30_000 }, () => {
  it('promote wakes a worker that waits', async () => {
    await using place = new Place();
    const done = new Flag();
    place.worker(async () => done.set(), { drainDelay: 60 });
    await place.queue.add('v', {}, { jobId: 'r.1', delay: 3_600_000 });
    await until(async () => (await place.counts())['delayed'] === 1);
    await (await place.queue.getJob('r.1'))?.promote();
    await done.happened;
  });

  it('a block of the queue stops all workers where there is a limiter, and nobody where there is none', async () => {
    for (const isLimited of [true, false]) {
      await using place = new Place();
      const taken: number[] = [];
      await place.queue.rateLimit(300);
      const till = Date.now() + 300;
      for (let i = 0; i < 2; i += 1) place.worker(async () => void taken.push(Date.now()), { isLimited });
      await place.queue.addBulk([job('a'), job('b'), job('c')]);
      await until(() => taken.length === 3);
      assert.equal(
        taken.every((at) => at >= till - 20),
        isLimited,
      );
    }
  });

  it('the last of two blocks wins: the longer one has to be kept by us', async () => {
    await using place = new Place();
    await place.queue.rateLimit(60_000);
    await place.queue.rateLimit(1_000);
    assert.ok((await place.queue.getRateLimitTtl()) <= 1_000);
  });

  it('a job that is given back by a rate limit error makes no attempt', async () => {
    await using place = new Place();
    const seen: number[][] = [];
    place.worker(async ({ attemptsMade, attemptsStarted }) => {
      seen.push([attemptsMade, attemptsStarted]);
      if (seen.length > 1) return;
      await place.queue.rateLimit(50);
      throw Worker.RateLimitError();
    });
    await place.queue.add('v', {}, { jobId: 'r.1' });
    await until(() => seen.length === 2);
    assert.deepEqual(seen, [
      [0, 1],
      [0, 2],
    ]);
  });

  it('global concurrency holds over all workers', async () => {
    await using place = new Place();
    await place.queue.setGlobalConcurrency(3);
    let [now, most, done] = [0, 0, 0];
    for (let i = 0; i < 3; i += 1) {
      const work = async (): Promise<void> => {
        now += 1;
        most = Math.max(most, now);
        await sleep(5);
        now -= 1;
        done += 1;
      };
      place.worker(work, { concurrency: 5 });
    }
    await place.queue.addBulk(Array.from({ length: 60 }, (_, i) => job(`r.${i}`)));
    await until(() => done === 60);
    assert.equal(most, 3);
  });
});
