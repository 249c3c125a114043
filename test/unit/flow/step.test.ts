import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import type { Handler, HandlerContext, Visit } from '../../../src/flow/handler.ts';
import { DEFAULT_LIMITS, settleStep, visitStep } from '../../../src/flow/step.ts';
import { blob, context, manifest, root } from './support.ts';

const node = root('r');
const answering = (visit: Visit): Handler => ({ visit: async () => visit });
const step = (handler: Handler, depth = 0, ctx: HandlerContext = context()): Promise<Visit> =>
  visitStep(handler, node, ctx, { depth, limits: DEFAULT_LIMITS });

test('a wait is at least a millisecond and at most a minute', async () => {
  for (const [asked, got] of [
    [0, 1],
    [-5, 1],
    [Number.NaN, 1],
    [20, 20],
    [Infinity, 60_000],
  ] as const) {
    const visit = await step(answering({ kind: 'later', afterMs: asked, reason: 'busy' }));
    assert.deepEqual(visit, { kind: 'later', afterMs: got, reason: 'busy' });
  }
});

test('repeated children are one; a manifest and a blob of one digest are two', async () => {
  const children = [blob('a'), manifest('a'), blob('b'), blob('a'), manifest('a')];
  const visit = await step(answering({ kind: 'expand', children }));
  assert.deepEqual(visit, { kind: 'expand', children: children.slice(0, 3) });
});

test('more children or levels than the limits are refused; repeats do not count', async () => {
  const many = (count: number): Visit => ({
    kind: 'expand',
    children: Array.from({ length: count }, (_, i) => blob(`${i}`)),
  });
  assert.equal((await step(answering(many(10_000)))).kind, 'expand');
  await assert.rejects(step(answering(many(10_001))), {
    code: 'TOO_LARGE',
    origin: 'source',
    digest: node.desc.digest,
  });
  const repeats: Visit = { kind: 'expand', children: Array.from({ length: 20_000 }, () => blob('a')) };
  assert.equal((await step(answering(repeats))).kind, 'expand');
  assert.equal((await step(answering(many(1)), 7)).kind, 'expand');
  assert.equal((await step(answering(many(0)), 8)).kind, 'expand');
  await assert.rejects(step(answering(many(1)), 8), { code: 'TOO_LARGE' });
});

test('the depth that counts is that after the visit', async () => {
  let depth = 8;
  const handler: Handler = {
    visit: async () => {
      depth = 1;
      return { kind: 'expand', children: [blob('a')] };
    },
  };
  const where = {
    limits: DEFAULT_LIMITS,
    get depth() {
      return depth;
    },
  };
  assert.equal((await visitStep(handler, node, context(), where)).kind, 'expand');
});

test('every error leaves with a code', async () => {
  const bad: Handler = {
    visit: () => {
      throw new TypeError('oops');
    },
    settle: () => Promise.reject(new GantryError('DENIED', 'no', { origin: 'target' })),
  };
  await assert.rejects(step(bad), { code: 'INTERNAL', message: 'oops' });
  await assert.rejects(
    settleStep(bad, node, { ...context(), children: [], carry: '', round: 0 }, { depth: 0, limits: DEFAULT_LIMITS }),
    { code: 'DENIED', origin: 'target' },
  );
});

test('whatever breaks after an abort broke because of it', async () => {
  const stop = new AbortController();
  const ctx = context({ signal: stop.signal });
  const handler: Handler = {
    visit: () => {
      stop.abort();
      throw new GantryError('NETWORK', 'the connection broke', { origin: 'source' });
    },
  };
  await assert.rejects(step(handler, 0, ctx), { code: 'CANCELLED' });
  let called = false;
  const late: Handler = {
    visit: async () => ((called = true), { kind: 'leaf' }),
    settle: async () => void (called = true),
  };
  await assert.rejects(step(late, 0, ctx), { code: 'CANCELLED' });
  await assert.rejects(
    settleStep(late, node, { ...ctx, children: [], carry: '', round: 0 }, { depth: 0, limits: DEFAULT_LIMITS }),
    { code: 'CANCELLED' },
  );
  assert.equal(called, false);
});

test('settle may use this', async () => {
  class Counter implements Handler {
    count = 0;
    visit = (): Promise<Visit> => Promise.resolve({ kind: 'leaf' });
    async settle(): Promise<void> {
      this.count += 1;
    }
  }
  const counter = new Counter();
  await settleStep(
    counter,
    node,
    { ...context(), children: [], carry: '', round: 0 },
    { depth: 0, limits: DEFAULT_LIMITS },
  );
  assert.equal(counter.count, 1);
});
