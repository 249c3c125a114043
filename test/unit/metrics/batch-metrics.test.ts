import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_POLICY, type ErrorCode } from '../../../src/errors.ts';
import { batchMetrics, type BatchResult } from '../../../src/metrics/batch-metrics.ts';
import { samplesOf } from './support.ts';

const result = (over: Partial<BatchResult> = {}): BatchResult => ({
  batch: 'nightly',
  command: 'copy',
  images: { done: 2, failed: 0 },
  failures: new Map(),
  bytes: 10,
  durationMs: 1500,
  exitCode: 0,
  endedAt: new Date(100_000),
  ...over,
});

const name = (metric: string): string => `gantry_batch_${metric}{batch="nightly",command="copy"}`;

test('the time of the last success is kept through any number of runs that fail', async () => {
  const failing = { exitCode: 3, images: { done: 1, failed: 1 }, failures: new Map<ErrorCode, number>([['IO', 1]]) };
  const first = await batchMetrics(result(), '');
  const second = await batchMetrics(result({ ...failing, endedAt: new Date(200_000) }), first.body);
  const third = await batchMetrics(result({ ...failing, endedAt: new Date(300_000) }), second.body);
  const samples = samplesOf(third.body);
  assert.equal(samples.get(name('last_success_timestamp_seconds')), 100);
  assert.equal(samples.get(name('last_run_timestamp_seconds')), 300);
  assert.equal(samples.get(name('exit_code')), 3);
  assert.equal(samples.get(name('duration_seconds')), 1.5);
  const fourth = await batchMetrics(result({ endedAt: new Date(400_000) }), third.body);
  assert.equal(samplesOf(fourth.body).get(name('last_success_timestamp_seconds')), 400);
});

test('one that never went well, and one that another has written, have no time of success', async () => {
  const before = (await batchMetrics(result(), '')).body;
  for (const other of [{ batch: 'weekly' }, { command: 'pull' }, { batch: 'night' }]) {
    const { body } = await batchMetrics(result({ ...other, exitCode: 1 }), before);
    assert.doesNotMatch(body, /last_success/, JSON.stringify(other));
  }
  const { body } = await batchMetrics(result({ exitCode: 1 }), `${name('last_success_timestamp_seconds')} soon\n`);
  assert.doesNotMatch(body, /last_success/);
});

test('there is a sample for each code, so that one of a run before does not stay', async () => {
  const { body } = await batchMetrics(result({ failures: new Map([['TIMEOUT', 2]]) }), '');
  const failures = [...samplesOf(body)].filter(([series]) => series.startsWith('gantry_batch_failures'));
  assert.equal(failures.length, Object.keys(ERROR_POLICY).length);
  assert.deepEqual(
    failures.filter(([, value]) => value > 0),
    [['gantry_batch_failures{batch="nightly",command="copy",code="TIMEOUT"}', 2]],
  );
});
