import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import type { Handler, HandlerContext, ImageNode } from '../../../src/flow/handler.ts';
import { copyNode } from '../../../src/handlers/copy.ts';
import { writeChecked } from '../../../src/handlers/write-check.ts';

const ctx: HandlerContext = { signal: new AbortController().signal, attempt: 0, report: () => undefined };
const root = (tag: string, target = 'r.example/x'): ImageNode =>
  copyNode({ source: { name: `a.example/x:${tag}`, repository: 'a.example/x' }, target, tag, selection: '' });
const differs: Handler = { visit: () => Promise.resolve({ kind: 'expand', children: [] }) };
const equal: Handler = { visit: () => Promise.resolve({ kind: 'leaf' }) };

test('a repository is asked once, when the first of its images differs', async () => {
  const asked: string[] = [];
  const checked = writeChecked(async (repository) => void asked.push(repository));
  await checked(equal).visit(root('1'), ctx);
  assert.deepEqual(asked, []);
  const handler = checked(differs);
  await Promise.all(['1', '2', '3'].map((tag) => handler.visit(root(tag), ctx)));
  await handler.visit(root('1', 'r.example/y'), ctx);
  assert.deepEqual(asked, ['r.example/x', 'r.example/y']);
});

test('a refusal fails every image of the repository and says what to do; other failures stay what they are', async () => {
  for (const [code, expected] of [
    ['DENIED', /^r\.example\/x cannot be written: no$/],
    ['NETWORK', /^no$/],
  ] as const) {
    let asked = 0;
    const handler = writeChecked(() => {
      asked += 1;
      return Promise.reject(new GantryError(code, 'no'));
    })(differs);
    for (const tag of ['1', '2']) {
      await assert.rejects(handler.visit(root(tag), ctx), { code, message: expected });
    }
    assert.equal(asked, code === 'DENIED' ? 1 : 2, 'what may pass is asked again');
  }
});
