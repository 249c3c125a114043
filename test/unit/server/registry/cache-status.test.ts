import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusHeaders } from '../../../../src/server/registry/cache-status.ts';

test('how an answer came about', () => {
  assert.deepEqual(statusHeaders({ kind: 'hit' }), { 'cache-status': 'gantry; hit' });
  assert.deepEqual(statusHeaders({ kind: 'elsewhere' }), { 'cache-status': 'gantry; fwd=uri-miss' });
  assert.deepEqual(statusHeaders({ kind: 'stored' }), { 'cache-status': 'gantry; fwd=uri-miss; stored' });
  assert.deepEqual(statusHeaders({ kind: 'stale', why: 'upstream answered 429' }), {
    'cache-status': 'gantry; hit; fwd=stale; detail="upstream answered 429"',
    warning: '110 - "Response is Stale"',
  });
});

test('what an upstream says cannot add a header or end the string', () => {
  const { 'cache-status': text } = statusHeaders({ kind: 'stale', why: 'a "b" \\ c\r\nset-cookie: d\u{1F600}é' });
  assert.equal(text, 'gantry; hit; fwd=stale; detail="a \\"b\\" \\\\ c set-cookie: d "');
});
