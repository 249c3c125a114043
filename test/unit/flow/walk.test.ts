import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import type { Handler, Visit } from '../../../src/flow/handler.ts';
import { dispatch, walk } from '../../../src/flow/walk.ts';
import { blob, manifest, never, root, tableHandler } from './support.ts';

const tree: Record<string, Visit> = {
  top: { kind: 'expand', children: [manifest('left'), blob('a'), manifest('right')] },
  left: { kind: 'expand', children: [blob('b'), blob('c')] },
  right: { kind: 'skip', reason: 'no' },
  a: { kind: 'leaf' },
  b: { kind: 'leaf' },
  c: { kind: 'leaf' },
};

test('walk goes depth first, one after another, and settles after the children', async () => {
  const log: string[] = [];
  await walk(tableHandler(tree, log), [root('top'), root('b')], { signal: never });
  assert.deepEqual(
    log.join(', '),
    'visit top, visit left, visit b, settle b, visit c, settle c, settle left, ' +
      'visit a, settle a, visit right, settle top, ' +
      'visit b, settle b', // as a root it is a manifest: another node
  );
});

test('walk handles a node that stands in several places once', async () => {
  const levels: Record<string, Visit> = {};
  for (let level = 0; level < 8; level += 1) {
    const below = { kind: 'expand', children: [manifest(`l${level + 1}`), manifest(`r${level + 1}`)] } as const;
    levels[`l${level}`] = below;
    levels[`r${level}`] = below;
  }
  const log: string[] = [];
  await walk(tableHandler(levels, log), [root('l0')], { signal: never });
  assert.equal(log.filter((line) => line.startsWith('visit')).length, 17);
});

test('walk waits for what is busy', async () => {
  const attempts: number[] = [];
  const handler: Handler = {
    visit: async (_node, { attempt }) =>
      attempts.push(attempt) < 3 ? { kind: 'later', afterMs: 1, reason: 'busy' } : { kind: 'leaf' },
  };
  await walk(handler, [root('r')], { signal: never });
  assert.deepEqual(attempts, [0, 1, 2]);
});

test('an abort ends a walk that waits, and says so with a code', async () => {
  const stop = new AbortController();
  const handler: Handler = {
    visit: async () => {
      queueMicrotask(() => stop.abort(new TypeError('some reason')));
      return { kind: 'later', afterMs: 60_000, reason: 'busy' };
    },
  };
  await assert.rejects(walk(handler, [root('r')], { signal: stop.signal }), { code: 'CANCELLED' });
});

test('the first error ends a walk', async () => {
  const log: string[] = [];
  const bad = new GantryError('DENIED', 'no', { origin: 'source' });
  await assert.rejects(walk(tableHandler({ ...tree, b: bad }, log), [root('top')], { signal: never }), bad);
  assert.deepEqual(log, ['visit top', 'visit left', 'visit b']);
});

test('a walk has the bounds of a dispatch: a cycle ends it', async () => {
  const cycle: Record<string, Visit> = { top: { kind: 'expand', children: [manifest('top')] } };
  for (const each of [walk, dispatch]) {
    await assert.rejects(each(tableHandler(cycle), [root('top')], { signal: never }), /nested deeper|contains/);
  }
  await assert.rejects(
    walk(tableHandler(tree), [root('top')], { signal: never, limits: { maxDepth: 8, maxChildren: 2 } }),
    { code: 'TOO_LARGE' },
  );
});

test('dispatch handles everything and resolves', async () => {
  const log: string[] = [];
  await dispatch(tableHandler(tree, log), [root('top')], { signal: never, concurrency: 2 });
  assert.equal(log.length, 11);
  assert.equal(log.at(-1), 'settle top');
});

test('dispatch throws the error of the first root that failed, after the others have ended', async () => {
  const log: string[] = [];
  const first = new GantryError('DENIED', 'first', { origin: 'source' });
  const second = new GantryError('NOT_FOUND', 'second', { origin: 'source' });
  const handler = tableHandler({ x: first, y: second, good: { kind: 'expand', children: [blob('a')] } }, log);
  await assert.rejects(
    dispatch(handler, [root('x'), root('good'), root('y')], { signal: never, concurrency: 1 }),
    first,
  );
  assert.ok(log.includes('settle good'));
});

test('dispatch needs a slot', async () => {
  await assert.rejects(dispatch(tableHandler(tree), [], { signal: never, concurrency: 0 }), { code: 'USAGE' });
});
