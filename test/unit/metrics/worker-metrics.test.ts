import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_POLICY } from '../../../src/errors.ts';
import { LabelCap, MAX_NAMES } from '../../../src/metrics/label-cap.ts';
import { WorkerMetrics } from '../../../src/metrics/worker-metrics.ts';
import { busyWorker, type Samples, samplesOf, useAll } from './support.ts';

const read = async (metrics: WorkerMetrics): Promise<Samples> => samplesOf((await metrics.text()).body);

test('what the observers are told is what is counted', async () => {
  const metrics = busyWorker();
  const { type } = await metrics.text();
  assert.equal(type, 'text/plain; version=0.0.4; charset=utf-8');
  const samples = await read(metrics);
  const expected = {
    [`gantry_build_info{version="1.2.3",node="${process.versions.node}"}`]: 1,
    'gantry_http_requests_total{registry="docker.io",method="GET",code="200"}': 1,
    'gantry_http_requests_total{registry="docker.io",method="GET",code="error"}': 1,
    'gantry_http_request_duration_seconds_count{registry="docker.io"}': 2,
    'gantry_http_request_duration_seconds_sum{registry="docker.io"}': 3.2,
    'gantry_transfer_bytes_total{registry="docker.io",direction="in"}': 1000,
    'gantry_retries_total{registry="docker.io",reason="DIGEST_MISMATCH"}': 1,
    'gantry_rate_limit_limit{registry="docker.io"}': 100,
    'gantry_rate_limit_remaining{registry="docker.io"}': 42,
    'gantry_stalls_total{registry="docker.io"}': 1,
    gantry_digest_mismatches_total: 2,
    'gantry_tickets_in_flight{lane="docker.io"}': 1,
    'gantry_tickets_total{lane="docker.io",phase="visit",outcome="done"}': 1,
    'gantry_ticket_duration_seconds_sum{phase="visit"}': 1.5,
    gantry_lease_wait_seconds_sum: 0.3,
    'gantry_transfers_total{registry="docker.io"}': 1,
    'gantry_transfer_duration_seconds_sum{registry="docker.io"}': 2,
    'gantry_content_stored_bytes_total{registry="docker.io"}': 900,
    'gantry_content_present_total{registry="docker.io"}': 1,
    'gantry_failures_total{code="DIGEST_MISMATCH",origin="source"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
  assert.ok((samples.get('process_resident_memory_bytes') ?? 0) > 0);
  assert.ok(samples.has('nodejs_eventloop_lag_p99_seconds'));
});

test('two in one process do not share counts', async () => {
  busyWorker();
  assert.equal((await read(new WorkerMetrics({ version: '1' }))).get('gantry_digest_mismatches_total'), 0);
});

test('every failure that there may be is counted from the start, so that a rate sees the first', async () => {
  const failures = [...(await read(new WorkerMetrics({ version: '1' })))].filter(([name]) =>
    name.startsWith('gantry_failures_'),
  );
  assert.ok(failures.every(([, count]) => count === 0));
  assert.equal(failures.length, Object.keys(ERROR_POLICY).length * 5);
});

test('a number that is none neither throws nor spoils what was counted', async () => {
  const metrics = busyWorker();
  const before = await read(metrics);
  for (const wrong of [NaN, -1, Infinity]) {
    metrics.bytes('docker.io', 'in', wrong);
    metrics.leaseWaited(wrong);
    metrics.transferred('docker.io', wrong, wrong);
  }
  metrics.rateLimit('docker.io', NaN, NaN);
  const after = await read(metrics);
  for (const name of [
    'gantry_transfer_bytes_total{registry="docker.io",direction="in"}',
    'gantry_lease_wait_seconds_sum',
    'gantry_transfer_duration_seconds_sum{registry="docker.io"}',
    'gantry_rate_limit_remaining{registry="docker.io"}',
  ]) {
    assert.equal(after.get(name), before.get(name), name);
  }
});

test('the 201st registry is another one of many, and tickets in flight come out even', async () => {
  const metrics = new WorkerMetrics({ version: '1' });
  for (let i = 0; i < 203; i += 1) metrics.started(`r${i}.example`);
  for (let i = 0; i < 202; i += 1) metrics.ended(`r${i}.example`, 'visit', 'done', 0);
  metrics.rateLimit('r202.example', 100, 1);
  metrics.stall('r202.example');
  const samples = await read(metrics);
  assert.equal([...samples.keys()].filter((name) => name.startsWith('gantry_tickets_in_flight')).length, 201);
  assert.equal(samples.get('gantry_tickets_in_flight{lane="r199.example"}'), 0);
  assert.equal(samples.get('gantry_tickets_in_flight{lane="other"}'), 1);
  assert.equal(samples.get('gantry_stalls_total{registry="other"}'), 1);
  assert.equal(samples.has('gantry_rate_limit_limit{registry="other"}'), false);
});

test('a thousand registries make no more time series than those that the cap lets through', async () => {
  const metrics = new WorkerMetrics({ version: '1' });
  const use = (from: number, to: number): void => {
    for (let i = from; i < to; i += 1) useAll(metrics, `r${i}.example`);
  };
  const own = async (): Promise<number> =>
    [...(await read(metrics)).keys()].filter((name) => name.startsWith('gantry_')).length;
  use(0, MAX_NAMES + 1);
  const full = await own();
  use(MAX_NAMES + 1, 1_000);
  assert.equal(await own(), full);
});

test('a status that does not exist is no label', async () => {
  const metrics = new WorkerMetrics({ version: '1' });
  for (const status of [0, 99, 600, 999, NaN]) metrics.request('a.example', 'GET', status, 0);
  const counted = [...(await read(metrics)).keys()].filter((name) => name.startsWith('gantry_http_requests_total'));
  assert.deepEqual(counted, ['gantry_http_requests_total{registry="a.example",method="GET",code="other"}']);
});

test('a name that was known before the cap was reached stays known', () => {
  const cap = new LabelCap(2);
  assert.deepEqual(
    ['a', 'b', 'c', 'a', 'c'].map((name) => cap.of(name)),
    ['a', 'b', 'other', 'a', 'other'],
  );
});
