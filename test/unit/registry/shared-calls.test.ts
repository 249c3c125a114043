import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SharedCalls } from '../../../src/registry/shared-calls.ts';
import { never } from './temp.ts';

test('callers of one key share a call and its answer until it is too old', async () => {
  let now = 0;
  let calls = 0;
  const shared = new SharedCalls<number>({ ttlMs: 10, now: () => now });
  const ask = (key: string): Promise<number> => shared.get(key, async () => (calls += 1), { signal: never });
  assert.deepEqual(await Promise.all([ask('a'), ask('a'), ask('b')]), [1, 1, 2]);
  now = 9;
  assert.equal(await ask('a'), 1);
  now = 10;
  assert.equal(await ask('a'), 3);
  shared.forget('a');
  assert.equal(await ask('a'), 4);
});

test('a failure reaches all who wait and is not kept', async () => {
  let calls = 0;
  const shared = new SharedCalls<number>({ ttlMs: 1000 });
  const start = async (): Promise<number> => {
    calls += 1;
    if (calls === 1) throw new Error('no');
    return calls;
  };
  const first = await Promise.allSettled([1, 2].map(() => shared.get('a', start, { signal: never })));
  assert.deepEqual(
    first.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await shared.get('a', start, { signal: never }), 2);
});

test('a caller that gives up leaves the others alone, and the last one ends the call', async () => {
  const shared = new SharedCalls<number>({ ttlMs: 1000 });
  const seen: AbortSignal[] = [];
  const start = ({ signal }: { signal: AbortSignal }): Promise<number> => {
    seen.push(signal);
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('stopped')));
    });
  };
  const one = new AbortController();
  const two = new AbortController();
  const waiting = [one, two].map(({ signal }) => shared.get('a', start, { signal }));
  one.abort(new Error('one'));
  await assert.rejects(waiting[0] ?? Promise.resolve(), /one/);
  assert.equal(seen[0]?.aborted, false);
  two.abort(new Error('two'));
  await assert.rejects(waiting[1] ?? Promise.resolve(), /two/);
  assert.equal(seen[0]?.aborted, true);
  assert.equal(seen.length, 1);
  assert.equal(await shared.get('a', async () => 5, { signal: never }), 5);
  await assert.rejects(
    shared.get('a', async () => 6, { signal: one.signal }),
    /one/,
  );
});

test('an answer that nobody else is given is not kept', async () => {
  const shared = new SharedCalls<{ readonly large: Uint8Array }>({ ttlMs: 0 });
  const collected = Promise.withResolvers<void>();
  const registry = new FinalizationRegistry(() => collected.resolve());
  const start = async (): Promise<{ readonly large: Uint8Array }> => {
    const answer = { large: new Uint8Array(1 << 20) };
    registry.register(answer, undefined);
    return answer;
  };
  await shared.get('a', start, { signal: never });
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  assert.ok(typeof collect === 'function');
  const timer = setInterval(() => collect(), 5);
  const late = setTimeout(() => collected.reject(new Error('it is kept')), 5000);
  await collected.promise.finally(() => {
    clearInterval(timer);
    clearTimeout(late);
  });
  assert.ok(await shared.get('a', start, { signal: never })); // it is still there to be asked
});

test('the number of answers that are kept is bounded', async () => {
  let calls = 0;
  const shared = new SharedCalls<number>({ ttlMs: 1e9, maxEntries: 2 });
  const ask = (key: string): Promise<number> => shared.get(key, async () => (calls += 1), { signal: never });
  for (const key of ['a', 'b', 'c']) await ask(key);
  assert.equal(await ask('c'), 3);
  assert.equal(await ask('b'), 2);
  assert.equal(await ask('a'), 4);
});
