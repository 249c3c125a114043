/** What a run leaves for the textfile collector of node_exporter. */
import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { summariesIn } from '../support/batch.ts';
import { newUser } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { MirrorWorld } from '../support/mirror/world.ts';
import { run, type Running, start } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';
import { samplesOf } from '../unit/metrics/support.ts';

/** What promtool finds wrong; nothing where all is well. */
async function promtool(input: string): Promise<string> {
  const { stdout, stderr } = await run('promtool', ['check', 'metrics'], { input });
  return stdout + stderr;
}

test('a pull writes its metrics, which promtool takes and other users can read', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', image({ seed: 'textfile' }));
  await using user = await newUser();
  const file = join(user.home, 'pull.prom');
  const pull = (...refs: string[]) =>
    user.sh(`umask 077; exec gantry pull -q --job nightly --metrics-textfile "${file}" ${refs.join(' ')}`);
  const [good, bad] = [registry.ref('app', 'v1'), registry.ref('app', 'gone')];
  assert.equal((await pull(good)).code, 0);
  assert.equal((await stat(file)).mode & 0o777, 0o644);
  const text = await readFile(file, 'utf8');
  assert.equal(await promtool(text), '');
  const own = '{batch="nightly",command="pull"}';
  const success = samplesOf(text).get(`gantry_batch_last_success_timestamp_seconds${own}`);
  assert.ok(success !== undefined && success > 1_700_000_000);
  assert.equal((await pull(good, bad)).code, 3);
  const after = samplesOf(await readFile(file, 'utf8'));
  assert.equal(after.get(`gantry_batch_last_success_timestamp_seconds${own}`), success);
  assert.equal(after.get('gantry_batch_images{batch="nightly",command="pull",outcome="failed"}'), 1);
  assert.equal(after.get('gantry_batch_failures{batch="nightly",command="pull",code="NOT_FOUND"}'), 1);
  assert.equal(after.get(`gantry_batch_exit_code${own}`), 3);
  assert.deepEqual(await readdir(user.home), ['pull.prom'], 'nothing is left beside it');
});

test('a mirror run writes those of its rules and those of the run', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const file = await world.says([world.repository('app'), world.repository('nope')]);
  const prom = world.path('mirror.prom');
  for (const code of [3, 3]) {
    assert.equal((await world.mirror('run', '-q', '-f', file, '--metrics-textfile', prom)).code, code);
  }
  const text = await readFile(prom, 'utf8');
  assert.equal(await promtool(text), '');
  const samples = samplesOf(text);
  assert.equal(samples.get('gantry_mirror_images{mirror="mirror.yml",rule="sync.0",outcome="equal"}'), 1);
  assert.equal(samples.get('gantry_batch_images{batch="mirror.yml",command="mirror run",outcome="equal"}'), 1);
  assert.ok(samples.has('gantry_mirror_last_success_timestamp_seconds{mirror="mirror.yml",rule="sync.0"}'));
  assert.ok(!samples.has('gantry_mirror_last_success_timestamp_seconds{mirror="mirror.yml",rule="sync.1"}'));
  assert.ok(!text.includes('gantry_batch_last_success'), 'not all of it was ever well');

  const down = ['--redis', 'redis://127.0.0.1:1'];
  assert.equal((await world.mirror('run', '-q', '-f', file, '--metrics-textfile', prom, ...down)).code, 1);
  const after = await readFile(prom, 'utf8');
  assert.equal(await promtool(after), '');
  const kept = [...samplesOf(after)].filter(([name]) => name.startsWith('gantry_mirror_'));
  assert.deepEqual(
    kept,
    [...samples].filter(([name]) => name.startsWith('gantry_mirror_')),
  );
  assert.equal(samplesOf(after).get('gantry_batch_exit_code{batch="mirror.yml",command="mirror run"}'), 1);
});

/** Writes a large text again and again: each says whose it is at both ends. */
const WRITER = `
  import { writeTextfile } from '${join(import.meta.dirname, '../../src/app/batch/textfile.ts')}';
  const [path, name] = process.argv.slice(1);
  for (let i = 0; ; i += 1) {
    const body = '<' + name + i + '>\\n' + 'x'.repeat(300_000) + '\\n</' + name + i + '>\\n';
    await writeTextfile(path, async () => body);
    if (i === 0) console.log('first');
  }
`;
const isWhole = (text: string): boolean => /^<(\w+)>\nx{300000}\n<\/\1>\n$/.test(text);

test('a reader never finds a part of a file or none, with two writers and after they are killed', async () => {
  await using dir = await tempDir();
  const path = dir.join('run.prom');
  const seen = new Set<string>();
  for (let round = 0; round < 4; round += 1) {
    const writers: Running[] = ['a', 'b'].map((name) =>
      start(process.execPath, ['--input-type=module', '-e', WRITER, path, `${name}${round}n`]),
    );
    await using _ends = {
      [Symbol.asyncDispose]: async () => void (await Promise.all(writers.map((w) => w[Symbol.asyncDispose]()))),
    };
    await Promise.all(writers.map((writer) => writer.waitForOutput(/first/)));
    for (let i = 0; i < 150; i += 1) {
      const text = await readFile(path, 'utf8');
      assert.ok(isWhole(text), `${text.length} characters: ${text.slice(0, 20)}`);
      seen.add(text.slice(0, 2));
    }
    for (const writer of writers) writer.kill('SIGKILL');
    await Promise.all(writers.map(({ done }) => done));
    assert.ok(isWhole(await readFile(path, 'utf8')));
  }
  assert.deepEqual([...seen].toSorted(), ['<a', '<b'], 'both have written');
  const left = (await readdir(dir.path)).filter((name) => name !== 'run.prom');
  assert.ok(
    left.every((name) => name.startsWith('.') && !name.endsWith('.prom')),
    'the collector passes over what a kill has left',
  );
});

test('a file that cannot be written is refused before anything is asked of a registry', async () => {
  await using registry = await TestRegistry.start();
  await using user = await newUser();
  for (const [flag, path] of [
    ['--metrics-textfile', user.home],
    ['--summary', join(user.home, 'nowhere/x.jsonl')],
  ] as const) {
    const { code, stderr } = await user.gantry(['pull', registry.ref('app', 'v1'), flag, path]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, new RegExp(`^gantry: cannot write ${path}: .+\n$`));
  }
  assert.equal(registry.log.entries.length, 0);
});

test('a file that turns out not to take what is written is a warning, and the exit code stays', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', image({ seed: 'full' }));
  await using user = await newUser();
  const full = ['--metrics-textfile', '/dev/full', '--summary', '/dev/full'];
  const summary = join(user.home, 'runs.jsonl');
  for (const [tag, expected] of [
    ['v1', 0],
    ['gone', 4],
  ] as const) {
    const { code, stderr } = await user.gantry(['pull', '-q', registry.ref('app', tag), ...full]);
    assert.equal(code, expected, stderr);
    assert.match(stderr, /^gantry: warning: the metrics were not written: cannot write \/dev\/full: .*ENOSPC/m);
    assert.match(stderr, /^gantry: warning: the summary was not written: cannot write \/dev\/full: .*ENOSPC/m);
  }
  const mixed = ['--metrics-textfile', '/dev/full', '--summary', summary];
  assert.equal((await user.gantry(['pull', '-q', registry.ref('app', 'v1'), ...mixed])).code, 0);
  assert.equal((await summariesIn(summary)).length, 1, 'one that fails does not keep the other back');
});

test('flags that do not fit are told before anything is done', async () => {
  await using user = await newUser();
  const [a, b] = ['localhost:1/a:1', 'localhost:1/b:1'];
  for (const [args, expected] of [
    [['pull', a, '--job', 'no spaces'], /Say a name of letters/],
    [['pull', a, '--job', ''], /Say a name of letters/],
    [['pull', a, '--summary', '-'], /--summary wants a file \(--progress json writes/],
    [['copy', '-n', a, b, '--summary', 'x'], /--summary does not go with --dry-run/],
    [['copy', '-n', a, b, '--pushgateway', 'http://x:1'], /--pushgateway does not go with --dry-run/],
    [
      ['pull', a, '--detach', '--metrics-textfile', 'x', '--redis', 'redis://x'],
      /--metrics-textfile does not go with --detach/,
    ],
    [['mirror', 'run', '--detach', '--summary', 'x', '--redis', 'redis://x'], /--summary does not go with --detach/],
  ] as const) {
    const { code, stderr } = await user.gantry(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, expected);
  }
});
