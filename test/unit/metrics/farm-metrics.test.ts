import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isCode } from '../../../src/errors.ts';
import { boundedLanes } from '../../../src/metrics/farm-gauges.ts';
import { farmMetrics } from '../../../src/metrics/farm-metrics.ts';
import { MAX_ACTIVE_RUNS } from '../../../src/metrics/run-gauges.ts';
import { busyFarm, farm, lane, never, run, type Samples, samplesOf, type View } from './support.ts';

const read = async (view: View): Promise<Samples> => samplesOf((await farmMetrics(view, { signal: never })).body);

test('the state of a farm', async () => {
  const samples = await read(busyFarm());
  const expected = {
    'gantry_queue_tickets{lane="docker.io",state="waiting"}': 3,
    'gantry_queue_tickets{lane="docker.io",state="active"}': 2,
    'gantry_queue_tickets{lane="docker.io",state="delayed"}': 1,
    'gantry_queue_oldest_ticket_age_seconds{lane="quay.io"}': 0,
    'gantry_lane_workers{lane="docker.io"}': 1,
    'gantry_lane_paused{lane="docker.io"}': 1,
    'gantry_lane_paused{lane="ghcr.io"}': 0,
    'gantry_lane_blocked_seconds{lane="ghcr.io"}': 0,
    gantry_lanes_without_worker: 1,
    'gantry_lane_quota_limit{lane="docker.io"}': 100,
    'gantry_lane_quota_remaining{lane="docker.io"}': 7,
    'gantry_runs{state="running"}': 2,
    'gantry_runs{state="done"}': 1,
    'gantry_runs{state="cancelled"}': 1,
    'gantry_run_images{state="open"}': 4,
    'gantry_run_images{state="done"}': 7,
    'gantry_run_images{state="failed"}': 1,
    'gantry_run_images{state="waiting"}': 3,
    gantry_workers: 2,
    gantry_worker_slots: 12,
    gantry_worker_slots_busy: 6,
    'gantry_active_run_images{run="r2",state="waiting"}': 3,
    'gantry_active_run_images{run="r2",state="failed"}': 1,
    'gantry_active_run_images{run="r1",state="done"}': 5,
    'gantry_active_run_nodes{run="r2",state="open"}': 27,
    'gantry_active_run_nodes{run="r2",state="skipped"}': 2,
    'gantry_active_run_bytes_total{run="r2"}': 4000,
    'gantry_active_run_failed_images{run="r2",code="NOT_FOUND"}': 1,
    'gantry_active_run_remaining_seconds{run="r2"}': 9,
    gantry_redis_memory_used_bytes: 3_000_000,
    gantry_redis_memory_limit_bytes: 0,
    gantry_redis_memory_machine_bytes: 8_000_000_000,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
  assert.equal(samples.has('gantry_lane_quota_limit{lane="ghcr.io"}'), false);
  assert.equal([...samples.keys()].filter((name) => name.includes('code="not a code"')).length, 0);
  const within = (name: string, from: number, to: number): void => {
    const value = samples.get(name) ?? NaN;
    assert.ok(value >= from && value <= to, `${name} ${value}`);
  };
  within('gantry_queue_oldest_ticket_age_seconds{lane="docker.io"}', 90, 100);
  within('gantry_lane_blocked_seconds{lane="docker.io"}', 50, 60);
});

test('clocks that differ make no negative ages, and a block that is over is none', async () => {
  const ahead = lane('a.example', { oldestAt: Date.now() + 60_000, blockedUntil: Date.now() - 60_000 });
  const samples = await read(farm([ahead]));
  assert.equal(samples.get('gantry_queue_oldest_ticket_age_seconds{lane="a.example"}'), 0);
  assert.equal(samples.get('gantry_lane_blocked_seconds{lane="a.example"}'), 0);
});

test('what is beyond the cap is one lane, in which nothing is lost', () => {
  const lanes = ['d', 'b', 'c', 'a'].map((name) => lane(name, { workers: name === 'c' ? 0 : 2, oldestAt: undefined }));
  assert.equal(boundedLanes(lanes, 4), lanes);
  const [a, b, other, ...more] = boundedLanes(lanes, 2);
  assert.deepEqual([a?.name, b?.name, other?.name, more], ['a', 'b', 'other', []]);
  assert.deepEqual(other?.tickets, { waiting: 6, active: 4, delayed: 2 });
  assert.deepEqual([other?.workers, other?.oldestAt], [0, undefined]);
  assert.equal(boundedLanes(lanes, 3).at(-1)?.name, 'other');
});

test('the oldest of all is the oldest of those beyond the cap', () => {
  const at = (name: string, oldestAt: number | undefined) => lane(name, { oldestAt });
  const oldest = (...ages: (number | undefined)[]) =>
    boundedLanes(
      ages.map((age, i) => at(String(i), age)),
      0,
    ).at(0)?.oldestAt;
  assert.deepEqual([oldest(5, undefined, 3), oldest(undefined, 4), oldest(2, 9)], [3, 4, 2]);
});

test('a run has values of its own while it goes on and is among the newest', async () => {
  const runs = Array.from({ length: 1000 }, (_, i) => run(i % 2 === 0 ? 'running' : 'done', {}, `r${1000 - i}`));
  const samples = await read(farm([], runs));
  const told = new Set([...samples.keys()].flatMap((name) => /\brun="(\w+)"/.exec(name)?.[1] ?? []));
  assert.deepEqual(
    [...told],
    Array.from({ length: MAX_ACTIVE_RUNS }, (_, i) => `r${1000 - 2 * i}`),
  );
  assert.equal(samples.has('gantry_active_run_remaining_seconds{run="r1000"}'), false, 'nothing to go by');
  assert.equal(samples.get('gantry_run_images{state="open"}'), 2000, 'the others are counted all the same');
});

test('a farm is read once a second, however many ask', async () => {
  const view = busyFarm();
  await Promise.all([read(view), read(view), read(view)]);
  await read(view);
  assert.equal(view.readings, 1);
  for (const deadline = performance.now() + 10_000; view.readings < 2 && performance.now() < deadline;) {
    await pause(50);
    await read(view);
  }
  assert.equal(view.readings, 2);
});

test('a failure is told, and not kept', async () => {
  let failing = true;
  const view: View = {
    ...farm(),
    lanes: async () => {
      if (failing) throw new Error('Redis is away');
      return [];
    },
  };
  await assert.rejects(read(view), /Redis is away/);
  failing = false;
  assert.equal((await read(view)).get('gantry_workers'), 0);
});

test('a farm that does not answer is given up after five seconds, and told so', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let told: AbortSignal | undefined;
  const view: View = {
    ...farm(),
    lanes: ({ signal }) => {
      told = signal;
      return new Promise(() => {});
    },
  };
  const reading = read(view);
  t.mock.timers.tick(4999);
  assert.equal(told?.aborted, false);
  t.mock.timers.tick(1);
  await assert.rejects(reading, (err) => isCode(err, 'TIMEOUT') && err.hint !== undefined);
  assert.equal(told?.aborted, true);
});

test('a caller that gives up leaves the others alone', async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const view: View = {
    ...farm(),
    lanes: async () => {
      await gate;
      return [lane('a.example')];
    },
  };
  const impatient = new AbortController();
  const first = farmMetrics(view, { signal: impatient.signal });
  const second = read(view);
  impatient.abort(new Error('gave up'));
  await assert.rejects(first, /gave up/);
  open();
  assert.equal((await second).get('gantry_lane_workers{lane="a.example"}'), 1);
});
