/** What every dispatcher promises, whether it runs in one process or on many machines. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { GantryError } from '../../src/errors.ts';
import type { DispatchEvent, Dispatcher, RunResult } from '../../src/flow/dispatcher.ts';
import type { Child, Handler, HandlerContext, Node, Settled } from '../../src/flow/handler.ts';
import type { GraphLimits } from '../../src/flow/step.ts';
import { Flag, LEAF, untilAborted, World } from './dispatcher-world.ts';

export interface DispatcherOptions {
  /** Calls of the handler that may go on at the same time, in all. */
  readonly concurrency: number;
  readonly limits?: GraphLimits;
}

/** Opens a dispatcher that runs this very handler: it keeps its state in the memory of the test. */
export type OpenDispatcher = (
  handler: Handler,
  options: DispatcherOptions,
) => Promise<{ readonly dispatcher: Dispatcher } & AsyncDisposable>;

interface RunOptions extends Partial<DispatcherOptions> {
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: DispatchEvent) => void;
}

type RunWorld = (world: World, roots: readonly Node[], options?: RunOptions) => Promise<RunResult>;

export function dispatcherContract(name: string, open: OpenDispatcher): void {
  const run: RunWorld = async (world, roots, options = {}) => {
    const { concurrency = 8, limits, signal = new AbortController().signal, onEvent } = options;
    await using opened = await open(world.handler, { concurrency, ...(limits === undefined ? {} : { limits }) });
    const result = await opened.dispatcher.dispatch(
      { id: randomUUID(), roots },
      { signal, ...(onEvent === undefined ? {} : { onEvent }) },
    );
    assert.equal(world.running, 0, 'nothing runs when a dispatch has resolved');
    return result;
  };
  const promise = (sentence: string, body: () => Promise<void>): void => {
    test(`${name}: ${sentence}`, { timeout: 60_000 }, body);
  };
  orderOfNodes(promise, run);
  answers(promise, run);
  failures(promise, run);
  sharing(promise, run);
  sources(promise, run);
  aborting(promise, run);
  bounds(promise, run);
  telling(promise, run);
  addedBySettle(promise, run);
  repositories(promise, run);
  sums(promise, run);
}

type Say = (sentence: string, body: () => Promise<void>) => void;

const states = (result: RunResult): string[] => result.images.map(({ state }) => state);

const fault = (
  code: 'NOT_FOUND' | 'NETWORK' | 'DENIED',
  origin: 'source' | 'store' | 'target' = 'source',
): GantryError => new GantryError(code, `${code} was ordered`, { origin });

/** Resolves when the image of a root has ended. */
const whenEnded =
  (root: string, flag: Flag, world: World) =>
  (event: DispatchEvent): void => {
    if (event.kind === 'image' && world.nameOf(event.result.root) === root) flag.set();
  };

function orderOfNodes(promise: Say, run: RunWorld): void {
  promise('a node settles after all that is below it, and leaves settle as well', async () => {
    const tree = { top: ['left', 'right'], left: ['a', 'b'], right: ['c'] };
    const world = new World(tree);
    assert.deepEqual(states(await run(world, [world.root('top')])), ['done']);
    assert.deepEqual(world.settled.toSorted(), ['a', 'b', 'c', 'left', 'right', 'top']);
    for (const [parent, children] of Object.entries(tree)) {
      for (const child of children) {
        assert.ok(world.settled.indexOf(child) < world.settled.indexOf(parent), `${child} before ${parent}`);
        assert.ok(world.visited.indexOf(parent) < world.visited.indexOf(child), `${parent} is visited before ${child}`);
      }
    }
  });

  promise('what many images share is visited and settled once', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `image-${i}`);
    const tree = Object.fromEntries(names.map((name, i) => [name, ['base', 'config', 'nested', `own-${i}`]]));
    const world = new World({ ...tree, nested: ['base', 'deep'] });
    const result = await run(
      world,
      names.map((name) => world.root(name)),
    );
    assert.ok(result.images.every(({ state }) => state === 'done'));
    const all = [...names, ...names.map((_, i) => `own-${i}`), 'base', 'config', 'deep', 'nested'].toSorted();
    assert.deepEqual(world.visited.toSorted(), all);
    assert.deepEqual(world.settled.toSorted(), all);
  });

  promise('a child that is listed twice is one child', async () => {
    const world = new World({ top: ['a', 'a', 'b', 'a'] });
    assert.deepEqual(states(await run(world, [world.root('top')])), ['done']);
    assert.deepEqual(world.visited.toSorted(), ['a', 'b', 'top']);
    assert.deepEqual(world.settled.at(-1), 'top');
    assert.equal(world.settled.length, 3);
  });

  promise('results stand in the order of the roots', async () => {
    const world = new World({});
    const last = new Flag();
    world.onVisit('a', () => last.happened);
    world.onVisit('c', () => (last.set(), undefined));
    const roots = ['a', 'b', 'c'].map((name) => world.image(name));
    const result = await run(world, roots);
    assert.deepEqual(
      result.images.map(({ root }) => root),
      roots,
    );
  });

  promise('roots of the same node are handled once and reported each', async () => {
    const world = new World({ m: ['a'], n: ['bad'] }).onVisit('bad', () => Promise.reject(fault('DENIED')));
    const result = await run(
      world,
      ['m', 'n', 'm', 'n'].map((name) => world.root(name)),
    );
    assert.deepEqual(states(result), ['done', 'failed', 'done', 'failed']);
    assert.deepEqual(world.visited.toSorted(), ['a', 'bad', 'm', 'n']);
  });

  promise('a root may stand below another root', async () => {
    const world = new World({ top: ['m', 'n'], m: ['a'], n: ['b'] });
    const result = await run(
      world,
      ['m', 'top', 'n'].map((name) => world.root(name)),
    );
    assert.deepEqual(states(result), ['done', 'done', 'done']);
    assert.equal(world.visited.length, 5);
    assert.equal(world.settled.at(-1), 'top');
  });

  promise('a run without roots is done', async () => {
    assert.deepEqual(await run(new World({}), []), { images: [] });
  });
}

function answers(promise: Say, run: RunWorld): void {
  promise('skip: not descended, not settled; siblings go on and the parent settles', async () => {
    const world = new World({ top: ['skipped', 'a'], skipped: ['never'] });
    world.onVisit('skipped', () => ({ kind: 'skip', reason: 'not wanted' }));
    assert.deepEqual(states(await run(world, [world.root('top')])), ['done']);
    assert.deepEqual(world.visited.toSorted(), ['a', 'skipped', 'top']);
    assert.deepEqual(world.settled, ['a', 'top']);
  });

  promise('skip of a root: its image is done, and the result says why', async () => {
    const world = new World({}).onVisit('i', () => ({ kind: 'skip', reason: 'up to date' }));
    const result = await run(world, [world.image('i'), world.image('j')]);
    assert.deepEqual(states(result), ['done', 'done']);
    assert.deepEqual(
      result.images.map(({ skipped }) => skipped),
      ['up to date', undefined],
    );
    assert.deepEqual(world.settled, ['j']);
  });

  promise('later: visited again with a higher attempt, and holds no slot meanwhile', async () => {
    const world = new World({ top: ['busy', 'other'] });
    const attempts: number[] = [];
    world.onVisit('busy', ({ attempt }) => {
      attempts.push(attempt);
      const go = world.settled.includes('other') && attempts.length > 2;
      return go ? LEAF : { kind: 'later', afterMs: 1, reason: 'somebody else writes it' };
    });
    assert.deepEqual(states(await run(world, [world.root('top')], { concurrency: 1 })), ['done']);
    assert.deepEqual(
      attempts,
      attempts.map((_, i) => i),
    );
    assert.deepEqual(world.settled, ['other', 'busy', 'top']);
  });

  promise('a manifest without children settles', async () => {
    const world = new World({ top: ['hollow'], hollow: [] });
    assert.deepEqual(states(await run(world, [world.root('top')])), ['done']);
    assert.deepEqual(world.settled, ['hollow', 'top']);
  });

  promise('settle is told the children that the visit answered', async () => {
    const world = new World({ top: ['b', 'a'] });
    const told: string[][] = [];
    world.onSettle('top', async ({ children }) => {
      told.push(children.map(({ kind, desc }) => `${kind} ${desc.digest}`));
    });
    await run(world, [world.root('top')]);
    assert.deepEqual(told, [['b', 'a'].map((name) => `blob ${world.desc(name).digest}`)]);
  });
}

function failures(promise: Say, run: RunWorld): void {
  promise('code, origin, digest and message of an error are kept', async () => {
    const world = new World({ top: ['bad'] });
    const { digest } = world.desc('bad');
    world.onVisit('bad', () => {
      throw new GantryError('DIGEST_MISMATCH', 'other bytes', { origin: 'source', digest, host: 'registry.example' });
    });
    const { images } = await run(world, [world.root('top')]);
    const { state, error } = images[0] ?? assert.fail();
    assert.equal(state, 'failed');
    assert.deepEqual(
      [error?.code, error?.origin, error?.digest, error?.message, error?.host],
      ['DIGEST_MISMATCH', 'source', digest, 'other bytes', 'registry.example'],
    );
    assert.deepEqual(world.settled, []);
  });

  promise('what is not an error of ours is a defect', async () => {
    const world = new World({}).onVisit('i', () => Promise.reject(new TypeError('undefined is not a function')));
    const { images } = await run(world, [world.image('i')]);
    assert.deepEqual([images[0]?.state, images[0]?.error?.code], ['failed', 'INTERNAL']);
  });

  promise('a failing settle fails the image', async () => {
    const world = new World({ top: ['a'] }).onSettle('top', () => Promise.reject(fault('DENIED', 'store')));
    const { images } = await run(world, [world.root('top')]);
    assert.deepEqual([images[0]?.state, images[0]?.error?.code], ['failed', 'DENIED']);
  });

  promise('the first error of an image cancels its siblings, and no other image', async () => {
    const world = new World({ one: ['bad', 'slow'], two: ['own'] });
    const [slowRuns, slowStopped] = [new Flag(), new Flag()];
    let other: AbortSignal | undefined;
    world.onVisit('bad', async () => {
      await slowRuns.happened;
      throw fault('DENIED', 'store');
    });
    world.onVisit('slow', async ({ signal }) => {
      slowRuns.set();
      await untilAborted(signal).finally(() => slowStopped.set());
      return undefined;
    });
    world.onVisit('own', async ({ signal }) => {
      other = signal;
      await slowStopped.happened;
      return LEAF;
    });
    const result = await run(world, [world.root('one'), world.root('two')]);
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.equal(result.images[0]?.error?.code, 'DENIED');
    assert.equal(other?.aborted, false);
    assert.deepEqual(world.settled, ['own', 'two']);
  });

  promise('what an image that failed has not started is never started', async () => {
    const rest = Array.from({ length: 100 }, (_, i) => `rest-${i}`);
    const world = new World({ top: ['bad', ...rest], next: ['a'] });
    // Where the first of the siblings is not the one that fails, few come before it.
    for (const name of ['bad', ...rest]) world.onVisit(name, () => Promise.reject(fault('DENIED', 'store')));
    const result = await run(world, [world.root('top'), world.root('next')], { concurrency: 1 });
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.equal(world.visited.filter((name) => name === 'bad' || name.startsWith('rest')).length, 1);
  });
}

function sharing(promise: Say, run: RunWorld): void {
  promise('a node goes on that a failing and a healthy image share', async () => {
    const world = new World({ sick: ['shared', 'bad'], well: ['shared', 'mark'] });
    const [bothWant, sickEnded] = [new Flag(), new Flag()];
    let shared: AbortSignal | undefined;
    world.onVisit('shared', async ({ signal }) => {
      shared = signal;
      await sickEnded.happened;
      return LEAF;
    });
    world.onVisit('mark', () => (bothWant.set(), undefined));
    world.onVisit('bad', async () => {
      await bothWant.happened;
      throw fault('DENIED', 'store');
    });
    const onEvent = whenEnded('sick', sickEnded, world);
    const result = await run(world, [world.root('sick'), world.root('well')], { onEvent });
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.equal(shared?.aborted, false);
    assert.equal(world.visited.filter((name) => name === 'shared').length, 1);
    assert.ok(!world.settled.includes('sick'));
  });

  promise('a shared node that fails fails all images with it, and only those', async () => {
    const world = new World({ a: ['mid'], b: ['mid'], c: ['own'], mid: ['bad', 'x'] });
    world.onVisit('bad', () => Promise.reject(fault('DENIED', 'store')));
    const result = await run(
      world,
      ['a', 'b', 'c'].map((name) => world.root(name)),
    );
    assert.deepEqual(states(result), ['failed', 'failed', 'done']);
    assert.deepEqual(
      result.images.map(({ error }) => error?.code),
      ['DENIED', 'DENIED', undefined],
    );
    assert.equal(world.visited.filter((name) => name === 'bad').length, 1);
  });

  promise('a node that a failed image has left behind is taken up by the next image', async () => {
    const world = new World({ sick: ['mid', 'bad'], well: ['mid'], mid: ['quick', 'slow'] });
    const [slowRuns, quickDone, sickEnded] = [new Flag(), new Flag(), new Flag()];
    let starts = 0;
    world.onVisit('slow', async ({ signal }) => {
      starts += 1;
      slowRuns.set();
      return starts === 1 ? untilAborted(signal) : LEAF;
    });
    world.onVisit('bad', async () => {
      await Promise.all([slowRuns.happened, quickDone.happened]);
      throw fault('DENIED', 'store');
    });
    world.onVisit('well', () => sickEnded.happened);
    const ended = whenEnded('sick', sickEnded, world);
    const onEvent = (event: DispatchEvent): void => {
      if (event.kind === 'done' && world.nameOf(event.node) === 'quick') quickDone.set();
      ended(event);
    };
    const result = await run(world, [world.root('sick'), world.root('well')], { onEvent });
    assert.deepEqual(states(result), ['failed', 'done']);
    // `mid` may have been visited twice, with the same answer: each settles once all the same.
    assert.deepEqual(world.settled.toSorted(), ['mid', 'quick', 'slow', 'well']);
    assert.deepEqual(world.settled.slice(-2), ['mid', 'well']);
  });

  promise('a node that is being stopped starts again for an image which comes to want it meanwhile', async () => {
    const world = new World({ sick: ['slow', 'bad'], well: ['slow', 'mark'] });
    const [slowRuns, stopped, wanted] = [new Flag(), new Flag(), new Flag()];
    let starts = 0;
    world.onVisit('slow', async ({ signal }) => {
      starts += 1;
      if (starts > 1) return LEAF;
      slowRuns.set();
      await untilAborted(signal).catch(() => stopped.set());
      await wanted.happened;
      throw fault('NETWORK');
    });
    world.onVisit('bad', async () => {
      await slowRuns.happened;
      throw fault('DENIED', 'store');
    });
    world.onVisit('well', () => stopped.happened);
    world.onVisit('mark', () => (wanted.set(), undefined));
    const result = await run(world, [world.root('sick'), world.root('well')]);
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.equal(starts, 2);
    assert.equal(world.settled.filter((name) => name === 'slow').length, 1);
  });

  promise('a settle that was stopped does not count, even if it ends without an error', async () => {
    const world = new World({ sick: ['slow', 'bad'], well: ['slow'] });
    const [slowRuns, stopped] = [new Flag(), new Flag()];
    let settles = 0;
    world.onSettle('slow', async ({ signal }) => {
      settles += 1;
      if (settles > 1) return;
      slowRuns.set();
      await untilAborted(signal).catch(() => stopped.set());
    });
    world.onVisit('bad', async () => {
      await slowRuns.happened;
      throw fault('DENIED', 'store');
    });
    world.onVisit('well', () => stopped.happened);
    assert.deepEqual(states(await run(world, [world.root('sick'), world.root('well')])), ['failed', 'done']);
    assert.equal(settles, 2);
  });

  promise('a child that has failed for good fails an image that comes to want it, without another visit', async () => {
    const world = new World({ first: ['bad'], second: ['bad', 'never'] });
    const firstEnded = new Flag();
    world.onVisit('bad', () => Promise.reject(fault('DENIED', 'store')));
    world.onVisit('second', () => firstEnded.happened);
    const onEvent = whenEnded('first', firstEnded, world);
    const result = await run(world, [world.root('first'), world.root('second')], { onEvent });
    assert.deepEqual(states(result), ['failed', 'failed']);
    assert.deepEqual(world.visited.toSorted(), ['bad', 'first', 'second']);
    assert.equal(result.images[1]?.error?.code, 'DENIED');
  });

  promise(
    'a child that has failed for a passing reason is tried again for an image that comes to want it',
    async () => {
      const world = new World({ first: ['flaky'], second: ['flaky'] });
      const firstEnded = new Flag();
      world.onVisit('flaky', () => {
        if (world.visited.filter((name) => name === 'flaky').length === 1) throw fault('NETWORK');
        return LEAF;
      });
      world.onVisit('second', () => firstEnded.happened);
      const onEvent = whenEnded('first', firstEnded, world);
      const result = await run(world, [world.root('first'), world.root('second')], { onEvent });
      assert.deepEqual(states(result), ['failed', 'done']);
    },
  );
}

function sources(promise: Say, run: RunWorld): void {
  for (const [code, firstHost] of [
    ['NOT_FOUND', 'one.example'],
    ['NETWORK', 'dead.example'],
  ] as const) {
    promise(`${code} at the repository of one image: found at that of another which wants it, too`, async () => {
      const world = new World({ first: ['shared'], second: ['shared', 'mark'] });
      const [asked, bothWant] = [new Flag(), new Flag()];
      const from: string[] = [];
      world.onVisit('shared', async (_ctx, { source }) => {
        from.push(source);
        asked.set();
        await bothWant.happened;
        if (source.startsWith(firstHost)) throw fault(code);
        return LEAF;
      });
      world.onVisit('second', () => asked.happened);
      world.onVisit('mark', () => (bothWant.set(), undefined));
      const result = await run(world, [world.root('first', `${firstHost}/a`), world.root('second', 'one.other/b')]);
      assert.deepEqual(states(result), ['done', 'done']);
      assert.deepEqual(from, [`${firstHost}/a`, 'one.other/b']);
    });
  }

  promise('roots of the same content: what one repository does not have is read from the other', async () => {
    const world = new World({ top: ['a'] });
    world.onVisit('top', (_ctx, { source }) => {
      if (source === 'one.example/a') throw fault('NOT_FOUND');
      return undefined;
    });
    const roots = [world.root('top', 'one.example/a'), world.root('top', 'one.example/b')];
    const result = await run(world, roots);
    assert.deepEqual(states(result), ['done', 'done']);
    assert.deepEqual(
      result.images.map(({ root }) => root),
      roots,
    );
  });

  promise('an image that comes after NOT_FOUND elsewhere asks its own repository', async () => {
    const world = new World({ first: ['shared'], second: ['shared'] });
    const firstEnded = new Flag();
    world.onVisit('shared', (_ctx, { source }) => {
      if (source === 'one.example/a') throw fault('NOT_FOUND');
      return LEAF;
    });
    world.onVisit('second', () => firstEnded.happened);
    const roots = [world.root('first', 'one.example/a'), world.root('second', 'one.example/b')];
    const result = await run(world, roots, { onEvent: whenEnded('first', firstEnded, world) });
    assert.deepEqual(states(result), ['failed', 'done']);
  });

  promise('a fault of the store is not taken to another repository', async () => {
    const world = new World({ first: ['shared'], second: ['shared', 'mark'] });
    const [asked, bothWant] = [new Flag(), new Flag()];
    world.onVisit('shared', async () => {
      asked.set();
      await bothWant.happened;
      throw new GantryError('NO_SPACE', 'the disk is full', { origin: 'store' });
    });
    world.onVisit('second', () => asked.happened);
    world.onVisit('mark', () => (bothWant.set(), undefined));
    const result = await run(world, [world.root('first', 'a.example/a'), world.root('second', 'b.example/b')]);
    assert.deepEqual(states(result), ['failed', 'failed']);
    assert.equal(world.visited.filter((name) => name === 'shared').length, 1);
  });
}

function aborting(promise: Say, run: RunWorld): void {
  const cancelled = (result: RunResult): void => {
    for (const { state, error } of result.images) assert.deepEqual([state, error?.code], ['cancelled', 'CANCELLED']);
  };

  promise('abort: what runs is stopped and waited for, what waits never starts', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `i-${i}`);
    const world = new World({});
    const stop = new AbortController();
    for (const name of names) {
      world.onVisit(name, async ({ signal }) => {
        if (world.running === 2) stop.abort();
        await untilAborted(signal).catch(() => undefined);
        for (let turn = 0; turn < 20; turn += 1) await setImmediate(); // it takes its time to clean up
        return LEAF;
      });
    }
    const roots = names.map((name) => world.image(name));
    cancelled(await run(world, roots, { concurrency: 2, signal: stop.signal }));
    assert.equal(world.visited.length, 2);
    assert.deepEqual(world.settled, []);
  });

  promise('abort: what is parked is not waited for', async () => {
    const world = new World({ top: ['busy'] });
    world.onVisit('busy', () => ({ kind: 'later', afterMs: 60_000, reason: 'somebody else writes it' }));
    const stop = new AbortController();
    const onEvent = (event: DispatchEvent): void => {
      if (event.kind === 'node' && event.event.kind === 'waiting') stop.abort();
    };
    cancelled(await run(world, [world.root('top')], { signal: stop.signal, onEvent }));
    assert.deepEqual(world.visited, ['top', 'busy']);
  });

  promise('abort before the start: nothing is visited', async () => {
    const world = new World({ top: ['a'] });
    const result = await run(world, [world.root('top'), world.image('i')], { signal: AbortSignal.abort() });
    assert.equal(result.images.length, 2);
    cancelled(result);
    assert.deepEqual(world.visited, []);
  });

  promise('abort: what was done before stays done', async () => {
    const world = new World({ top: ['a'] });
    const stop = new AbortController();
    const onEvent = (event: DispatchEvent): void => {
      if (event.kind === 'image' && event.result.state === 'done') stop.abort();
    };
    world.onVisit('slow', ({ signal }) => untilAborted(signal));
    const result = await run(world, [world.root('top'), world.image('slow')], { signal: stop.signal, onEvent });
    assert.deepEqual(states(result), ['done', 'cancelled']);
  });
}

function bounds(promise: Say, run: RunWorld): void {
  const chain = (levels: number): World =>
    new World(Object.fromEntries(Array.from({ length: levels }, (_, i) => [`n${i}`, [`n${i + 1}`]])));

  promise('eight levels below a root are handled, a ninth is refused', async () => {
    const good = chain(8);
    assert.deepEqual(states(await run(good, [good.root('n0')])), ['done']);
    assert.equal(good.settled.length, 9);
    const deep = chain(9);
    const { images } = await run(deep, [deep.root('n0')]);
    assert.deepEqual(
      [images[0]?.state, images[0]?.error?.code, images[0]?.error?.origin],
      ['failed', 'TOO_LARGE', 'source'],
    );
    assert.ok(!deep.visited.includes('n9'));
  });

  for (const count of [1_001, 10_000]) {
    promise(`${count} children are handled, and the parent settles after all of them`, async () => {
      const world = new World({ top: Array.from({ length: count }, (_, i) => `c${i}`) });
      assert.deepEqual(states(await run(world, [world.root('top')], { concurrency: 50 })), ['done']);
      assert.equal(new Set(world.visited).size, count + 1);
      assert.equal(world.visited.length, count + 1);
      assert.equal(world.settled.length, count + 1);
      assert.equal(world.settled.at(-1), 'top');
    });
  }

  promise('10,001 children are refused', async () => {
    const world = new World({ top: Array.from({ length: 10_001 }, (_, i) => `c${i}`) });
    const { images } = await run(world, [world.root('top')]);
    assert.deepEqual([images[0]?.state, images[0]?.error?.code], ['failed', 'TOO_LARGE']);
    assert.equal(world.visited.length, 1);
  });

  for (const [what, tree] of [
    ['its own child', { top: ['top'] }],
    ['its own ancestor', { top: ['a', 'mid'], mid: ['low'], low: ['b', 'mid'] }],
  ] as const) {
    promise(`a node that is ${what} is refused`, async () => {
      const world = new World(tree);
      const { images } = await run(world, [world.root('top')]);
      assert.deepEqual(
        [images[0]?.state, images[0]?.error?.code, images[0]?.error?.origin],
        ['failed', 'MALFORMED', 'source'],
      );
      assert.ok(!world.settled.includes('top'));
    });
  }

  promise('no more nodes are handled at a time than allowed, and as many where there are enough', async () => {
    const world = new World({ top: Array.from({ length: 60 }, (_, i) => `c${i}`) });
    const full = new Flag();
    for (let i = 0; i < 60; i += 1) {
      world.onVisit(`c${i}`, async () => {
        if (world.running === 3) full.set();
        await full.happened;
        await setImmediate();
        return LEAF;
      });
    }
    assert.deepEqual(states(await run(world, [world.root('top')], { concurrency: 3 })), ['done']);
    assert.equal(world.most, 3);
  });

  promise('one slot is enough for a deep and wide graph: nobody holds it while waiting for children', async () => {
    const tree: Record<string, string[]> = {};
    for (let level = 0; level < 7; level += 1) {
      for (const side of ['l', 'r']) tree[`${side}${level}`] = [`l${level + 1}`, `r${level + 1}`, `blob-${level}`];
    }
    const world = new World(tree);
    const result = await run(world, [world.root('l0'), world.root('r0')], { concurrency: 1 });
    assert.deepEqual(states(result), ['done', 'done']);
    assert.equal(world.most, 1);
    assert.equal(world.visited.length, new Set(world.visited).size);
    assert.equal(world.settled.length, world.visited.length);
  });
}

function telling(promise: Say, run: RunWorld): void {
  promise('the end of every image is told once, as it stands in the result', async () => {
    const world = new World({ good: ['a'], sick: ['bad'] }).onVisit('bad', () =>
      Promise.reject(fault('DENIED', 'store')),
    );
    const told: string[] = [];
    const result = await run(
      world,
      ['good', 'sick', 'good'].map((name) => world.root(name)),
      {
        onEvent: (event) => {
          if (event.kind === 'image') told.push(`${world.nameOf(event.result.root)} ${event.result.state}`);
        },
      },
    );
    assert.deepEqual(told.toSorted(), ['good done', 'good done', 'sick failed']);
    assert.deepEqual(states(result), ['done', 'failed', 'done']);
  });

  promise('what happens to a node is told, and what a handler reports is passed on', async () => {
    const world = new World({ top: ['a', 'skipped'], sick: ['bad'] });
    world.onVisit('a', (ctx) => (ctx.report({ kind: 'fetched', bytes: 7 }), undefined));
    world.onVisit('skipped', () => ({ kind: 'skip', reason: 'not wanted' }));
    world.onVisit('bad', () => Promise.reject(fault('DENIED', 'store')));
    const told: string[] = [];
    await run(world, [world.root('top'), world.root('sick')], {
      onEvent: (event) => {
        if (event.kind === 'image') return;
        told.push(`${event.kind === 'node' ? event.event.kind : event.kind} ${world.nameOf(event.node)}`);
      },
    });
    const of = (name: string): string[] => told.filter((line) => line.endsWith(` ${name}`));
    assert.deepEqual(of('a'), ['added a', 'started a', 'fetched a', 'done a']);
    assert.deepEqual(of('skipped'), ['added skipped', 'started skipped', 'skipped skipped']);
    assert.deepEqual(of('bad'), ['added bad', 'started bad', 'failed bad']);
    assert.deepEqual(of('top'), ['started top', 'done top']);
    assert.deepEqual(of('sick'), ['started sick']);
  });

  promise('the result says what a reference resolved to, also where the image failed', async () => {
    const world = new World({ top: ['bad'] });
    const desc = world.desc('top');
    world.onVisit('i', (ctx) => {
      ctx.report({ kind: 'resolved', desc });
      return { kind: 'expand', children: [{ kind: 'manifest', desc }] };
    });
    world.onVisit('bad', () => Promise.reject(fault('DENIED', 'store')));
    world.onVisit('lost', () => Promise.reject(fault('NOT_FOUND')));
    const result = await run(world, [world.image('i'), world.image('lost'), world.root('top')]);
    assert.deepEqual(states(result), ['failed', 'failed', 'failed']);
    assert.deepEqual(
      result.images.map((image) => image.desc?.digest),
      [desc.digest, undefined, desc.digest],
    );
  });
}

const SOURCE = 'registry.example/app';

const adds = (...children: readonly Child[]): Settled => ({ kind: 'expand', children });

function addedBySettle(promise: Say, run: RunWorld): void {
  for (const rounds of [1, 2]) {
    promise(`settle may answer further children, ${rounds} times, and comes again after each`, async () => {
      const world = new World({ top: ['a', 'b'] });
      const told: string[] = [];
      world.onSettle('top', async ({ round, children }) => {
        told.push(`${round}: ${children.map(({ kind, desc }) => `${kind} ${world.named(desc)}`).join(', ')}`);
        return round < rounds ? adds(world.upload(`late-${round}`), world.upload('a')) : undefined;
      });
      assert.deepEqual(states(await run(world, [world.root('top'), world.root('top')])), ['done', 'done']);
      const added = ['upload late-0, upload a', 'upload late-1, upload a'];
      const all = ['blob a, blob b', ...added].map((_, i, list) => `${i}: ${list.slice(0, i + 1).join(', ')}`);
      assert.deepEqual(told, all.slice(0, rounds + 1));
      const late = ['late-0', 'late-1'].slice(0, rounds);
      const uploads = late.flatMap((name) => [name, 'a']); // each time anew
      assert.deepEqual(world.visited.toSorted(), ['a', 'b', ...uploads, 'top'].toSorted());
      assert.equal(world.settled.at(-1), 'top');
      assert.equal(world.settled.length, world.visited.length);
    });
  }

  promise('what settle adds and is done already is not waited for', async () => {
    const world = new World({ one: ['a'], two: ['a'], top: ['one', 'two'] });
    const rounds: number[] = [];
    const shared: Child = { kind: 'blob', desc: world.desc('shared') };
    for (const name of ['one', 'two']) {
      world.onSettle(name, async ({ round }) => (round === 0 ? adds(shared) : undefined));
    }
    world.onSettle('top', async ({ round }) => {
      rounds.push(round);
      return round === 0 ? adds(shared) : undefined;
    });
    assert.deepEqual(states(await run(world, [world.root('top')])), ['done']);
    assert.deepEqual(rounds, [0, 1]);
    assert.equal(world.visited.filter((name) => name === 'shared').length, 1);
  });

  promise('an upload that is wanted again after it was done is done again, and waited for', async () => {
    const world = new World({ top: ['a'], next: ['top'] });
    const uploads: number[] = [];
    for (const [name, rounds] of [
      ['top', 3],
      ['next', 1],
    ] as const) {
      world.onSettle(name, async ({ round }) => {
        uploads.push(world.visited.filter((visited) => visited === 'lost').length);
        return round < rounds ? adds(world.upload('lost')) : undefined;
      });
    }
    assert.deepEqual(states(await run(world, [world.root('next')])), ['done']);
    assert.deepEqual(uploads, [0, 1, 2, 3, 3, 4]);
    assert.deepEqual(world.settled, ['a', 'lost', 'lost', 'lost', 'top', 'lost', 'next']);
  });

  promise('a child that settle has added and that fails fails the image, and no other', async () => {
    const world = new World({ sick: ['a'], well: ['a'] });
    world.onSettle('sick', async ({ round }) => (round === 0 ? adds(world.upload('bad')) : undefined));
    world.onVisit('bad', () => Promise.reject(fault('DENIED', 'target')));
    const result = await run(world, [world.root('sick'), world.root('well')]);
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.deepEqual([result.images[0]?.error?.code, result.images[0]?.error?.origin], ['DENIED', 'target']);
    assert.ok(!world.settled.includes('sick'));
  });

  promise('a settle that adds children again and again is given up', async () => {
    const world = new World({ top: ['a'], next: ['b'] });
    world.onSettle('top', async ({ round }) => adds(world.upload(`late-${round}`)));
    const result = await run(world, [world.root('top'), world.root('next')]);
    assert.deepEqual(states(result), ['failed', 'done']);
    assert.equal(result.images[0]?.error?.code, 'INTERNAL');
    assert.ok(world.visited.length < 20);
  });

  for (const [what, carry] of [
    ['a line', 'as it is'],
    ['the bytes of a small manifest', `{\n  "\u00e4": "\\u00e4\u0080\u00ff\\n"\n}\n`],
    ['those of a large one', '{"\u00ff":\n"\\"}'.repeat(300_000)],
  ] as const) {
    promise(`what the visit has left arrives at each settle: ${what}`, async () => {
      const world = new World({ top: ['a'], hollow: [] });
      const got: boolean[] = [];
      for (const [name, children] of [
        ['top', [{ kind: 'blob', desc: world.desc('a') }]],
        ['hollow', []],
      ] as const) {
        world.onVisit(name, () => ({ kind: 'expand', children, carry }));
        world.onSettle(name, async (ctx) => {
          got.push(ctx.carry === carry);
          return ctx.round === 0 ? adds(world.upload('late')) : undefined;
        });
      }
      assert.deepEqual(states(await run(world, [world.root('top'), world.root('hollow')])), ['done', 'done']);
      assert.deepEqual(got, [true, true, true, true]);
    });
  }
}

function repositories(promise: Say, run: RunWorld): void {
  promise('a blob is one node for all repositories of a registry; manifests and uploads are one each', async () => {
    const world = new World({ m: ['blob'] });
    world.onSettle('m', async ({ round }) => (round === 0 ? adds(world.upload('blob')) : undefined));
    const targets = ['one.example/a', 'one.example/b', 'two.example/a', 'store'];
    const seen: string[] = [];
    for (const name of ['m', 'blob']) {
      world.onVisit(name, (_ctx, node) => {
        const { host = '', path = '' } = /^(?<host>[^/]+)(?<path>.*)$/.exec(node.target)?.groups ?? {};
        seen.push(node.kind === 'blob' ? `blob ${host}` : `${node.kind} ${host}${path}`);
        return undefined;
      });
    }
    const result = await run(
      world,
      targets.map((target) => world.root('m', 'registry.example/app', target)),
    );
    assert.ok(result.images.every(({ state }) => state === 'done'));
    const own = targets.flatMap((target) => [`manifest ${target}`, `upload ${target}`]);
    const shared = ['one.example', 'two.example', 'store'].map((place) => `blob ${place}`);
    assert.deepEqual(seen.toSorted(), [...own, ...shared].toSorted());
  });

  promise('a child may be read from elsewhere and go elsewhere, with all that is below it', async () => {
    const world = new World({ top: ['a', 'mid'], mid: ['b'] });
    const seen = new Map<string, string>();
    for (const name of ['top', 'a', 'mid', 'b']) {
      world.onVisit(name, (_ctx, { source, target }) => {
        seen.set(name, `${source} ${target}`);
        if (name !== 'top') return undefined;
        const scope = { source: 'other.example/c', target: 'third.example/d' };
        const [a, mid] = [world.desc('a'), world.desc('mid')];
        const children = [
          { kind: 'blob', desc: a },
          { kind: 'manifest', desc: mid, scope },
        ] as const;
        return { kind: 'expand', children };
      });
    }
    assert.deepEqual(states(await run(world, [world.root('top', SOURCE, 'target.example/a')])), ['done']);
    const [own, others] = [`${SOURCE} target.example/a`, 'other.example/c third.example/d'];
    assert.deepEqual(Object.fromEntries(seen), { top: own, a: own, mid: others, b: others });
    assert.equal(world.settled.at(-1), 'top');
  });

  promise('a repository that may not be written hurts no other: what they share comes by another', async () => {
    const world = new World({ first: ['shared'], second: ['shared', 'mark'] });
    const [asked, bothWant] = [new Flag(), new Flag()];
    const tried: string[] = [];
    world.onVisit('shared', async (_ctx, { target }) => {
      tried.push(target);
      asked.set();
      await bothWant.happened;
      if (tried.length === 1) throw fault('DENIED', 'target');
      return LEAF;
    });
    world.onVisit('second', () => asked.happened);
    world.onVisit('mark', () => (bothWant.set(), undefined));
    const targets = ['target.example/a', 'target.example/b'] as const;
    const result = await run(world, [
      world.root('first', SOURCE, targets[0]),
      world.root('second', SOURCE, targets[1]),
    ]);
    assert.deepEqual(states(result), ['done', 'done']);
    assert.deepEqual(tried, targets);
  });

  for (const [what, targets, code, expected] of [
    ['the next repository is written', ['t.example/a', 't.example/b'], 'DENIED', 'done'],
    ['the same repository stays closed, wherever the blob is read', ['t.example/a', 't.example/a'], 'DENIED', 'failed'],
  ] as const) {
    promise(`after a fault of the target: ${what}`, async () => {
      const world = new World({ first: ['shared'], second: ['shared'] });
      const firstEnded = new Flag();
      let visits = 0;
      world.onVisit('shared', () => {
        visits += 1;
        if (visits === 1) throw fault(code, 'target');
        return LEAF;
      });
      world.onVisit('second', () => firstEnded.happened);
      const roots = [
        world.root('first', 'one.example/a', targets[0]),
        world.root('second', 'two.example/b', targets[1]),
      ];
      const result = await run(world, roots, { onEvent: whenEnded('first', firstEnded, world) });
      assert.deepEqual(states(result), ['failed', expected]);
      assert.equal(visits, expected === 'done' ? 2 : 1);
    });
  }
}

function sums(promise: Say, run: RunWorld): void {
  const brings = (world: World, name: string, bytes: number, mounted = 0): void => {
    const report = (ctx: HandlerContext): undefined => {
      if (bytes > 0) ctx.report({ kind: 'fetched', bytes });
      for (let i = 0; i < mounted; i += 1) ctx.report({ kind: 'mounted' });
    };
    world.onVisit(name, report);
  };
  const imageOf = (world: World, name: string, child: string): void => {
    world.onVisit(name, () => ({ kind: 'expand', children: [{ kind: 'manifest', desc: world.desc(child) }] }));
  };

  promise('what was moved for images that share it is counted once, and all that is below them is', async () => {
    const world = new World({ one: ['shared', 'a'], two: ['shared', 'b', 'c'], three: ['shared'] });
    for (const [image, manifest] of [
      ['i1', 'one'],
      ['i2', 'two'],
      ['i3', 'three'],
    ] as const) {
      imageOf(world, image, manifest);
    }
    brings(world, 'shared', 1_000_000);
    brings(world, 'a', 1_000);
    brings(world, 'b', 2_000);
    brings(world, 'c', 0, 1);
    brings(world, 'one', 10); // before its children, ...
    world.onSettle('two', async (ctx) => {
      ctx.report({ kind: 'fetched', bytes: 20 }); // ... and after them
      ctx.report({ kind: 'mounted' });
      return ctx.round === 0 ? adds(world.upload('late')) : undefined;
    });
    brings(world, 'late', 300);
    const { images } = await run(
      world,
      ['i1', 'i2', 'i3'].map((name) => world.image(name)),
    );
    const own = images.map(({ bytes }) => bytes % 1_000_000);
    assert.deepEqual(own, [1_010, 2_340, 0]);
    assert.equal(
      images.reduce((sum, { bytes }) => sum + bytes, 0),
      1_000_000 + 1_010 + 2_340,
    );
    assert.deepEqual(
      images.map(({ mounted }) => mounted),
      [0, 3, 0],
    );
  });

  promise('a result says whether the target had it already, and how long it took', async () => {
    const world = new World({ m: [] });
    world.onVisit('same', async (ctx) => {
      await sleep(30); // it is what is measured
      ctx.report({ kind: 'resolved', desc: world.desc('m'), isEqual: true });
      return LEAF;
    });
    world.onVisit('other', (ctx) => {
      ctx.report({ kind: 'resolved', desc: world.desc('m'), isEqual: false });
      return LEAF;
    });
    const { images } = await run(world, [world.image('same'), world.image('other')]);
    assert.deepEqual(
      images.map(({ isEqual, desc }) => [isEqual, desc?.digest]),
      [
        [true, world.desc('m').digest],
        [false, world.desc('m').digest],
      ],
    );
    assert.ok((images[0]?.tookMs ?? 0) >= 25, `${images[0]?.tookMs} ms`);
    assert.deepEqual(
      images.map(({ bytes, mounted }) => bytes + mounted),
      [0, 0],
    );
  });
}
