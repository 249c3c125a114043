import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mirrorMetrics } from '../../../src/metrics/mirror-metrics.ts';
import { samplesOf } from './support.ts';

const rule = (name: string, isSuccess: boolean) => ({ rule: name, images: { equal: 2 }, bytes: 10, isSuccess });
const success = (name: string): string => `gantry_mirror_last_success_timestamp_seconds{mirror="m.yml",rule="${name}"}`;

test('a rule that fails keeps the time of its last success, through any number of runs', async () => {
  const common = { mirror: 'm.yml', durationMs: 1500 };
  const rules = [rule('sync.0', true), rule('sync.1', true)];
  const first = await mirrorMetrics({ ...common, endedAt: new Date(100_000), rules }, '');
  const failing = [rule('sync.0', true), rule('sync.1', false), rule('sync.2', false)];
  const second = await mirrorMetrics({ ...common, endedAt: new Date(200_000), rules: failing }, first.body);
  const third = await mirrorMetrics({ ...common, endedAt: new Date(300_000), rules: failing }, second.body);
  const samples = samplesOf(third.body);
  assert.equal(samples.get(success('sync.0')), 300);
  assert.equal(samples.get(success('sync.1')), 100);
  assert.equal(samples.has(success('sync.2')), false, 'it never was as it should be');
  assert.equal(samples.get('gantry_mirror_duration_seconds{mirror="m.yml"}'), 1.5);
  const other = await mirrorMetrics({ ...common, mirror: 'o.yml', endedAt: new Date(1), rules: failing }, third.body);
  assert.equal(samplesOf(other.body).has(success('sync.1').replace('m.yml', 'o.yml')), false, 'another file');
});
