/** Rules that Prometheus accepts, alerts that fire when they should and at no other time, and somebody to tell what to do then. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runOk } from '../support/process.ts';

const ROOT = join(import.meta.dirname, '../..');

const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

/** All matches of the first group. */
const all = (pattern: RegExp, text: string): string[] => [...text.matchAll(pattern)].map(([, found = '']) => found);

async function textOf(...patterns: readonly string[]): Promise<string> {
  const texts: string[] = [];
  for await (const path of glob([...patterns], { cwd: ROOT })) texts.push(await read(path));
  return texts.join('\n');
}

const alertsOf = async (): Promise<string[]> => all(/alert: (\w+)/g, await read('prometheus/rules.yml')).toSorted();

test('Prometheus accepts its configuration and rules, and the cases of the alerts come out as they say', async () => {
  await runOk('promtool', ['check', 'config', 'prometheus/prometheus.yml'], { cwd: ROOT });
  await runOk('promtool', ['check', 'rules', 'prometheus/rules.yml'], { cwd: ROOT });
  await runOk('promtool', ['test', 'rules', 'prometheus/rules.test.yml'], { cwd: ROOT });
});

test('each alert has a case in which it fires, and one in which it does not', async () => {
  const text = await read('prometheus/rules.test.yml');
  const of = (pattern: RegExp): string[] => [...new Set(all(pattern, text))].toSorted();
  const alerts = await alertsOf();
  assert.deepEqual(of(/alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n/g), alerts);
  assert.deepEqual(of(/alertname: (\w+)\n +eval_time: \w+\n +exp_alerts: \[\]\n/g), alerts);
});

test('each alert says how bad it is, and leads to what to do', async () => {
  const rules = (await read('prometheus/rules.yml')).split(/(?= {6}- (?:alert|record): )/).slice(1);
  const alerts = rules.filter((rule) => rule.includes('- alert: '));
  assert.ok(alerts.length > 15);
  for (const alert of alerts) {
    const [name = ''] = all(/alert: (\w+)/g, alert);
    assert.match(alert, /labels: \{ severity: (?:warning|critical) \}/, name);
    assert.match(alert, /^ {10}summary: \S/m, name);
    assert.match(alert, /^ {10}description: \S/m, name);
    assert.match(alert, new RegExp(`runbook_url: docs/operations\\.md#${name.toLowerCase()}$`, 'm'));
  }
  const [, runbooks = ''] = (await read('docs/operations.md')).split('\n## When an alert fires\n');
  assert.deepEqual(all(/^### (\w+)$/gm, runbooks).toSorted(), await alertsOf(), 'headings of docs/operations.md');
});

test('every metric that dashboards, rules and documentation name exists', async () => {
  const real = new Set(all(/'(gantry_\w+)'/g, await textOf('src/metrics/**/*.ts')));
  const recorded = all(/record: (\S+)/g, await read('prometheus/rules.yml'));
  const docs = ['docs/farm-containers.md', 'docs/operations.md', 'docs/server.md', 'docs/metrics.md'];
  const users = await textOf('grafana/**/*.{json,yml}', 'prometheus/*.yml', ...docs);
  const used = all(/((?:\b\w+:)?\bgantry_\w+(?::\w+)?)/g, users).filter((name) => !name.endsWith('_'));
  assert.ok(used.length > 200);
  const isThere = (name: string): boolean =>
    name.includes(':')
      ? recorded.includes(name)
      : real.has(name) || real.has(name.replace(/_(?:bucket|sum|count)$/, ''));
  assert.deepEqual(
    [...new Set(used)].filter((name) => !isThere(name)),
    [],
  );
  for (const name of recorded) assert.ok(used.filter((each) => each === name).length > 1, `nobody uses ${name}`);
});
