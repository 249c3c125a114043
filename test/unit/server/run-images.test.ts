import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError, isCode } from '../../../src/errors.ts';
import type { ImageOutcome, ImageReader, RunReader, RunStatus } from '../../../src/flow/farm-status.ts';
import { RunImages, type RunImagesBounds } from '../../../src/server/api/run-images.ts';
import { never } from '../../support/clients.ts';
import { run } from '../metrics/support.ts';

const PAGE = 1000;
const DEFAULTS = { offset: 0, limit: 100 };

const outcome = (index: number, what: Partial<ImageOutcome> = {}): ImageOutcome => ({
  index,
  state: 'done',
  digest: `sha256:${index}`,
  mediaType: 'manifest',
  error: undefined,
  endedAt: index,
  bytes: 10,
  tookMs: 5,
  ...what,
});

const failed = (index: number, message = 'gone'): ImageOutcome =>
  outcome(index, { state: 'failed', error: { code: 'NOT_FOUND', origin: 'source', message } });

/** Runs in memory, that count what is read of them. */
class Runs implements RunReader, ImageReader {
  readonly results = new Map<string, ImageOutcome[]>();
  readonly read = { names: 0, outcomes: 0 };
  images = 3;
  status: Partial<RunStatus> = {};
  isAway = false;

  async run(id: string): Promise<RunStatus> {
    return { ...run('running', { total: this.images, fed: this.images - 1 }, id), ...this.status };
  }

  async waitReasons(): Promise<readonly string[]> {
    return [];
  }

  async *names(id: string): AsyncGenerator<readonly string[]> {
    for (let from = 0; from < this.images; from += PAGE) {
      if (this.isAway) throw new GantryError('NETWORK', 'no answer');
      this.read.names += 1;
      yield Array.from({ length: Math.min(PAGE, this.images - from) }, (_, i) => `Host/${id}:t${from + i}`);
    }
  }

  async outcomes(id: string, place = '0') {
    const all = this.results.get(id) ?? [];
    const outcomes = all.slice(Number(place), Number(place) + PAGE);
    this.read.outcomes += outcomes.length;
    const end = Number(place) + outcomes.length;
    return { outcomes, place: String(end), isAll: end === all.length };
  }
}

const over = (runs: Runs, bounds?: RunImagesBounds): RunImages => new RunImages(runs, runs, { signal: never }, bounds);

test('images have the states of the run and of their ends, and come in the order of the request', async () => {
  const runs = new Runs();
  runs.images = 4;
  runs.results.set('r', [failed(2, 'no such tag'), outcome(0)]);
  const images = over(runs);
  const page = await images.page('r', DEFAULTS);
  assert.deepEqual(
    page.images.map(({ name, state, digest, error }) => [name, state, digest, error?.message]),
    [
      ['Host/r:t0', 'done', 'sha256:0', undefined],
      ['Host/r:t1', 'open', null, undefined],
      ['Host/r:t2', 'failed', 'sha256:2', 'no such tag'],
      ['Host/r:t3', 'waiting', null, undefined],
    ],
  );
  runs.status = { state: 'cancelled' };
  const states = (await images.page('r', DEFAULTS)).images.map(({ state }) => state);
  assert.deepEqual(states, ['done', 'cancelled', 'failed', 'cancelled']);
});

test('a filter and a page go together, and the total is that of the filter', async () => {
  const runs = new Runs();
  runs.images = 20_000;
  runs.results.set(
    'r',
    Array.from({ length: 20_000 }, (_, i) => (i % 100 === 0 ? failed(i) : outcome(i))),
  );
  const images = over(runs);
  const some = await images.page('r', { offset: 150, limit: 10, state: 'failed' });
  assert.deepEqual(
    [some.total, some.images.map(({ index }) => index)],
    [200, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => 15_000 + 100 * i)],
  );
  assert.equal((await images.page('r', { ...DEFAULTS, q: 'host/R:T1999' })).total, 11);
  assert.equal((await images.page('r', { ...DEFAULTS, code: 'NOT_FOUND', q: 't100' })).total, 3);
  assert.equal((await images.page('r', { ...DEFAULTS, code: 'TIMEOUT' })).total, 0);
  assert.deepEqual((await images.page('r', { ...DEFAULTS, offset: 30_000 })).images, []);
});

test('names are read once, and results from where they were left', async () => {
  const runs = new Runs();
  runs.images = 3000;
  const results = Array.from({ length: 1500 }, (_, i) => outcome(i));
  runs.results.set('r', results);
  const images = over(runs);
  await Promise.all([images.page('r', DEFAULTS), images.page('r', DEFAULTS), images.failures('r')]);
  assert.deepEqual(runs.read, { names: 3, outcomes: 1500 });
  results.push(failed(1500));
  assert.equal((await images.page('r', { ...DEFAULTS, state: 'failed' })).total, 1);
  assert.equal((await images.failures('r'))[0]?.count, 1);
  assert.deepEqual(runs.read, { names: 3, outcomes: 1501 });
});

test('an end that is told twice counts once', async () => {
  const runs = new Runs();
  runs.results.set('r', [failed(1), failed(1)]);
  const images = over(runs);
  assert.deepEqual(
    (await images.failures('r')).map(({ code, count, examples }) => [code, count, examples.length]),
    [['NOT_FOUND', 1, 1]],
  );
});

test('memory is bounded: what was not asked for the longest goes, what is asked for stays', async () => {
  const runs = new Runs();
  runs.images = 1000;
  const images = over(runs, { images: 2500, text: 1 << 20 });
  for (const id of ['r1', 'r2', 'r1', 'r3']) await images.page(id, DEFAULTS);
  assert.deepEqual(images.size, { runs: 2, images: 2000 });
  const before = runs.read.names;
  await images.page('r1', DEFAULTS);
  assert.equal(runs.read.names, before, 'it was kept');
  await images.page('r2', DEFAULTS);
  assert.equal(runs.read.names, before + 1, 'it was not');
  runs.images = 3000;
  assert.equal((await images.page('large', DEFAULTS)).total, 3000);
  assert.deepEqual(images.size, { runs: 1, images: 3000 });
});

test('long messages count, too', async () => {
  const runs = new Runs();
  runs.images = 100;
  for (const id of ['r1', 'r2'])
    runs.results.set(
      id,
      Array.from({ length: 100 }, (_, i) => failed(i, 'x'.repeat(2000))),
    );
  const images = over(runs, { images: 200_000, text: 300_000 });
  await images.page('r1', DEFAULTS);
  await images.page('r2', DEFAULTS);
  assert.equal(images.size.runs, 1);
});

test('after an outage in the middle it is read anew', async () => {
  const runs = new Runs();
  runs.images = 3000;
  const images = over(runs);
  runs.isAway = true;
  await assert.rejects(images.page('r', DEFAULTS), (err) => isCode(err, 'NETWORK'));
  runs.isAway = false;
  assert.equal((await images.page('r', DEFAULTS)).total, 3000);
});
