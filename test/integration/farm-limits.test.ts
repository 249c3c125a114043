/** What registries allow, kept by all workers together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestFarm } from '../support/farm.ts';
import { fill } from '../support/farm-images.ts';
import { type Effect, faults, TestRegistry } from '../support/registry.ts';
import type { LogEntry } from '../support/registry/log.ts';

const WORKERS = 3;
const CONCURRENCY = 4;
/** Seconds of Retry-After. */
const WAIT_S = 2;

function everyNth(n: number, effect: Effect): Effect {
  let seen = 0;
  return (answer, asked) => {
    seen += 1;
    if (seen % n === 0) effect(answer, asked);
  };
}

/** Requests that came when the registry had asked to be left alone, for each time that it had. */
const afterEach429 = (entries: readonly LogEntry[]): number[] =>
  entries
    .filter(({ status }) => status === 429)
    .map(({ endedAt = Infinity }) => {
      const until = endedAt + WAIT_S * 1000 - 50; // the two clocks start a moment apart
      return entries.filter(({ startedAt }) => startedAt > endedAt && startedAt < until).length;
    });

const lastEnd = ({ log }: TestRegistry): number => Math.max(...log.entries.map(({ endedAt = Infinity }) => endedAt));

test('a registry that answers 429 is left alone by all workers, and others are not slowed', async (t) => {
  await using slow = await TestRegistry.start({ latencyMs: 5 });
  await using free = await TestRegistry.start({ latencyMs: 5 });
  const limited = fill(slow, { images: 40, blobs: 40, seed: 'slow' });
  const others = fill(free, { images: 40, blobs: 40, seed: 'free' });
  using _limit = slow.fault({ do: everyNth(50, faults.retryAfter(String(WAIT_S))) });
  await using farm = await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY });
  const refs = [...limited.refs, ...others.refs];
  await farm.done(await farm.submit(refs), refs);
  const late = afterEach429(slow.log.entries);
  t.diagnostic(`${late.length} times 429, then ${late.join(', ')} requests that were under way`);
  assert.ok(late.length >= 2);
  assert.ok(Math.max(...late) < WORKERS * CONCURRENCY, `${late.join(', ')} requests after a 429`);
  const [slowEnd, freeEnd] = [lastEnd(slow), lastEnd(free)];
  assert.ok(freeEnd < slowEnd - WAIT_S * 1000, `${freeEnd} and ${slowEnd}`);
  assert.equal(free.count({ status: 429 }), 0);
});

test('a quota holds in every span of time, over all workers', async () => {
  await using registry = await TestRegistry.start();
  const { refs } = fill(registry, { images: 24, blobs: 20 });
  const [requests, periodMs] = [10, 4_000];
  await using farm = await TestFarm.start();
  await farm.client.settings.set(registry.host, { quota: { requests, periodMs } });
  await farm.done(await farm.submit(refs), refs);
  const at = registry.log.select({ method: 'GET', kind: 'manifest' }).map(({ startedAt }) => startedAt);
  assert.equal(at.length, refs.length);
  for (const [i, from] of at.entries()) {
    for (const [n, to] of at.slice(i).entries()) {
      // Charged at one moment and sent at another: 100 ms between them move one request by less than one.
      const allowed = requests + ((to - from + 100) * requests) / periodMs + 1;
      assert.ok(n + 1 <= allowed, `${n + 1} manifests in ${to - from} ms`);
    }
  }
});
