/** Workers, with handlers that do as a test orders; the faults are real ones. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';
import { GantryError } from '../../src/errors.ts';
import { queueName } from '../../src/queue/tickets.ts';
import { Flag, LEAF, untilAborted, World } from '../contract/dispatcher-world.ts';
import { fault, HandFarm, HandGraph, LANE, openedRedis, SHORT, until } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';

const OTHER = 'other.example/app';
let server: TestRedis;

before(async () => {
  server = await TestRedis.start();
});
after(() => server[Symbol.asyncDispose]());

const names = (count: number, prefix: string): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const all = (state: string, count: number): string[] => Array.from({ length: count }, () => state);
const countsOf = async (farm: HandFarm, lane = LANE): Promise<Record<string, number>> =>
  farm.tickets.queue(lane).getJobCounts('wait', 'active', 'delayed');

describe('a node that no worker can read', { timeout: 60_000 }, () => {
  it('fails its image, and does not go round for ever', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'], B: ['y'] });
    const record = 'AAAAAAAA1["b","registry.example/app","store","","no digest",{}]';
    let isBroken = false;
    const onStep = async (step: string): Promise<void> => {
      if (step !== 'added' || isBroken) return;
      isBroken = true;
      const [run] = await farm.runs.list();
      await farm.redis.hset(`${farm.keys.run(run?.id ?? '')}:n`, '2', record);
    };
    // One at a time: the child is not taken before its parent's ticket is put down.
    await farm.worker({ handler: world.handler, onStep, concurrency: 1 });
    assert.deepEqual(await farm.run([world.root('A')]), ['failed INTERNAL']);
    assert.match(farm.problems.map(({ message }) => message).join(), /of a form that this version does not know/);
    assert.deepEqual(await farm.run([world.root('B')]), ['done']);
  });
});

describe('tickets that are not for this worker', { timeout: 60_000 }, () => {
  it('of an unknown version are left, and told once', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    await farm.lanes.set(LANE, {});
    const queue = farm.tickets.queue(LANE);
    for (const n of ['1', '2', '3']) await queue.add('v', { v: 3, r: 'rnew', n }, { jobId: `rnew.${n}` });
    await farm.worker({ handler: world.handler });
    await until(async () => (await countsOf(farm))['delayed'] === 3);
    assert.deepEqual(await farm.run([world.root('A')]), ['done']);
    await until(async () => (await countsOf(farm))['active'] === 0);
    assert.deepEqual(await countsOf(farm), { wait: 0, active: 0, delayed: 3 });
    assert.deepEqual(
      farm.problems.map(({ code, message }) => `${code} ${message}`),
      ['UNSUPPORTED there are tickets of version 3, this worker knows 2'],
    );
    assert.match(farm.problems[0]?.hint ?? '', /update this one/);
  });

  it('of other lanes wait for another worker', async () => {
    await using farm = await HandFarm.open(server);
    const worlds = [new World({ A: ['x'], B: ['y'] }), new World({ A: ['x'], B: ['y'] })] as const;
    const roots = [worlds[0].root('A'), worlds[0].root('B', OTHER)];
    await farm.worker({ handler: worlds[0].handler, lanes: [LANE] });
    const done = farm.run(roots);
    await until(() => worlds[0].settled.includes('A'));
    assert.equal((await countsOf(farm, 'other.example'))['wait'], 1);
    await farm.worker({ handler: worlds[1].handler });
    assert.deepEqual(await done, ['done', 'done']);
    assert.deepEqual(worlds[0].visited.toSorted(), ['A', 'x']);
    assert.deepEqual(worlds[1].visited.toSorted(), ['B', 'y']);
  });

  it('for a store that it does not have wait for a worker with it', async () => {
    await using farm = await HandFarm.open(server);
    const [world, never] = [new World({ A: ['x'] }), new World({})];
    await farm.worker({ handler: never.handler, target: 'another store' });
    const done = farm.run([world.root('A')]);
    await until(async () => (await countsOf(farm))['delayed'] === 1);
    await farm.worker({ handler: world.handler, target: 'store' });
    assert.deepEqual(await done, ['done']);
    assert.deepEqual(never.visited, []);
  });
});

describe('trying again', { timeout: 60_000 }, () => {
  it('a passing failure so often as it may, another not', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['twice'], B: ['thrice'], C: ['once'] });
    const failing = (name: string, times: number, err: GantryError): void => {
      let seen = 0;
      world.onVisit(name, () => ((seen += 1) <= times ? Promise.reject(err) : LEAF));
    };
    failing('twice', 2, fault('NETWORK'));
    failing('thrice', 3, fault('NETWORK'));
    failing('once', 1, fault('DENIED'));
    const delays: number[] = [];
    const retryDelayMs = (tries: number): number => (delays.push(tries), 5);
    await farm.worker({ handler: world.handler, attempts: 3, retryDelayMs });
    const result = await farm.run(['A', 'B', 'C'].map((name) => world.root(name)));
    assert.deepEqual(result, ['done', 'failed NETWORK', 'failed DENIED']);
    const visits = (name: string): number => world.visited.filter((each) => each === name).length;
    assert.deepEqual(['twice', 'thrice', 'once'].map(visits), [3, 3, 1]);
    assert.deepEqual(
      delays.toSorted((a, b) => a - b),
      [0, 0, 1, 1],
    );
  });

  it('a 429 keeps all workers from the lane, costs no attempt, and no other lane waits', async () => {
    await using farm = await HandFarm.open(server);
    const images = names(30, 'I');
    const others = names(10, 'O');
    const world = new World(Object.fromEntries([...images, ...others].map((name) => [name, [`${name}-x`]])));
    const [blocked, othersDone] = [new Flag(), new Flag()];
    let early = 0;
    let answers = 0;
    const at: number[] = [];
    world.onVisit('I0-x', async () => {
      answers += 1;
      at.push(performance.now());
      if (answers > 3) return LEAF;
      blocked.set();
      throw new GantryError('RATE_LIMITED', 'too many requests', { origin: 'source', retryAfterMs: 400 });
    });
    world.onVisit('O9-x', async () => (await blocked.happened, undefined));
    world.onSettle('O9', async () => othersDone.set());
    const watched = (name: string): void => {
      world.onVisit(name, async () => {
        const till = Number(await farm.redis.hget(farm.keys.lane(LANE), 'till'));
        if (answers === 1 && Date.now() < till - 50) early += 1;
        return undefined;
      });
    };
    for (const name of images.slice(1)) watched(`${name}-x`);
    const { handler } = world;
    for (let i = 0; i < 2; i += 1) await farm.worker({ handler, concurrency: 2, attempts: 1 });
    const done = farm.run([
      ...images.map((name) => world.root(name)),
      ...others.map((name) => world.root(name, OTHER)),
    ]);
    await blocked.happened;
    const [lane] = await farm.lanes.status(() => 2, { signal: new AbortController().signal });
    await othersDone.happened;
    assert.deepEqual(await done, all('done', 40));
    assert.equal(answers, 4);
    assert.ok(
      at.every((ms, i) => i === 0 || ms - (at[i - 1] ?? 0) >= 350),
      'each time it was left alone for as long as it wanted',
    );
    assert.ok(early <= 3, `${early} began while the lane was blocked: those that were in hand at most`);
    assert.equal(lane?.name, 'other.example');
  });
});

describe('a worker that closes', { timeout: 60_000 }, () => {
  it('gives back what it has at once, no attempt is lost, and the next one goes on', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: names(4, 'x') });
    const hang = new Flag();
    let hanging = 0;
    for (const name of names(4, 'x')) {
      world.onVisit(name, async ({ signal }) => {
        if (hanging === 4) return LEAF;
        hanging += 1;
        if (hanging === 4) hang.set();
        return untilAborted(signal);
      });
    }
    // Locks and leases outlast the test: what goes on was given back.
    const times = { ...SHORT, lockMs: 60_000, leaseMs: 60_000, sweepMs: 60_000 };
    const options = { handler: world.handler, attempts: 1, times };
    const first = await farm.worker(options);
    const done = farm.run([world.root('A')]);
    await hang.happened;
    const startedAt = performance.now();
    await first.close();
    assert.ok(performance.now() - startedAt < 1_000);
    assert.deepEqual(await countsOf(farm), { wait: 4, active: 0, delayed: 0 });
    assert.equal(await farm.redis.exists(farm.keys.worker(first.id)), 0);
    await farm.worker(options);
    assert.deepEqual(await done, ['done']);
    assert.equal(world.visited.length, 9);
  });

  it('with nothing to do ends at once, twice as well', async () => {
    await using farm = await HandFarm.open(server);
    const worker = await farm.worker({ handler: new World({}).handler });
    await farm.lanes.set(LANE, {});
    await Promise.all([worker.close(), worker.close()]);
    assert.equal(worker.running, 0);
  });
});

describe('a ticket that kills its workers', { timeout: 60_000 }, () => {
  /** Takes the only ticket as a worker does that dies with it. */
  async function die(farm: HandFarm, g: HandGraph, stalledBefore: number): Promise<void> {
    const { redis, [Symbol.asyncDispose]: close } = await openedRedis(server);
    const worker = new Worker(queueName(LANE), null, {
      connection: redis,
      prefix: farm.keys.tag,
      lockDuration: 50,
      autorun: false,
    });
    const job = await worker.getNextJob('dead');
    assert.ok(job);
    await g.take('A');
    await farm.redis.hset(`${farm.keys.tag}:${LANE}:${job.id}`, 'stc', stalledBefore);
    await worker.close(true);
    await close();
  }

  for (const [stalledBefore, result] of [
    [19, ['done']],
    [20, ['failed INTERNAL']],
  ] as const) {
    it(`after ${stalledBefore} times: ${result[0]}`, async () => {
      await using farm = await HandFarm.open(server);
      const world = new World({ A: [] });
      await using g = await HandGraph.open(farm.redis, ['A'], { namespace: farm.namespace });
      await die(farm, g, stalledBefore);
      await farm.worker({ handler: world.handler, times: { ...SHORT, stalledMs: 100, sweepMs: 60_000 } });
      await until(async () => (await farm.runs.status(g.run)).state === 'done');
      assert.deepEqual(await farm.run([]), []);
      const [ended] = await g.results();
      assert.equal(ended, `0 ${result[0]}`);
      assert.equal(world.visited.length, stalledBefore === 19 ? 1 : 0);
    });
  }
});

describe('work that nobody wants', { timeout: 60_000 }, () => {
  it('stops when a sibling has failed, on another worker, too', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['bad', 'slow1', 'slow2'] });
    let slow = 0;
    const bothRun = new Flag();
    for (const name of ['slow1', 'slow2']) {
      world.onVisit(name, async ({ signal }) => {
        slow += 1;
        if (slow === 2) bothRun.set();
        return untilAborted(signal).finally(() => {
          slow -= 1;
        });
      });
    }
    world.onVisit('bad', async () => {
      await bothRun.happened;
      throw fault('DENIED');
    });
    const times = { ...SHORT, leaseMs: 60_000 };
    for (let i = 0; i < 3; i += 1) await farm.worker({ handler: world.handler, concurrency: 1, times });
    const done = farm.run([world.root('A')]);
    await bothRun.happened;
    await until(() => slow === 0, 5_000);
    assert.deepEqual(await done, ['failed DENIED']);
    await until(async () => (await countsOf(farm))['active'] === 0);
    assert.deepEqual(await countsOf(farm), { wait: 0, active: 0, delayed: 0 });
  });

  it('a lease that is lost stops the work, and it is done again', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    const [runs, stopped] = [new Flag(), new Flag()];
    world.onVisit('x', async ({ signal }) => {
      if (world.visited.filter((name) => name === 'x').length > 1) return LEAF;
      runs.set();
      return untilAborted(signal).finally(() => stopped.set());
    });
    await farm.worker({ handler: world.handler, attempts: 1, times: { ...SHORT, leaseMs: 300 } });
    const done = farm.run([world.root('A')]);
    await runs.happened;
    assert.equal(await farm.redis.del(farm.keys.lease(`store ${world.desc('x').digest}`)), 1);
    await stopped.happened;
    assert.deepEqual(await done, ['done']);
    assert.deepEqual(world.visited, ['A', 'x', 'x']);
  });
});

describe('a job that BullMQ takes away', { timeout: 60_000 }, () => {
  it('because its lock is gone is done again, and nothing fails', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    const [runs, stopped] = [new Flag(), new Flag()];
    world.onVisit('x', async ({ signal }) => {
      if (world.visited.filter((name) => name === 'x').length > 1) return LEAF;
      runs.set();
      return untilAborted(signal).finally(() => stopped.set());
    });
    await farm.worker({ handler: world.handler, attempts: 1, times: { ...SHORT, lockMs: 300, stalledMs: 300 } });
    const done = farm.run([world.root('A')]);
    await runs.happened;
    const [job] = await farm.tickets.queue(LANE).getActive();
    assert.equal(await farm.redis.del(`${farm.keys.tag}:${LANE}:${job?.id}:lock`), 1);
    await stopped.happened;
    assert.deepEqual(await done, ['done']);
    assert.deepEqual(world.visited, ['A', 'x', 'x']);
  });

  it('because the worker met an error of its own is done again, and nothing fails', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    let thrown = 0;
    const onStep = (): void => {
      thrown += 1;
      if (thrown === 1) throw new TypeError('a defect');
    };
    await farm.worker({ handler: world.handler, onStep, times: { ...SHORT, leaseMs: 60_000 } });
    assert.deepEqual(await farm.run([world.root('A')]), ['done']);
  });
});

describe('many', { timeout: 60_000 }, () => {
  it('images that want one blob, over three workers: it is handled once', async () => {
    await using farm = await HandFarm.open(server);
    const images = names(200, 'I');
    const world = new World(Object.fromEntries(images.map((name) => [name, ['blob', `${name}-own`]])));
    world.onVisit('blob', () => sleep(200).then(() => LEAF));
    for (let i = 0; i < 3; i += 1) await farm.worker({ handler: world.handler });
    assert.deepEqual(await farm.run(images.map((name) => world.root(name))), all('done', 200));
    assert.equal(world.visited.filter((name) => name === 'blob').length, 1);
    assert.equal(world.visited.length, 401);
  });

  it('runs that want one blob: one handles it at a time', async () => {
    await using farm = await HandFarm.open(server);
    const images = names(12, 'I');
    const world = new World(Object.fromEntries(images.map((name) => [name, ['blob']])));
    let now = 0;
    let most = 0;
    world.onVisit('blob', async () => {
      now += 1;
      most = Math.max(most, now);
      await sleep(20);
      now -= 1;
      return LEAF;
    });
    for (let i = 0; i < 2; i += 1) await farm.worker({ handler: world.handler });
    const results = await Promise.all(images.map((name) => farm.run([world.root(name)])));
    assert.deepEqual(results.flat(), all('done', 12));
    assert.equal(most, 1);
  });
});

describe('a Redis in trouble', { timeout: 60_000 }, () => {
  /** Sixty images of which each takes a while, over three workers; `when` some are done, `trouble` comes. */
  async function through(redis: TestRedis, trouble: () => Promise<void>): Promise<HandFarm> {
    const farm = await HandFarm.open(redis);
    const images = names(60, 'I');
    const world = new World(Object.fromEntries(images.map((name) => [name, ['base', `${name}-x`, `${name}-y`]])));
    const started = new Flag();
    for (const name of images) {
      world.onVisit(`${name}-x`, () => sleep(30).then(() => LEAF));
      world.onSettle(name, async () => (world.settled.length > 30 ? started.set() : undefined));
    }
    for (let i = 0; i < 3; i += 1)
      await farm.worker({ handler: world.handler, concurrency: 3, retryDelayMs: () => 100 });
    const done = farm.run(images.map((name) => world.root(name)));
    await started.happened;
    await trouble();
    assert.deepEqual(await done, all('done', 60));
    assert.equal(new Set(world.settled).size, 181);
    return farm;
  }

  it('that stands still for longer than all locks: everything completes', async () => {
    await using redis = await TestRedis.start();
    await using _farm = await through(redis, async () => {
      redis.pauseProcess();
      await sleep(3_000);
      redis.resumeProcess();
    });
  });

  it('that is killed and comes back with its file: everything completes', async () => {
    await using redis = await TestRedis.start({ appendonly: true });
    await using _farm = await through(redis, async () => {
      await redis.kill();
      await redis.start();
    });
  });

  it('that is out of memory: everything completes once there is some again', async () => {
    await using redis = await TestRedis.start();
    await using farm = await through(redis, async () => {
      await redis.command('config', 'set', 'maxmemory', '1mb');
      await sleep(1_500);
      await redis.command('config', 'set', 'maxmemory', '0');
    });
    assert.ok(farm.problems.some(({ message }) => /OOM|out of memory/.test(message)));
  });
});

describe('copies', { timeout: 60_000 }, () => {
  const TARGET = 'target.example';

  it('settle in the lane of their target, where another worker may take them: what was left goes along', async () => {
    await using farm = await HandFarm.open(server);
    const worlds = [new World({ A: ['x'] }), new World({ A: ['x'] })] as const;
    const carry = `{"schemaVersion":2}\n${'\u00ff'.repeat(10_000)}`;
    const desc = worlds[0].desc('x');
    worlds[0].onVisit('A', () => ({ kind: 'expand', children: [{ kind: 'blob', desc }], carry }));
    const told: unknown[] = [];
    worlds[1].onSettle('A', async (ctx) => {
      told.push([ctx.carry === carry, ctx.round, ctx.children.map(({ kind }) => kind)]);
      return ctx.round === 0 ? { kind: 'expand', children: [{ kind: 'upload', desc }] } : undefined;
    });
    await farm.worker({ handler: worlds[0].handler, lanes: [LANE], target: 'store' });
    await farm.worker({ handler: worlds[1].handler, lanes: [TARGET], target: 'another store' });
    assert.deepEqual(await farm.run([worlds[0].root('A', undefined, `${TARGET}/app`)]), ['done']);
    assert.deepEqual(told, [
      [true, 0, ['blob']],
      [true, 1, ['blob', 'upload']],
    ]);
    assert.deepEqual(worlds[0].visited, ['A', 'x', 'x']);
    assert.deepEqual([worlds[1].visited, worlds[1].settled], [[], ['A']]);
  });

  it('have children of other registries, too, which are a matter of the lanes of those', async () => {
    await using farm = await HandFarm.open(server);
    const worlds = [new World({ A: ['x', 'M'], M: ['y'] }), new World({ A: ['x', 'M'], M: ['y'] })] as const;
    worlds[0].onVisit('A', () => {
      const scope = { source: OTHER, target: 'third.example/app' };
      const [x, m] = [worlds[0].desc('x'), worlds[0].desc('M')];
      const children = [
        { kind: 'blob', desc: x },
        { kind: 'manifest', desc: m, scope },
      ] as const;
      return { kind: 'expand', children };
    });
    await farm.worker({ handler: worlds[0].handler, lanes: [LANE, TARGET] });
    await farm.worker({ handler: worlds[1].handler, lanes: ['other.example', 'third.example'] });
    assert.deepEqual(await farm.run([worlds[0].root('A', undefined, `${TARGET}/app`)]), ['done']);
    assert.deepEqual([worlds[0].visited.toSorted(), worlds[0].settled.at(-1)], [['A', 'x'], 'A']);
    assert.deepEqual(
      [worlds[1].visited, worlds[1].settled],
      [
        ['M', 'y'],
        ['y', 'M'],
      ],
    );
  });

  it('take slots of their target, over all workers, and who has to wait is woken', async () => {
    await using farm = await HandFarm.open(server);
    const blobs = names(40, 'x');
    const world = new World({ A: blobs });
    let [now, most] = [0, 0];
    const attempts: number[] = [];
    for (const name of blobs) {
      world.onVisit(name, async ({ attempt }) => {
        attempts.push(attempt);
        now += 1;
        most = Math.max(most, now);
        await sleep(5);
        now -= 1;
        return LEAF;
      });
    }
    await farm.lanes.set(TARGET, { concurrency: 2 });
    for (let i = 0; i < 2; i += 1) await farm.worker({ handler: world.handler });
    assert.deepEqual(await farm.run([world.root('A', undefined, `${TARGET}/app`)]), ['done']);
    assert.equal(most, 2);
    assert.equal(attempts.length, 40);
    assert.equal(await farm.redis.exists(farm.keys.slots(TARGET), `${farm.keys.slots(TARGET)}:w`), 0);
  });

  it('a slot that is lost stops what it was for, and that starts again', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    const runs = new Flag();
    let starts = 0;
    world.onVisit('x', async ({ signal }) => {
      starts += 1;
      if (starts > 1) return LEAF;
      runs.set();
      return untilAborted(signal);
    });
    await farm.worker({ handler: world.handler, times: { ...SHORT, leaseMs: 300 } });
    const done = farm.run([world.root('A', undefined, `${TARGET}/app`)]);
    await runs.happened;
    await farm.redis.del(farm.keys.slots(TARGET));
    assert.deepEqual(await done, ['done']);
    assert.equal(starts, 2);
  });

  it('a 429 of the target is a matter of its lane, and costs the others of the source nothing', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'], B: ['y'] });
    const blocked = new Flag();
    const at: number[] = [];
    world.onVisit('x', async () => {
      at.push(performance.now());
      if (at.length > 1) return LEAF;
      throw new GantryError('RATE_LIMITED', 'too many requests', { origin: 'target', retryAfterMs: 1_000 });
    });
    world.onVisit('B', () => blocked.happened);
    await farm.worker({ handler: world.handler, attempts: 1 });
    const limited = farm.run([world.root('A', undefined, `${TARGET}/app`)]);
    const other = farm.run([world.root('B', undefined, 'free.example/app')]);
    await until(async () => (await farm.redis.hget(farm.keys.lane(TARGET), 'till')) !== null);
    blocked.set();
    assert.deepEqual(await other, ['done']);
    assert.equal(await farm.redis.hget(farm.keys.lane(LANE), 'till'), null);
    assert.deepEqual(await limited, ['done']);
    assert.equal(at.length, 2);
    assert.ok((at[1] ?? 0) - (at[0] ?? 0) >= 950, 'the target is left alone meanwhile');
  });
});
