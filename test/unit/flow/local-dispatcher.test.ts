import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { LocalDispatcher } from '../../../src/flow/local-dispatcher.ts';
import type { Handler, ImageNode, Visit } from '../../../src/flow/handler.ts';
import { Flag, LEAF, World } from '../../contract/dispatcher-world.ts';
import { blob, never, root, tableHandler } from './support.ts';

const image = (name: string): ImageNode => ({
  kind: 'image',
  name,
  source: 'a.example/app',
  target: 'store',
  selection: '',
});

test('a concurrency that is no positive integer is refused', () => {
  for (const concurrency of [0, -1, 1.5, Number.NaN, Infinity]) {
    assert.throws(() => new LocalDispatcher({ handler: tableHandler({}), concurrency }), { code: 'USAGE' });
  }
});

test('depth first: an image is finished before the next is started', async () => {
  const log: string[] = [];
  const table: Record<string, Visit> = {
    one: { kind: 'expand', children: [blob('a'), blob('b')] },
    two: { kind: 'expand', children: [blob('c')] },
    ...Object.fromEntries(['a', 'b', 'c'].map((name) => [name, { kind: 'leaf' }])),
  };
  const dispatcher = new LocalDispatcher({ handler: tableHandler(table, log), concurrency: 1 });
  await dispatcher.dispatch({ id: 'run', roots: [image('one'), image('two')] }, { signal: never });
  assert.deepEqual(
    log.filter((line) => line.startsWith('visit')),
    ['visit one', 'visit a', 'visit b', 'visit two', 'visit c'],
  );
  assert.ok(log.indexOf('settle one') < log.indexOf('visit two'));
});

test(
  'fifty thousand images on one base: whether it is found or fails, and whoever fails alone',
  { timeout: 60_000 },
  async () => {
    const count = 50_000;
    const base = Array.from({ length: 10 }, (_, i) => blob(`base-${i}`));
    const own = blob('own');
    const handlerOf = (bad: string): Handler => ({
      visit: async (node) => {
        if (node.kind === 'image') return { kind: 'expand', children: node.name === '77' ? [...base, own] : base };
        if (node.desc.digest === bad) throw new GantryError('DENIED', 'no', { origin: 'source' });
        return { kind: 'leaf' };
      },
    });
    const roots = Array.from({ length: count }, (_, i) => image(String(i)));
    for (const [bad, failed] of [
      ['', 0],
      [own.desc.digest, 1],
      [base[4]?.desc.digest ?? '', count],
    ] as const) {
      const dispatcher = new LocalDispatcher({ handler: handlerOf(bad), concurrency: 16 });
      const { images } = await dispatcher.dispatch({ id: 'run', roots }, { signal: never });
      assert.equal(images.filter(({ state }) => state === 'failed').length, failed);
    }
  },
);

test('who listens may abort the run at any event', async () => {
  const table = { i: { kind: 'expand', children: [blob('a'), blob('b'), blob('busy')] } } as const;
  const bad = new GantryError('DENIED', 'no', { origin: 'store' });
  const all = { ...table, a: { kind: 'leaf' }, b: bad, busy: { kind: 'later', afterMs: 60_000, reason: '' } } as const;
  for (let at = 1; at <= 9; at += 1) {
    const stop = new AbortController();
    let events = 0;
    const dispatcher = new LocalDispatcher({ handler: tableHandler(all), concurrency: 2 });
    const { images } = await dispatcher.dispatch(
      { id: 'run', roots: [image('i'), root('other')] },
      { signal: stop.signal, onEvent: () => void ((events += 1) === at && stop.abort()) },
    );
    assert.equal(images.length, 2);
  }
});

test('who aborts at the first failure still reads it in the result', async () => {
  const stop = new AbortController();
  const table = { i: new GantryError('DENIED', 'no', { origin: 'store' }) };
  const { images } = await new LocalDispatcher({ handler: tableHandler(table), concurrency: 1 }).dispatch(
    { id: 'run', roots: [image('i'), image('j')] },
    { signal: stop.signal, onEvent: ({ kind }) => kind === 'failed' && stop.abort() },
  );
  assert.deepEqual(
    images.map(({ state }) => state),
    ['failed', 'cancelled'],
  );
});

test('the reason of an abort is kept where it has a code', async () => {
  const reason = new GantryError('CANCELLED', 'SIGINT', { hint: 'run it again to go on' });
  const { images } = await new LocalDispatcher({ handler: tableHandler({}), concurrency: 1 }).dispatch(
    { id: 'run', roots: [image('i')] },
    { signal: AbortSignal.abort(reason) },
  );
  assert.equal(images[0]?.error, reason);
});

test('a node that is found nearer to a root while it is visited is not too deep any more', async () => {
  const world = new World({ deep: ['mid'], mid: ['shared'], flat: ['shared', 'mark'], shared: ['leaf'] });
  const [asked, nearer] = [new Flag(), new Flag()];
  world.onVisit('shared', () => (asked.set(), nearer.happened));
  world.onVisit('flat', () => asked.happened);
  world.onVisit('mark', () => (nearer.set(), LEAF));
  const limits = { maxDepth: 2, maxChildren: 10 };
  const dispatcher = new LocalDispatcher({ handler: world.handler, concurrency: 4, limits });
  const roots = [world.root('deep'), world.root('flat')];
  const { images } = await dispatcher.dispatch({ id: 'run', roots }, { signal: never });
  assert.deepEqual(
    images.map(({ state }) => state),
    ['done', 'done'],
  );
});
