/** The scripts on the graph of a run, one by one, against a real Redis; the test plays the workers. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Feeder } from '../../src/queue/feeder.ts';
import { Lanes } from '../../src/queue/lanes.ts';
import { keyOf, recordOf } from '../../src/queue/record.ts';
import { add } from '../../src/queue/scripts/add.ts';
import { reroute } from '../../src/queue/scripts/finish.ts';
import type { Hold } from '../../src/queue/graph.ts';
import { feed } from '../../src/queue/scripts/run.ts';
import {
  type Opened,
  childOf,
  fault,
  type GraphOptions,
  HandGraph,
  holdOf,
  LANE,
  openedRedis,
  rootOf,
  SOURCE,
  until,
} from '../support/farm-graph.ts';
import { failureOf, never } from '../support/clients.ts';
import { TestRedis } from '../support/redis.ts';
import { childNode, type Node } from '../../src/flow/handler.ts';

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

const open = (roots: readonly (string | Node)[], options?: GraphOptions): Promise<HandGraph> =>
  HandGraph.open(connection.redis, roots, options);

const names = (count: number, prefix = 'b'): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const pause = fault('NETWORK');
const denied = fault('DENIED');
const broken = fault('IO', 'store');
const ELSEWHERE = 'other.example/app';

/** One call of the script that adds children. */
async function addChunk(
  g: HandGraph,
  hold: Hold,
  children: readonly string[],
  isLast: boolean,
  round = 0,
): Promise<unknown> {
  const nodes = children.map((name) => childNode(rootOf('Root'), childOf(name)));
  const flat = nodes.flatMap((node) => [keyOf(node), recordOf(node, 1)]);
  const { node, lease, owner, fence } = hold;
  return add.run(g.redis, g.keys.run(g.run), [
    node,
    lease,
    owner,
    fence,
    '',
    '[]',
    isLast ? 1 : 0,
    LANE,
    0,
    round,
    '',
    0,
    0,
    ...flat,
  ]);
}

describe('a request', { timeout: 60_000 }, () => {
  it('joins the open run of the same request, and no other', async () => {
    await using g = await open(['A', 'B'], { labels: { target: 'x' } });
    const roots = ['A', 'B'].map((name) => rootOf(name));
    const again = (labels: Record<string, string>, isNew = false): Promise<string> =>
      g.runs.submit(roots, { labels, isNew });
    assert.equal(await again({ target: 'x' }), g.run);
    assert.notEqual(await again({ target: 'y' }), g.run);
    assert.notEqual(await again({ target: 'x' }, true), g.run);
    assert.deepEqual(await g.runs.roots(g.run), roots);
    await g.done('A');
    await g.done('B');
    assert.notEqual(await again({ target: 'x' }), g.run, 'the run has ended');
  });

  it('without roots is done at once, and leaves nothing that stays', async () => {
    await using g = await open([], { keepMs: 60_000 });
    assert.equal((await g.status()).state, 'done');
    assert.deepEqual(await g.left(), ['e', 'm']);
    for (const letter of await g.left()) assert.ok((await g.redis.pttl(g.key(letter))) > 0, letter);
  });

  it('is handed over so many images at a time, each chunk once, by whoever', async () => {
    await using g = await open(names(600, 'R'), { maxOpen: 300 });
    const images = async (): Promise<number[]> => {
      const { fed, open, done } = (await g.status()).images;
      return [fed, open, done];
    };
    assert.deepEqual(await images(), [500, 500, 0]);
    assert.equal(await g.feeder.isHungry(g.run), false);
    for (const name of names(350, 'R')) assert.equal((await g.done(name)).isHungry, false);
    assert.equal((await g.done('R350')).isHungry, true, 'below half of what may be open');
    assert.equal(await g.feeder.isHungry(g.run), true);
    const others = names(5).map((who) => new Feeder(g.redis, g.keys, who));
    await Promise.all(others.map((feeder) => feeder.feed(g.run)));
    assert.deepEqual(await images(), [600, 249, 351]);
    assert.equal((await g.tickets.queue('registry.example').getJobCounts('wait'))['wait'], 600);
  });

  it('a chunk that is fed twice is fed once', async () => {
    await using g = await open([]);
    const root = rootOf('A');
    const run = await g.runs.submit([root]);
    const args = ['0', 0, keyOf(root), recordOf(root, 0)];
    assert.equal(await feed.run(g.redis, g.keys.run(run), args), 0);
    assert.equal(await feed.run(g.redis, g.keys.run(run), args), -1);
    assert.equal(await g.redis.llen(`${g.keys.tag}:registry.example:wait`), 1);
    assert.equal((await g.runs.status(run)).images.open, 1);
  });

  it('two roots of one node, by two ways, are two images', async () => {
    await using g = await open(['A', rootOf('A', ELSEWHERE), 'B']);
    assert.equal((await g.status()).images.open, 3);
    await g.fail('A', broken);
    await g.done('B');
    assert.deepEqual(await g.results(), ['0 failed IO', '1 failed IO', '2 done']);
    assert.deepEqual((await g.status()).images, { total: 3, fed: 3, open: 0, done: 1, failed: 2, cancelled: 0 });
  });

  it('a root that a failed image has left behind starts anew when its chunk is fed', async () => {
    await using g = await open([...names(250, 'R'), 'M'], { maxOpen: 250 });
    await g.expand('R0', ['M', 'bad']);
    const old = await g.id('M');
    await g.fail('bad', broken);
    await g.feeder.feed(g.run);
    assert.notEqual(await g.id('M'), old);
    await g.done('M');
    assert.deepEqual(await g.results(), ['0 failed IO', '250 done']);
    assert.equal((await g.status()).images.open, 249);
  });

  it('a root that has ended already when its chunk is fed ends with it', async () => {
    const roots = [...names(250, 'R'), 'R0', 'R1', 'R2'];
    await using g = await open(roots, { maxOpen: 250 });
    await g.done('R0');
    await g.fail('R1', broken);
    await g.fail('R2', pause);
    await g.feeder.feed(g.run);
    assert.deepEqual((await g.results()).slice(0, 5), [
      '0 done',
      '1 failed IO',
      '2 failed NETWORK',
      '250 done',
      '251 failed IO',
    ]);
    assert.equal(await g.state('R2'), 'wanted', 'what failed for a passing reason starts again');
    assert.equal((await g.status()).images.open, 248);
  });
});

describe('children', { timeout: 60_000 }, () => {
  it('are visited in the order of their parent, before what was there already', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x', 'y', 'z']);
    const ids = await Promise.all(['x', 'y', 'z', 'A', 'B'].map((name) => g.id(name)));
    assert.deepEqual(await g.waiting('visit'), ids);
  });

  it('1,001 in three chunks: ready after the last, however early the first are done', async () => {
    await using g = await open(['A']);
    const hold = await g.take('A');
    const all = names(1001);
    const chunks = [all.slice(0, 500), all.slice(500, 1000), all.slice(1000)];
    for (const [i, chunk] of chunks.entries()) {
      await addChunk(g, hold, [...chunk, 'b0'], i === 2); // the first again: it is done by then
      if (i === 2) break;
      for (const name of chunk) await g.done(name);
      assert.equal(await g.state('A'), 'expanding');
    }
    assert.equal(await g.state('A'), 'waits');
    assert.deepEqual(await g.waiting('settle'), []);
    await g.done('b1000');
    assert.deepEqual(await g.waiting('settle'), [await g.id('A')]);
    assert.equal(await g.state('A'), 'ready');
    assert.deepEqual((await g.status()).nodes, { known: 1002, done: 1001, failed: 0, skipped: 0 });
  });

  it('a second visit, one after another and at the same time, adds nothing', async () => {
    await using g = await open(['A']);
    const hold = await g.take('A');
    const all = names(1001);
    const both = await Promise.all([g.add(hold, all), g.add(hold, all)]);
    const third = await g.add(hold, all);
    assert.ok([...both, third].every(({ state }) => state === 'open'));
    const waiting = await g.waiting('visit');
    assert.equal(waiting.length, 1002);
    assert.equal(new Set(waiting).size, 1002);
    for (const name of all.slice(1)) await g.done(name);
    assert.equal(await g.state('A'), 'waits');
    await g.done('b0');
    assert.deepEqual(await g.waiting('settle'), [await g.id('A')]);
    assert.equal((await g.add(hold, all)).state, 'late');
    assert.equal(await g.state('A'), 'ready');
  });

  it('all of them done already: ready at once', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x', 'y']);
    await g.done('x');
    await g.done('y');
    assert.equal((await g.expand('B', ['y', 'x'])).state, 'ready');
    assert.equal(await g.state('B'), 'ready');
    const settle = await g.begin(await g.ticket('B', 'settle'));
    assert.ok(settle.state === 'go' && settle.phase === 'settle');
    assert.equal(settle.payload, '[]');
    assert.equal(settle.fence, '0', 'no lease: nothing is written');
  });

  it('one that several want is one, and all of them wait for it', async () => {
    await using g = await open(['A', 'B', 'C']);
    for (const name of ['A', 'B', 'C']) await g.expand(name, ['x']);
    assert.deepEqual(await g.waiting('settle'), []);
    await g.done('x');
    assert.deepEqual(
      (await g.waiting('settle')).toSorted(),
      await Promise.all(['A', 'B', 'C'].map((name) => g.id(name))),
    );
    assert.equal((await g.status()).nodes.known, 4);
  });

  it('a root below another root: each is an image of its own', async () => {
    await using g = await open(['Top', 'M', 'N']);
    await g.expand('Top', ['M', 'N', 'x']);
    await g.expand('M', ['y']);
    await g.done('N');
    assert.deepEqual(await g.results(), ['2 done']);
    await g.fail('x', broken);
    assert.deepEqual(await g.results(), ['0 failed IO', '2 done']);
    assert.equal(await g.state('M'), 'waits');
    await g.done('y');
    await g.done('M');
    assert.deepEqual(await g.results(), ['0 failed IO', '1 done', '2 done']);
    assert.equal((await g.status()).state, 'done');
  });

  for (const [what, tree, at] of [
    ['itself', [['A', ['x', 'A']]], 'A'],
    [
      'its parent',
      [
        ['A', ['B']],
        ['B', ['A']],
      ],
      'B',
    ],
    [
      'an ancestor over several levels, by one of two ways',
      [
        ['A', ['B', 'C']],
        ['B', ['D']],
        ['C', ['D']],
        ['D', ['E']],
        ['E', ['x', 'B']],
      ],
      'E',
    ],
  ] as const) {
    it(`a cycle is refused: ${what}`, async () => {
      await using g = await open(['A', 'Other']);
      for (const [name, children] of tree) {
        const added = await g.expand(name, children);
        if (name !== at) continue;
        assert.deepEqual(added, { state: 'cycle', index: children.length - 1 });
        await g.fail(at, fault('MALFORMED'));
      }
      assert.deepEqual(await g.results(), ['0 failed MALFORMED']);
      assert.equal(await g.state('Other'), 'wanted');
      assert.equal((await g.status()).images.failed, 1);
    });
  }

  it('a second way to the same place is no cycle', async () => {
    await using g = await open(['A']);
    await g.expand('A', ['B', 'C']);
    await g.expand('B', ['D']);
    assert.equal((await g.expand('C', ['D', 'B'])).state, 'open');
  });

  it('a shorter way lowers the depth, a longer one does not raise it', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x', 'Y'], { depth: 5 });
    const depthOf = async (name: string): Promise<number> => {
      const begun = await g.begin(await g.ticket(name));
      return begun.state === 'go' ? begun.record.charCodeAt(8) - 48 : assert.fail(begun.state);
    };
    assert.equal(await depthOf('x'), 5);
    await g.expand('B', ['x', 'Y'], { depth: 2 });
    assert.equal(await depthOf('x'), 2);
    await g.expand('Y', ['x'], { depth: 6 });
    assert.equal(await depthOf('x'), 2);
  });
});

describe('failure', { timeout: 60_000 }, () => {
  it('walks up to the images that lead to the node, and no further', async () => {
    await using g = await open(['A', 'B', 'C', 'D']);
    await g.expand('A', ['Mid', 'x']);
    await g.expand('B', ['Mid', 'y']);
    await g.expand('C', ['x', 'y']);
    await g.expand('Mid', ['bad', 'x']);
    await g.fail('bad', denied);
    assert.deepEqual(await g.results(), ['0 failed DENIED', '1 failed DENIED']);
    assert.deepEqual(await Promise.all(['A', 'B', 'Mid', 'bad', 'C', 'D'].map((name) => g.state(name))), [
      'dropped',
      'dropped',
      'dropped',
      'failed',
      'waits',
      'wanted',
    ]);
    await g.done('x');
    assert.deepEqual(await g.waiting('settle'), []);
    await g.done('y');
    assert.deepEqual(await g.waiting('settle'), [await g.id('C')]);
    await g.done('D');
    assert.deepEqual((await g.status()).images, { total: 4, fed: 4, open: 1, done: 1, failed: 2, cancelled: 0 });
  });

  it('counts once, however often it is told', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x']);
    await g.expand('B', ['x', 'y']);
    const hold = await g.take('x');
    assert.ok(await g.giveUp(hold, denied));
    assert.equal(await g.giveUp(hold, denied), undefined, 'the lease is gone');
    assert.ok(await g.giveUp({ ...hold, lease: '' }, denied));
    assert.deepEqual((await g.status()).images, { total: 2, fed: 2, open: 0, done: 0, failed: 2, cancelled: 0 });
    assert.equal((await g.results()).length, 2);
    assert.equal((await g.runs.status(g.run)).nodes.failed, 1);
  });

  it('one for good fails what wants the node later, too', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x']);
    await g.fail('x', broken);
    const added = await g.expand('B', ['y', 'x']);
    assert.ok(added.state === 'broken');
    assert.match(added.error, /IO was ordered/);
    assert.deepEqual(await g.results(), ['0 failed IO', '1 failed IO']);
    assert.equal((await g.status()).state, 'done');
  });

  it('one that may pass is tried again for a further image: three times, then after a rest', async () => {
    await using g = await open(names(7, 'R'));
    for (const name of names(4, 'R')) {
      assert.equal((await g.expand(name, ['x'])).state, 'open', name);
      assert.ok((await g.waiting('visit')).includes(await g.id('x')), name);
      await g.fail('x', pause);
    }
    assert.equal((await g.expand('R4', ['x'])).state, 'broken');
    await backdate(g, 'x', 29_000);
    assert.equal((await g.expand('R5', ['x'])).state, 'broken');
    await backdate(g, 'x', 1_000);
    assert.equal((await g.expand('R6', ['x'])).state, 'open');
    await g.done('x');
    assert.equal((await g.status()).images.failed, 6);
  });

  it('too deep in one image is not too deep by a shorter way', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.expand('A', ['M'], { depth: 8 });
    await g.fail('M', fault('TOO_LARGE'));
    assert.equal((await g.expand('B', ['M'], { depth: 8 })).state, 'broken');
    assert.equal((await g.expand('C', ['M'], { depth: 3 })).state, 'open');
  });

  it('a child of an image that failed is taken over by another under a new id', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['Mid', 'bad']);
    await g.expand('Mid', ['x']);
    const old = { mid: await g.id('Mid'), x: await g.id('x') };
    const inHand = await g.take('x');
    await g.fail('bad', denied);
    await g.expand('B', ['Mid']);
    assert.notEqual(await g.id('Mid'), old.mid);
    await g.expand('Mid', ['x']);
    assert.deepEqual((await g.waiting('visit')).slice(0, 2), [await g.id('x'), await g.id('Mid')]);
    await g.finish(inHand);
    assert.equal(await g.state('Mid'), 'waits', 'what still ran for the old one is not taken for the new one');
    await g.done('x');
    assert.deepEqual(await g.waiting('settle'), [await g.id('Mid')]);
    assert.deepEqual([...(await g.graph.unwanted([old.x, await g.id('Mid')]))], [old.x]);
  });

  it('tries are counted until the end', async () => {
    await using g = await open(['A']);
    await g.expand('A', ['x']);
    for (const tries of [0, 1, 2]) {
      const begun = await g.begin(await g.ticket('x'));
      assert.ok(begun.state === 'go');
      assert.equal(begun.tries, tries);
      await g.graph.release(await g.take('x'), true);
    }
  });
});

/** As if a node had failed so much earlier. */
async function backdate(g: HandGraph, name: string, ms: number): Promise<void> {
  const field = `${await g.id(name)}f`;
  const memory: { at: number } = JSON.parse((await g.redis.hget(g.key('n'), field)) ?? '');
  await g.redis.hset(g.key('n'), field, JSON.stringify({ ...memory, at: memory.at - ms }));
}

describe('another way to the content', { timeout: 60_000 }, () => {
  it('is learnt while the node is open, and taken in the order of learning', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.expand('A', ['x']);
    await g.expand('B', ['x'], { source: ELSEWHERE });
    await g.expand('C', ['x'], { source: 'third.example/app' });
    const x = await g.id('x');
    const ways = await g.graph.waysOf(x);
    assert.deepEqual(
      ways.map((record) => record.includes(ELSEWHERE)),
      [true, false],
    );
    await g.graph.release(await g.take('x'), true);
    const [first = '', ...left] = ways;
    assert.equal(await g.graph.reroute(x, first, left), true);
    const begun = await g.begin(await g.ticket('x'));
    assert.ok(begun.state === 'go');
    assert.equal(begun.record, first);
    assert.equal(begun.tries, 0);
    assert.deepEqual(await g.graph.waysOf(x), left);
    await g.done('x');
    assert.equal(await g.graph.reroute(x, first, left), false, 'it is finished');
    assert.equal(await g.state('x'), 'done');
  });

  it('a node that failed is tried by a way that is new, and by none that it has been tried', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.expand('A', ['x']);
    await g.fail('x', denied);
    assert.equal((await g.expand('B', ['x'])).state, 'broken');
    assert.equal((await g.expand('C', ['x'], { source: ELSEWHERE })).state, 'open');
    assert.equal((await g.status()).images.failed, 2);
  });

  it('what is wrong with a registry is wrong for all its repositories', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.expand('A', ['x']);
    await g.fail('x', fault('TLS'));
    assert.equal((await g.expand('B', ['x'], { source: 'registry.example/other' })).state, 'broken');
    assert.equal((await g.expand('C', ['x'], { source: ELSEWHERE })).state, 'open');
  });

  it('taken in the middle of adding children: none of them is forgotten', async () => {
    await using g = await open(['A']);
    const hold = await g.take('A');
    await addChunk(g, hold, ['x', 'y'], false);
    const other = recordOf(rootOf('A', ELSEWHERE), 0);
    assert.equal(await reroute.run(g.redis, g.keys.run(g.run), [await g.id('A'), other, '']), 1);
    assert.equal((await g.expand('A', ['x', 'y', 'z'])).state, 'open');
    await g.done('z');
    await g.done('x');
    assert.equal(await g.state('A'), 'waits');
    await g.done('y');
    assert.equal(await g.state('A'), 'ready');
  });
});

describe('a lease', { timeout: 60_000 }, () => {
  /** Two runs that want one blob. */
  async function both(): Promise<[HandGraph, HandGraph]> {
    const namespace = `gantry-${randomUUID()}`;
    const [one, two] = [await open(['A'], { namespace }), await open(['B'], { namespace })];
    await one.expand('A', ['x']);
    await two.expand('B', ['x']);
    return [one, two];
  }

  for (const end of ['done', 'fail', 'add', 'release'] as const) {
    it(`keeps the tickets of others away, and they are told when it is given up: ${end}`, async () => {
      const [one, two] = await both();
      await using _one = one;
      await using _two = two;
      const hold = await one.take('x', { worker: 'first' });
      const ticket = await two.ticket('x');
      assert.deepEqual(await two.begin(ticket), { state: 'busy', holder: 'first' });
      assert.deepEqual(await two.begin(ticket), { state: 'busy', holder: 'first' });
      const told = {
        done: async () => (await one.finish(hold))?.parked,
        fail: async () => (await one.giveUp(hold, pause))?.parked,
        add: async () => {
          const added = await one.add(hold, ['y']);
          return added.state === 'open' ? added.parked : undefined;
        },
        release: () => one.graph.release(hold, false),
      };
      assert.deepEqual(await told[end](), [`registry.example ${two.run}.${ticket.node}`]);
      const waited = async (): Promise<number | undefined> => {
        const begun = await two.begin(ticket);
        assert.ok(begun.state === 'go');
        return begun.waitedMs;
      };
      assert.ok(((await waited()) ?? -1) >= 0, 'it was the first to be told that it waits');
      assert.equal(await waited(), undefined, 'that is told once');
    });
  }

  it('is taken again by its own ticket, with a higher fence; the old one changes nothing', async () => {
    await using g = await open(['A']);
    await g.expand('A', ['x', 'y']);
    const zombie = await g.take('x');
    const own = await g.take('x');
    assert.ok(Number(own.fence) > Number(zombie.fence));
    assert.equal(await g.finish(zombie), undefined);
    assert.equal(await g.giveUp(zombie, broken), undefined);
    assert.deepEqual(await g.graph.release(zombie, true), []);
    assert.equal(await g.state('x'), 'wanted');
    assert.deepEqual(await g.graph.inHand(), [await g.id('x')]);
    assert.ok(await g.finish(own));
    assert.equal(await g.finish(own), undefined, 'done twice is done once');
    await g.done('y');
    assert.deepEqual(await g.waiting('settle'), [await g.id('A')]);
    assert.deepEqual((await g.status()).nodes, { known: 3, done: 2, failed: 0, skipped: 0 });
  });

  it('ends by itself, and whoever comes next has the higher fence', async () => {
    const [one, two] = await both();
    await using _one = one;
    await using _two = two;
    const zombie = await one.take('x', { leaseMs: 20 });
    const ticket = await two.ticket('x');
    await until(async () => (await two.begin(ticket)).state === 'go');
    const own = await two.take('x');
    assert.ok(Number(own.fence) > Number(zombie.fence));
    assert.equal(await one.finish(zombie), undefined);
    assert.ok(await two.finish(own));
  });
});

describe('the end', { timeout: 60_000 }, () => {
  it('of a run is known once nobody has anything of it in hand; then only results stay', async () => {
    await using g = await open(['A', 'B'], { keepMs: 60_000 });
    await g.expand('A', ['x', 'y']);
    const slow = await g.take('y');
    await g.fail('x', broken);
    await g.done('B');
    assert.equal((await g.status()).state, 'done');
    const over = follow(g);
    assert.ok((await g.left()).includes('a'), 'somebody still writes');
    assert.ok((await g.finish(slow)) !== undefined);
    assert.deepEqual(await over, ['0 failed', '1 done']);
    assert.deepEqual(await g.left(), ['e', 'm', 'q']);
    for (const letter of await g.left()) {
      const ms = await g.redis.pttl(g.key(letter));
      assert.ok(ms > 50_000 && ms <= 60_000, `${letter} ${ms}`);
    }
    assert.equal(await g.redis.sismember(g.keys.open, g.run), 0);
    assert.deepEqual(await g.redis.keys(`${g.keys.tag}:req:*`), []);
    assert.equal(await g.feeder.isHungry(g.run), false);
    await g.feeder.feed(g.run);
    assert.deepEqual(await g.left(), ['e', 'm', 'q'], 'what comes late brings nothing back');
  });

  it('cancel: once; what is not done is counted as cancelled, tickets have nothing to do', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.done('A');
    const hold = await g.take('B');
    const ticket = await g.ticket('C');
    assert.equal(await g.runs.cancel(g.run), true);
    assert.equal(await g.runs.cancel(g.run), false);
    await failureOf(g.runs.cancel('rnone'), 'NOT_FOUND');
    assert.deepEqual((await g.status()).images, { total: 3, fed: 3, open: 0, done: 1, failed: 0, cancelled: 2 });
    assert.deepEqual([...(await g.graph.unwanted([hold.node]))], [hold.node]);
    assert.equal((await g.begin(ticket)).state, 'gone');
    assert.equal((await g.add(hold, ['x'])).state, 'late');
    assert.ok((await g.left()).includes('a'));
    const over = follow(g);
    assert.ok(await g.finish(hold));
    assert.deepEqual(await over, ['0 done']);
    assert.deepEqual(await g.left(), ['e', 'm', 'q']);
    assert.ok((await g.redis.pttl(g.key('e'))) > 0);
    assert.equal((await g.status()).images.cancelled, 2);
  });

  it('cancelled before anything ended: what stays of it ends, too', async () => {
    await using g = await open(['A'], { keepMs: 60_000 });
    await g.runs.cancel(g.run);
    assert.deepEqual(await follow(g), []);
    for (const letter of await g.left()) assert.ok((await g.redis.pttl(g.key(letter))) > 0, letter);
  });

  it('a ticket for what has ended has nothing to do', async () => {
    await using g = await open(['A', 'B', 'C']);
    await g.expand('A', ['x', 'bad']);
    await g.expand('B', ['y']);
    assert.equal((await g.begin(await g.ticket('B', 'settle'))).state, 'stale');
    assert.equal((await g.begin(await g.ticket('B'))).state, 'stale');
    await g.fail('bad', broken);
    assert.equal((await g.begin(await g.ticket('x'))).state, 'dead');
    assert.equal((await g.begin(await g.ticket('x'))).state, 'stale');
    await g.done('y');
    assert.equal((await g.begin(await g.ticket('y'))).state, 'stale');
    const late = await g.begin(await g.ticket('B'));
    assert.ok(late.state === 'go' && late.phase === 'settle', 'an old visit ticket settles what is ready');
  });
});

/** Results up to the end of the run. */
async function follow(g: HandGraph): Promise<string[]> {
  const found: string[] = [];
  for await (const { index, state } of g.runs.follow(g.run)) found.push(`${index} ${state}`);
  return found.toSorted();
}

describe('a sweep', { timeout: 60_000 }, () => {
  it('brings back the tickets that were lost, slice by slice, and no others', async () => {
    await using g = await open(['A', 'B', 'C', 'D']);
    await g.expand('A', ['x', 'bad']);
    await g.expand('B', ['y']);
    await g.done('y');
    await g.done('C');
    await g.fail('bad', broken);
    await g.tickets.queue('registry.example').drain();
    assert.deepEqual(await g.waiting('visit'), []);
    const slices: number[] = [];
    for (let next = 1; next !== 0; slices.push(next)) next = await g.graph.sweep(next, 2);
    assert.deepEqual(slices, [3, 5, 7, 0]);
    for (let next = 1; next !== 0;) next = await g.graph.sweep(next, 3);
    assert.deepEqual(await g.waiting('settle'), [await g.id('B')]);
    assert.deepEqual(await g.waiting('visit'), [await g.id('D')]);
    assert.equal(await g.state('x'), 'dropped');
  });
});

/** A settle in hand: nothing is held with it. */
async function settling(g: HandGraph, name: string): Promise<{ hold: Hold; payload: string; round: number }> {
  const ticket = await g.ticket(name, 'settle');
  const begun = await g.begin(ticket);
  assert.ok(begun.state === 'go' && begun.phase === 'settle', `${name}: ${begun.state}`);
  return { hold: holdOf(ticket, rootOf(name), begun.fence), payload: begun.payload, round: begun.round };
}

/** The ids of all tickets of a lane that wait, without the run. */
async function ticketsOf(g: HandGraph, lane = LANE): Promise<string[]> {
  const jobs = await g.tickets.queue(lane).getWaiting();
  return jobs.map(({ id = '' }) => id.slice(g.run.length + 1));
}

describe('children that settle adds', { timeout: 60_000 }, () => {
  /** A manifest that is ready, with one child done. */
  async function ready(): Promise<HandGraph> {
    const g = await open(['A']);
    await g.expand('A', ['x'], { payload: 'left' });
    await g.done('x');
    return g;
  }

  it('are waited for, and it settles again with a ticket of its own', async () => {
    await using g = await ready();
    const first = await settling(g, 'A');
    assert.deepEqual([first.payload, first.round], ['left', 0]);
    assert.equal((await g.add(first.hold, ['y', 'z'], { round: 1, payload: 'more' })).state, 'open');
    assert.equal(await g.state('A'), 'waits');
    await g.done('y');
    assert.deepEqual(
      (await ticketsOf(g)).filter((id) => id.startsWith('1.')),
      ['1.p'],
    ); // nobody has taken it from the queue
    await g.done('z');
    assert.deepEqual((await ticketsOf(g)).filter((id) => id.startsWith('1.')).toSorted(), ['1.p', '1.p1']);
    const second = await settling(g, 'A');
    assert.deepEqual([second.payload, second.round], ['more', 1]);
    await g.finish(second.hold, 0);
    assert.deepEqual(await g.results(), ['0 done']);
  });

  it('that are done already make it ready at once', async () => {
    await using g = await ready();
    const { hold } = await settling(g, 'A');
    assert.equal((await g.add(hold, ['x'], { round: 1, payload: 'more' })).state, 'ready');
    assert.deepEqual((await settling(g, 'A')).round, 1);
  });

  it('are added once by two who settle at the same time; what comes late changes nothing', async () => {
    await using g = await ready();
    const { hold } = await settling(g, 'A');
    const all = names(1001);
    const both = await Promise.all([1, 1].map((round) => g.add(hold, all, { round, payload: 'more' })));
    assert.deepEqual(
      both.map(({ state }) => state),
      ['open', 'open'],
    );
    for (const round of [0, 2]) assert.equal((await g.add(hold, ['x'], { round })).state, 'late', `round ${round}`);
    assert.equal(await g.state('A'), 'waits');
    for (const name of all.slice(1)) await g.done(name);
    assert.equal(await g.state('A'), 'waits');
    await g.done('b0');
    assert.equal(await g.state('A'), 'ready');
    for (const round of [0, 1]) assert.equal((await g.add(hold, ['x'], { round })).state, 'late', `round ${round}`);
    const { round, payload } = await settling(g, 'A');
    assert.deepEqual([round, payload], [1, 'more']);
  });

  it('by one who dies in the middle: the settle is done again, and finds what it found', async () => {
    await using g = await ready();
    const { hold } = await settling(g, 'A');
    await addChunk(g, hold, ['y', 'z'], false, 1);
    assert.equal(await g.state('A'), 'expanding');
    await g.done('y');
    await g.tickets.queue(LANE).obliterate();
    for (let next = 1; next !== 0;) next = await g.graph.sweep(next, 100);
    assert.deepEqual((await ticketsOf(g)).toSorted(), ['1.p', await g.id('z')].toSorted());
    for (const phase of ['settle', 'visit'] as const) {
      const begun = await g.begin(await g.ticket('A', phase));
      assert.ok(begun.state === 'go' && begun.phase === 'settle', 'whichever ticket comes');
      assert.deepEqual([begun.payload, begun.round, begun.fence], ['left', 0, '0']);
    }
    assert.equal((await g.add(hold, ['y', 'z', 'w'], { round: 1, payload: 'more' })).state, 'open');
    await g.done('w');
    assert.equal(await g.state('A'), 'waits');
    await g.done('z');
    assert.deepEqual((await settling(g, 'A')).payload, 'more');
  });

  it('another way is taken in the middle of adding them: it is visited there, and none is forgotten', async () => {
    await using g = await ready();
    const { hold } = await settling(g, 'A');
    await addChunk(g, hold, ['y'], false, 1);
    const other = recordOf(rootOf('A', ELSEWHERE), 0);
    assert.equal(await reroute.run(g.redis, g.keys.run(g.run), [await g.id('A'), other, '']), 1);
    assert.equal((await g.expand('A', ['x', 'z'])).state, 'open');
    await g.done('z');
    assert.equal(await g.state('A'), 'waits');
    await g.done('y');
    assert.deepEqual((await settling(g, 'A')).round, 0);
  });

  it('one of them that fails fails the image', async () => {
    await using g = await ready();
    const { hold } = await settling(g, 'A');
    await g.add(hold, ['y'], { round: 1 });
    await g.fail('y', broken);
    assert.deepEqual(await g.results(), ['0 failed IO']);
    assert.equal((await g.status()).state, 'done');
  });

  it('a cycle is refused there, too', async () => {
    await using g = await open(['Top']);
    await g.expand('Top', ['A', 'x']);
    await g.expand('A', ['y']);
    await g.done('y');
    const { hold } = await settling(g, 'A');
    assert.deepEqual(await g.add(hold, ['z', 'Top'], { round: 1 }), { state: 'cycle', index: 1 });
  });
});

describe('what goes to a repository', { timeout: 60_000 }, () => {
  const TARGET = 'target.example/app';
  const PLACE = 'target.example';

  it('is visited in the lane of its source and settled in that of its target, which workers know from the start', async () => {
    await using g = await open(['A', 'B'], { target: TARGET });
    assert.deepEqual((await g.redis.smembers(g.keys.lanes)).toSorted(), [LANE, PLACE]);
    await g.expand('A', ['x']);
    assert.deepEqual(await ticketsOf(g), [await g.id('x'), '1', '2']);
    await g.done('x');
    assert.deepEqual(await g.waiting('settle'), []);
    assert.deepEqual(await ticketsOf(g, PLACE), ['1.p']);
    assert.deepEqual(await g.expand('B', ['x'], { settleLane: PLACE }), { state: 'open', parked: [] });
    assert.deepEqual((await ticketsOf(g, PLACE)).toSorted(), ['1.p', '2.p'], 'also what is ready at once');
    await g.tickets.queue(PLACE).obliterate();
    for (let next = 1; next !== 0;) next = await g.graph.sweep(next, 100);
    assert.deepEqual((await ticketsOf(g, PLACE)).toSorted(), ['1.p', '2.p']);
    assert.deepEqual(await g.waiting('settle'), []);
  });

  it('has children that are read elsewhere: each gets its ticket in its own lane, which workers are told of', async () => {
    await using g = await open(['A'], { target: TARGET });
    const hold = await g.take('A');
    const nodes = [
      childNode(rootOf('A', SOURCE, TARGET), childOf('x')),
      childNode(rootOf('A', ELSEWHERE, 'third.example/app'), childOf('M')),
    ];
    const none = { bytes: 0, mounted: 0 };
    const how = { resolved: '', payload: '[]', lane: '', watched: false, round: 0, settleLane: PLACE, moved: none };
    await g.graph.add(
      hold,
      how,
      nodes.map((node) => [keyOf(node), recordOf(node, 1)]),
    );
    assert.deepEqual(await ticketsOf(g), ['2', '1']);
    assert.deepEqual(await ticketsOf(g, 'other.example'), ['3']);
    const lanes = ['other.example', LANE, PLACE, 'third.example'].toSorted();
    assert.deepEqual((await g.redis.smembers(g.keys.lanes)).toSorted(), lanes);
    for (let next = 1; next !== 0;) next = await g.graph.sweep(next, 100);
    assert.deepEqual(await ticketsOf(g, 'other.example'), ['3']);
  });

  it('waits while its registry wants to be left alone or is paused, without being taken for lost', async () => {
    await using g = await open(['A'], { target: TARGET });
    await g.expand('A', ['x']);
    const lanes = new Lanes(g.redis, g.keys, g.tickets);
    await lanes.block(PLACE, 20_000, '429');
    const ticket = await g.ticket('x');
    const begun = await g.begin(ticket);
    assert.ok(begun.state === 'blocked' && begun.afterMs > 10_000 && begun.afterMs <= 20_000);
    assert.deepEqual(await g.graph.inHand(), []);
    await g.redis.hset(g.keys.lane(PLACE), 'till', Date.now() - 1);
    await lanes.pause(PLACE);
    assert.deepEqual(await g.begin(ticket), { state: 'blocked', afterMs: 5_000 });
    await lanes.resume(PLACE);
    assert.equal((await g.begin(ticket)).state, 'go');
  });

  it('a blob is leased for the whole registry, an upload and a manifest for their repository', async () => {
    const namespace = `gantry-${randomUUID()}`;
    const runs = await Promise.all(
      [TARGET, `${PLACE}/other`, 'elsewhere.example/app'].map((target) => open(['A'], { namespace, target })),
    );
    const states: string[] = [];
    for (const g of runs) {
      await g.expand('A', ['x', 'M']);
      for (const name of ['x', 'M']) states.push((await g.begin(await g.ticket(name))).state);
    }
    assert.deepEqual(states, ['go', 'go', 'busy', 'go', 'go', 'go']);
    for (const g of runs) await g[Symbol.asyncDispose]();
  });

  it('one that may not be written hurts no other repository, and stays closed itself', async () => {
    await using g = await open(['A', 'B', 'C'], { target: TARGET });
    await g.expand('A', ['x']);
    await g.fail('x', fault('DENIED', 'target'));
    assert.equal((await g.expand('B', ['x'], { source: ELSEWHERE })).state, 'broken');
    assert.equal((await g.expand('C', ['x'], { target: `${PLACE}/other` })).state, 'open');
  });

  it('a fault of it that no repository mends is not tried at another', async () => {
    await using g = await open(['A', 'B'], { target: TARGET });
    await g.expand('A', ['x']);
    await g.fail('x', fault('TOO_LARGE', 'target'));
    assert.equal((await g.expand('B', ['x'], { target: `${PLACE}/other` })).state, 'broken');
  });

  it('archives are refused: no other machine has them', async () => {
    for (const [source, target] of [
      [SOURCE, 'oci:/tmp/images'],
      ['docker-archive:/tmp/images.tar', TARGET],
    ] as const) {
      const err = await failureOf(open([rootOf('A', source, target)]), 'USAGE');
      assert.match(err.message, /archive/);
    }
  });
});

describe('what images have cost', { timeout: 60_000 }, () => {
  const costs = async (g: HandGraph): Promise<unknown[]> => {
    const found = await Array.fromAsync(g.runs.results(g.run, { signal: never }));
    return found.map(({ index, bytes, mounted, isEqual }) => [index, bytes, mounted, isEqual]);
  };

  it('is summed up over all levels; what they share is counted for the first that waits for it', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['Mid'], { moved: { bytes: 1, mounted: 0 } });
    await g.expand('B', ['Mid', 'y']);
    await g.expand('Mid', ['x'], { moved: { bytes: 10, mounted: 2 } });
    await g.finish(await g.take('x'), 100, 1);
    const { hold } = await settling(g, 'Mid');
    await g.finish(hold, 1_000);
    await g.finish(await g.take('y'), 0);
    await g.finish((await settling(g, 'A')).hold, 10_000);
    await g.finish((await settling(g, 'B')).hold, 0);
    assert.deepEqual(await costs(g), [
      [0, 11_111, 3, false],
      [1, 0, 0, false],
    ]);
    assert.equal((await g.runs.status(g.run)).bytes, 11_111);
  });

  it('goes to another where the first has failed', async () => {
    await using g = await open(['A', 'B']);
    await g.expand('A', ['x', 'bad']);
    await g.expand('B', ['x']);
    await g.fail('bad', broken);
    await g.finish(await g.take('x'), 100);
    await g.finish((await settling(g, 'B')).hold, 0);
    assert.deepEqual(await costs(g), [
      [0, 0, 0, false],
      [1, 100, 0, false],
    ]);
  });

  it('and whether the target had it, and for how long it went on', async () => {
    await using g = await open(['A']);
    const hold = await g.take('A');
    await sleep(30); // it is what is measured
    const desc = childOf('A').desc;
    await g.graph.done(hold, { bytes: 0, mounted: 0, skipped: '', resolved: `=${JSON.stringify(desc)}` });
    const [ended] = await Array.fromAsync(g.runs.results(g.run, { signal: never }));
    assert.deepEqual([ended?.isEqual, ended?.desc], [true, desc]);
    assert.ok((ended?.tookMs ?? 0) >= 25, `${ended?.tookMs} ms`);
  });
});
