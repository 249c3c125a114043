import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { batchMetrics } from '../../../src/metrics/batch-metrics.ts';
import { farmMetrics } from '../../../src/metrics/farm-metrics.ts';
import { mirrorMetrics } from '../../../src/metrics/mirror-metrics.ts';
import { ProcessMetrics } from '../../../src/metrics/process-metrics.ts';
import { RegistryMetrics } from '../../../src/metrics/server-metrics.ts';
import { storeMetrics } from '../../../src/metrics/store-metrics.ts';
import { busyFarm, busyServe, busyWorker, callClient, never, samplesOf } from './support.ts';

/** `gantry_runs gauge state`, the labels in the order in which they are sent. */
type Metric = string;

const text = await readFile(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');

function documented(heading: string): Metric[] {
  const [section = ''] = text.slice(text.indexOf(`\n## ${heading}\n`) + 1).split(/\n## (?!#)/, 1);
  const rows = section.matchAll(/^\| `(?<name>gantry_\w+)` +\| (?<type>\w+) +\| (?<labels>.*?) +\| \S/gm);
  return [...rows].map(({ groups }) => [groups?.['name'], groups?.['type'], groups?.['labels']].join(' ').trim());
}

/** Of an exposition in which each metric has a sample. */
function exposed(body: string): Metric[] {
  const samples = [...samplesOf(body).keys()];
  const types = body.matchAll(/^# TYPE (?<name>gantry_\w+) (?<type>\w+)$/gm);
  return [...types].map(({ groups: { name = '', type = '' } = {} }) => {
    const own = new RegExp(`^${name}${type === 'histogram' ? '_count' : ''}(\\{|$)`);
    const sample = samples.find((sample) => own.test(sample));
    assert.ok(sample !== undefined, `${name} has no sample: call what sets it in support.ts`);
    const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label);
    return `${name} ${type} ${labels.join(', ')}`.trim();
  });
}

const sorted = (metrics: readonly Metric[]): Metric[] => metrics.toSorted();

test('docs/metrics.md lists the metrics of a worker, with their types and labels', async () => {
  const own = ['Every process', 'A client of registries', 'A worker'].flatMap(documented);
  assert.deepEqual(sorted(exposed((await busyWorker().text()).body)), sorted(own));
});

test('docs/metrics.md lists the metrics of a process', async () => {
  const { body } = await new ProcessMetrics({ version: '1' }).text();
  assert.deepEqual(exposed(body), documented('Every process'));
});

test('docs/metrics.md lists the metrics of the farm', async () => {
  const { body } = await farmMetrics(busyFarm(), { signal: never });
  assert.deepEqual(sorted(exposed(body)), sorted(documented('The farm')));
});

test('docs/metrics.md lists the metrics of the disk of a store', async () => {
  const { body } = await storeMetrics({ store: 'id', free: 1, size: 2 });
  assert.deepEqual(exposed(body), documented('The disk of a store'));
});

test('docs/metrics.md lists the metrics of the registry', async () => {
  const metrics = new RegistryMetrics();
  metrics.answered('blob', 'hit');
  metrics.sent(1);
  assert.deepEqual(exposed((await metrics.text()).body), documented('The registry'));
  callClient(metrics.client());
  const own = [...documented('The registry'), ...documented('A client of registries')];
  assert.deepEqual(sorted(exposed((await metrics.text()).body)), sorted(own));
});

test('docs/metrics.md lists the metrics of a served mirror', async () => {
  const own = [...documented('Every process'), ...documented('A served mirror')];
  assert.deepEqual(sorted(exposed((await busyServe().text()).body)), sorted(own));
});

test('docs/metrics.md lists the metrics of a mirror run', async () => {
  const rules = [{ rule: 'sync.0', images: { copied: 1 }, bytes: 1, isSuccess: true }];
  const { body } = await mirrorMetrics({ mirror: 'm.yml', endedAt: new Date(0), durationMs: 1, rules }, '');
  assert.deepEqual(sorted(exposed(body)), sorted(documented('A mirror run')));
});

test('docs/metrics.md lists the metrics of a one-shot run', async () => {
  const run = { batch: 'x', command: 'pull', images: { done: 1 }, failures: new Map(), bytes: 1, durationMs: 1 };
  const { body } = await batchMetrics({ ...run, exitCode: 0, endedAt: new Date(0) }, '');
  assert.deepEqual(sorted(exposed(body)), sorted(documented('A one-shot run')));
});

test('every metric in a query of docs/metrics.md exists', async () => {
  const known = new Set([...text.matchAll(/^\| `(gantry_\w+)`/gm)].map(([, name]) => name));
  const used = [...text.matchAll(/```promql\n(.*?)\n```/gs)].flatMap(
    ([, query = '']) => query.match(/gantry_\w+/g) ?? [],
  );
  assert.ok(used.length > 10);
  assert.deepEqual(
    used.filter((name) => !known.has(name.replace(/_(?:bucket|sum|count)$/, ''))),
    [],
  );
});
