import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Handler, Visit } from '../../../src/flow/handler.ts';
import { sequence } from '../../../src/flow/sequence.ts';
import { blob, context, root } from './support.ts';

const answering = (name: string, visit: Visit, log: string[] = []): Handler => ({
  visit: async () => (log.push(`visit ${name}`), visit),
  settle: async () => void log.push(`settle ${name}`),
});

const expand = (...names: string[]): Visit => ({ kind: 'expand', children: names.map(blob) });
const visitOf = (...handlers: Handler[]): Promise<Visit> => sequence(...handlers).visit(root('r'), context());

test('children are concatenated in the order of the handlers', async () => {
  const leaf: Visit = { kind: 'leaf' };
  assert.deepEqual(
    await visitOf(answering('1', expand('a', 'b')), answering('2', leaf), answering('3', expand('c'))),
    expand('a', 'b', 'c'),
  );
  assert.deepEqual(await visitOf(answering('1', leaf), answering('2', expand())), leaf);
  assert.deepEqual(await visitOf(), leaf);
});

test('later and skip end the visit with that answer', async () => {
  for (const last of [
    { kind: 'later', afterMs: 5, reason: 'busy' },
    { kind: 'skip', reason: 'no' },
  ] as const) {
    const log: string[] = [];
    const parts = [answering('1', expand('a'), log), answering('2', last, log), answering('3', expand('b'), log)];
    assert.deepEqual(await visitOf(...parts), last);
    assert.deepEqual(log, ['visit 1', 'visit 2']);
  }
});

test('settles run in order, and a handler may have none', async () => {
  const log: string[] = [];
  const leaf: Visit = { kind: 'leaf' };
  const mute: Handler = { visit: async () => leaf };
  const both = sequence(answering('1', leaf, log), mute, sequence(answering('2', leaf, log)));
  await both.settle?.(root('r'), { ...context(), children: [], carry: '', round: 0 });
  assert.deepEqual(log, ['settle 1', 'settle 2']);
});

test('an error ends a sequence', async () => {
  const log: string[] = [];
  const bad: Handler = {
    visit: () => Promise.reject(new Error('bad')),
    settle: () => Promise.reject(new Error('bad')),
  };
  const both = sequence(bad, answering('2', { kind: 'leaf' }, log));
  await assert.rejects(both.visit(root('r'), context()), /bad/);
  await assert.rejects(
    async () => both.settle?.(root('r'), { ...context(), children: [], carry: '', round: 0 }),
    /bad/,
  );
  assert.deepEqual(log, []);
});

test('as many children as anybody answers', async () => {
  const many: Visit = { kind: 'expand', children: Array.from({ length: 300_000 }, () => blob('a')) };
  const visit = await visitOf(answering('1', many));
  assert.equal(visit.kind === 'expand' && visit.children.length, 300_000);
});
