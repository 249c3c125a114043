/** docs/batch.md: what it has to copy works. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { batchMetrics } from '../../src/metrics/batch-metrics.ts';
import { newUser } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { runOk } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const text = await readFile(new URL('../../docs/batch.md', import.meta.url), 'utf8');

/** The block of code that has this in it. */
function block(language: string, part: string): string {
  const blocks = [...text.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(([, code = '']) => code);
  const found = blocks.filter((code) => code.includes(part));
  assert.equal(found.length, 1, `one ${language} block with ${part}`);
  return found[0] ?? '';
}

/** A night's run that failed three nights in a row, and one that goes well. */
const TESTS = `
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'gantry_batch_last_success_timestamp_seconds{batch="old",command="pull"}'
        values: '0x1900'
      - series: 'gantry_batch_last_success_timestamp_seconds{batch="fresh",command="pull"}'
        values: '0+60x1900'
      - series: 'gantry_batch_failures{batch="old",command="pull",code="NETWORK"}'
        values: '2x1900'
      - series: 'gantry_batch_failures{batch="old",command="pull",code="TIMEOUT"}'
        values: '0x1900'
      - series: 'gantry_batch_exit_code{batch="old",command="pull"}'
        values: '3x1900'
    alert_rule_test:
      - eval_time: 25h
        alertname: GantryBatchStale
      - eval_time: 30h
        alertname: GantryBatchStale
        exp_alerts:
          - exp_labels: { severity: warning, batch: old, command: pull }
            exp_annotations: { summary: 'old (pull) last went well 1d 6h 0m 0s ago' }
      - eval_time: 30h
        alertname: GantryBatchFailed
        exp_alerts:
          - exp_labels: { severity: info, batch: old, command: pull, code: NETWORK }
            exp_annotations: { summary: 'old: 2 times NETWORK' }
`;

test('the alerts are good, and tell of what is stale and what failed', async () => {
  await using dir = await tempDir();
  const rules = block('yaml', 'GantryBatchStale');
  await writeFile(dir.join('rules.yml'), rules);
  await writeFile(dir.join('tests.yml'), TESTS);
  await runOk('promtool', ['check', 'rules', 'rules.yml'], { cwd: dir.path });
  await runOk('promtool', ['test', 'rules', 'tests.yml'], { cwd: dir.path });
  await writeFile(dir.join('prometheus.yml'), block('yaml', 'scrape_configs'));
  await runOk('promtool', ['check', 'config', 'prometheus.yml'], { cwd: dir.path });
  const run = { batch: 'x', command: 'pull', images: {}, failures: new Map(), bytes: 0, durationMs: 0, exitCode: 0 };
  const { body } = await batchMetrics({ ...run, endedAt: new Date() }, '');
  const used = rules.match(/gantry_batch_\w+/g) ?? [];
  assert.ok(used.length >= 3);
  for (const name of used) assert.ok(body.includes(`# TYPE ${name} `), name);
});

test('the questions to a log are answered', async () => {
  await using registry = await TestRegistry.start();
  await using user = await newUser();
  registry.add('app', 'v1', image({ seed: 'docs' }));
  const file = `${user.home}/runs.jsonl`;
  const refs = ['v1', 'gone'].map((tag) => registry.ref('app', tag));
  await user.gantry(['pull', '-q', ...refs, '--job', 'one', '--summary', file]);
  await user.gantry(['pull', '-q', refs[0] ?? '', '--job', 'two', '--summary', file]);
  const script = block('sh', 'group_by').replaceAll('/var/log/gantry/runs.jsonl', file);
  const { code, stdout, stderr } = await user.sh(`set -e\n${script}`);
  assert.equal(code, 0, stderr);
  const [failed = '', ...jobs] = stdout.trim().split('\n');
  const { state, failures, error }: Record<string, unknown> = JSON.parse(failed);
  assert.deepEqual([state, failures, error], ['partial', { NOT_FOUND: 1 }, null]);
  assert.deepEqual(
    jobs.map((line) => line.split('\t').slice(0, 2)),
    [
      ['one', '1'],
      ['two', '1'],
    ],
  );
});
