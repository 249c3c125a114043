/** What is healed that nobody else would heal: lost tickets, workers that died at the end of a run, a Redis that was emptied. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Flag, untilAborted, World } from '../contract/dispatcher-world.ts';
import { failureOf } from '../support/clients.ts';
import { fault, HandFarm, HandGraph, LANE, rootOf, until } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';

let server: TestRedis;

before(async () => {
  server = await TestRedis.start();
});
after(() => server[Symbol.asyncDispose]());

const stateOf = async (farm: HandFarm, run: string): Promise<string> => (await farm.runs.status(run)).state;

describe('a lost ticket', { timeout: 60_000 }, () => {
  it('of a node that is wanted comes back', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x', 'y'] });
    await using g = await HandGraph.open(farm.redis, ['A'], { namespace: farm.namespace });
    await g.expand('A', ['x', 'y']);
    await farm.tickets.queue(LANE).obliterate();
    assert.deepEqual(await g.waiting('visit'), []);
    await farm.worker({ handler: world.handler });
    await until(async () => (await stateOf(farm, g.run)) === 'done');
    assert.deepEqual(
      [world.visited.toSorted(), world.settled.toSorted()],
      [
        ['x', 'y'],
        ['A', 'x', 'y'],
      ],
    );
  });

  it('of a node that is ready to settle comes back', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: ['x'] });
    await using g = await HandGraph.open(farm.redis, ['A'], { namespace: farm.namespace });
    await g.expand('A', ['x']);
    await g.done('x');
    await farm.tickets.queue(LANE).drain();
    await farm.worker({ handler: world.handler });
    await until(async () => (await stateOf(farm, g.run)) === 'done');
    assert.deepEqual([world.visited, world.settled], [[], ['A']]);
  });

  it('while a worker is there, and whichever of them closes', async () => {
    await using farm = await HandFarm.open(server);
    const world = new World({ A: [] });
    const workers = [await farm.worker({ handler: world.handler }), await farm.worker({ handler: world.handler })];
    const duty = farm.keys.duty('sweep');
    await until(async () => (await farm.redis.get(duty)) !== null);
    const who = await farm.redis.get(duty);
    await workers.find(({ id }) => id === who)?.close();
    await farm.lanes.set(LANE, {});
    await farm.lanes.pause(LANE);
    const run = await farm.runs.submit([rootOf('A')]);
    const queue = farm.tickets.queue(LANE);
    await until(async () => (await queue.getWaitingCount()) === 1);
    await queue.drain();
    await farm.lanes.resume(LANE);
    await until(async () => (await stateOf(farm, run)) === 'done');
    assert.deepEqual(world.visited, ['A']);
  });
});

describe('a worker that died', { timeout: 60_000 }, () => {
  it('with the last ticket of a run that is over does not keep it from its end', async () => {
    await using farm = await HandFarm.open(server);
    await using g = await HandGraph.open(farm.redis, ['A'], { namespace: farm.namespace });
    await g.expand('A', ['x', 'bad']);
    await g.take('x');
    await g.fail('bad', fault('DENIED'));
    await farm.tickets.queue(LANE).drain();
    assert.equal(await stateOf(farm, g.run), 'done');
    assert.ok((await g.left()).includes('a'));
    await farm.worker({ handler: new World({}).handler });
    await until(async () => (await g.left()).join('') === 'emq');
  });

  it('and its ticket was not lost: whoever takes it lets go of the run', async () => {
    await using farm = await HandFarm.open(server);
    await using g = await HandGraph.open(farm.redis, ['A'], { namespace: farm.namespace });
    await g.take('A');
    await g.runs.cancel(g.run);
    assert.ok((await g.left()).includes('a'));
    await farm.worker({ handler: new World({}).handler, times: { sweepMs: 60_000 } });
    await until(async () => (await g.left()).join('') === 'emq');
  });
});

describe('a Redis that was emptied', { timeout: 60_000 }, () => {
  it('tells the producer, and workers go on with new runs', async () => {
    await using own = await TestRedis.start();
    await using farm = await HandFarm.open(own);
    const world = new World({ A: ['slow'], B: ['x'] });
    const [runs, stopped] = [new Flag(), new Flag()];
    world.onVisit('slow', async ({ signal }) => {
      runs.set();
      return untilAborted(signal).finally(() => stopped.set());
    });
    const { handler } = world;
    const first = await farm.worker({ handler });
    const waiting = failureOf(farm.run([rootOf('A')]), 'UPSTREAM');
    await runs.happened;
    await own.command('flushall');
    const { message, hint } = await waiting;
    assert.match(message, /Redis has lost its data/);
    assert.match(hint ?? '', /run the command again/);
    await stopped.happened;
    assert.deepEqual(await farm.run([rootOf('B')]), ['done']);
    await first.close();
    await farm.worker({ handler });
    assert.deepEqual(await farm.run([rootOf('B')]), ['done'], 'also with a worker that comes later');
    assert.equal(await farm.redis.hget(`${farm.keys.tag}:${LANE}:meta`, 'opts.maxLenEvents'), '100');
  });
});
