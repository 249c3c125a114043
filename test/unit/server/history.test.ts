import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import type { FarmView, RunStatus } from '../../../src/flow/farm-status.ts';
import { History } from '../../../src/server/api/history.ts';
import { never } from '../../support/clients.ts';
import { until } from '../../support/farm.ts';
import { run } from '../metrics/support.ts';

const FAST = { everyMs: 10, keepMs: 100, keepEndedMs: 50 };

class View implements FarmView {
  known: RunStatus[] = [];
  reads = 0;
  isAway = false;

  async runs(): Promise<RunStatus[]> {
    this.reads += 1;
    if (this.isAway) throw new GantryError('NETWORK', 'no answer');
    return this.known;
  }

  async lanes(): Promise<[]> {
    return [];
  }

  async workers(): Promise<[]> {
    return [];
  }
}

const running = (id: string, what: Partial<RunStatus> = {}): RunStatus => ({ ...run('running', {}, id), ...what });

test('a run is sampled: its rate since the last sample, its open nodes, its images', async () => {
  const view = new View();
  view.known = [
    running('r', { createdAt: Date.now(), bytes: 5_000_000, nodes: { known: 10, done: 3, failed: 1, skipped: 1 } }),
  ];
  using history = new History(view, { signal: never }, FAST);
  await until('a sample', () => history.of('r').points.length > 0);
  const [first] = history.of('r').points;
  assert.ok((first?.bytesPerSecond ?? 0) > 0, 'a run that is new has moved all of it lately');
  assert.deepEqual([first?.openNodes, first?.imagesDone], [5, 2]);
  assert.equal(history.of('r').stepMs, 10);
  await until('another', () => history.of('r').points.length > 1);
  const [one] = view.known;
  assert.ok(one);
  await until('a rate of nothing', () => history.rateOf(one) === 0);
  assert.equal(history.rateOf({ ...one, state: 'done' }), null);
  assert.deepEqual(history.of('other').points, []);
  assert.equal(history.rateOf(running('other')), null);
});

test('of a run that is older than the server the first sample tells no rate', async () => {
  const view = new View();
  view.known = [running('r', { createdAt: Date.now() - 60_000, bytes: 5_000_000 })];
  using history = new History(view, { signal: never }, FAST);
  await until('samples', () => history.of('r').points.length > 0);
  assert.ok(history.of('r').points.every(({ bytesPerSecond }) => bytesPerSecond === 0));
});

test('points are kept for a while, and those of a run that has ended for another', async () => {
  const view = new View();
  const one = running('r', { createdAt: Date.now() });
  view.known = [one];
  using history = new History(view, { signal: never }, FAST);
  await until('many samples', () => view.reads > 20);
  assert.ok(history.of('r').points.length <= FAST.keepMs / FAST.everyMs);
  view.known = [{ ...one, state: 'done' }];
  await until('a last sample', () => history.of('r').points.at(-1)?.openNodes === 0);
  await until('it is forgotten', () => history.of('r').points.length === 0);
});

test('no more runs than the newest fifty', async () => {
  const view = new View();
  view.known = Array.from({ length: 60 }, (_, i) => running(`r${i}`, { createdAt: Date.now() }));
  using history = new History(view, { signal: never }, FAST);
  await until('samples', () => history.of('r0').points.length > 1);
  const sampled = view.known.filter(({ id }) => history.of(id).points.length > 0).map(({ id }) => id);
  assert.deepEqual(
    sampled,
    Array.from({ length: 50 }, (_, i) => `r${i}`),
  );
});

test('an outage leaves a gap', async () => {
  const view = new View();
  view.known = [running('r', { createdAt: Date.now() })];
  using history = new History(view, { signal: never }, { ...FAST, keepMs: 10_000, keepEndedMs: 10_000 });
  await until('a sample', () => history.of('r').points.length > 0);
  view.isAway = true;
  const before = view.reads;
  await until('it was asked in vain', () => view.reads > before + 3);
  const kept = history.of('r').points.length;
  view.isAway = false;
  await until('it goes on', () => history.of('r').points.length > kept);
});
