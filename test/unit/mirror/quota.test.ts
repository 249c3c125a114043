import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reserved, reservesOf } from '../../../src/app/mirror/quota.ts';
import { itemOf } from '../../../src/app/mirror/job.ts';
import type { Handler, HandlerContext } from '../../../src/flow/handler.ts';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';

const ctx: HandlerContext = { signal: new AbortController().signal, attempt: 0, report: () => undefined };
const item = itemOf({ rule: 'sync.0', source: 'hub.example/x:1', target: 'r.example/x', tag: '1' });
const differs: Handler = { visit: () => Promise.resolve({ kind: 'expand', children: [] }) };
const equal: Handler = { visit: () => Promise.resolve({ kind: 'leaf' }) };

test('an image that differs waits until its source has enough left; one that is equal does not', async () => {
  let left: number | undefined = 49;
  const told: string[] = [];
  const keep = reserved({
    reserves: new Map([['hub.example/x', { min: 50, retryMs: 600_000 }]]),
    remaining: (registry) => (registry === 'hub.example' ? left : undefined),
    tell: (message) => told.push(message),
  });
  const careful = keep(differs);
  const reason = 'hub.example has 49 requests left, and ratelimit.min is 50';
  const later = { kind: 'later', afterMs: 600_000, reason };
  assert.deepEqual(await careful.visit(item.root, ctx), later);
  assert.deepEqual(await careful.visit(item.root, ctx), later);
  assert.deepEqual(told, [`${reason}: looking again in 10 min`], 'once, however many images wait');
  assert.deepEqual(await keep(equal).visit(item.root, ctx), { kind: 'leaf' });
  left = 50;
  assert.equal((await careful.visit(item.root, ctx)).kind, 'expand');
  left = undefined;
  assert.equal((await careful.visit(item.root, ctx)).kind, 'expand', 'a registry that tells no limit');
});

test('of several rules for one repository the one that leaves the most holds', () => {
  const rule = { source: 'hub.example/x', target: 'r.example/x', type: 'repository' };
  const sync = [{ ...rule, ratelimit: { min: 5 } }, { ...rule, ratelimit: { min: 50, retry: '1h' } }, rule];
  const text = JSON.stringify({ version: 1, sync });
  const { rules } = readMirrorFile(text, 'mirror.yml', { env: {}, readFile: () => '' });
  const items = rules.map(({ id }) => ({ ...item, rule: id }));
  assert.deepEqual([...reservesOf(items, rules)], [['hub.example/x', { min: 50, retryMs: 3_600_000 }]]);
});
