/** The line that a command leaves for those who collect logs. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { countsOf, summariesIn, summaryOn, type SummaryLine } from '../support/batch.ts';
import { keptBytes, newUser, type User } from '../support/cli.ts';
import { leaks, MARKER } from '../support/clients.ts';
import { TestFarm } from '../support/farm.ts';
import { image } from '../support/images.ts';
import { MirrorWorld } from '../support/mirror/world.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const large = image({ layers: [{ raw: randomBytesOf('batch', 5_000_000) }] });
const [layer] = large.layers;
assert.ok(layer);

function add(registry: TestRegistry, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    registry.add(`app${i}`, 'v1', image({ seed: `batch ${i}` }));
    return registry.ref(`app${i}`, 'v1');
  });
}

const fileOf = (user: User): string => join(user.home, 'runs.jsonl');

/** Runs a command with both forms of the summary, and answers what they agree on. */
async function told(user: User, args: readonly string[], code: number, env = {}): Promise<SummaryLine> {
  const before = (await summariesIn(fileOf(user))).length;
  const ended = await user.gantry([...args, '--progress', 'json', '--summary', fileOf(user)], env);
  assert.equal(ended.code, code, ended.stderr);
  const lines = await summariesIn(fileOf(user));
  assert.equal(lines.length, before + 1, 'one line a run, behind those of before');
  const summary = summaryOn(ended);
  assert.deepEqual(lines.at(-1), summary);
  assert.equal(summary.exitCode, code);
  assert.equal(summary.durationMs, Date.parse(summary.time) - Date.parse(summary.started));
  return summary;
}

test('pull, fetch, copy and push tell what they did and what it cost', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start();
  await using user = await newUser();
  const [one = '', two = ''] = add(source, 2);
  const gone = source.ref('gone', 'v1');

  const done = await told(user, ['pull', one, two], 0);
  assert.deepEqual([done.command, done.job, done.state, countsOf(done)], ['pull', 'pull', 'done', '2 done']);
  assert.deepEqual([done.failures, done.run, done.error], [{}, undefined, undefined]);
  assert.ok(done.bytes > 1000 && (done.requests?.['manifestGets'] ?? 0) >= 2, JSON.stringify(done));
  const partial = await told(user, ['pull', '--job', 'nightly', one, gone], 3);
  assert.deepEqual([partial.job, partial.state, countsOf(partial)], ['nightly', 'partial', '1 done, 1 failed']);
  assert.deepEqual([partial.failures, partial.bytes], [{ NOT_FOUND: 1 }, 0]);
  const failed = await told(user, ['fetch', gone], 4);
  assert.deepEqual([failed.command, failed.state, countsOf(failed)], ['fetch', 'failed', '1 failed']);

  const copied = await told(user, ['copy', one, target.ref('a', 'v1')], 0);
  assert.deepEqual([copied.command, countsOf(copied)], ['copy', '1 done']);
  assert.ok(copied.bytes > 1000);
  const equal = await told(user, ['copy', one, target.ref('a', 'v1')], 0);
  assert.deepEqual([countsOf(equal), equal.bytes], ['1 equal', 0]);
  const mounted = await told(user, ['push', one, target.ref('b', 'v1')], 0);
  assert.deepEqual([mounted.command, countsOf(mounted)], ['push', '1 done']);
  assert.ok(mounted.mounted > 0);
  target.fault({ match: { kind: 'put-tag' }, unserved: true, do: faults.status(403) });
  const denied = await told(user, ['push', two, target.ref('c', 'v1')], 5);
  assert.deepEqual([countsOf(denied), denied.failures], ['1 failed', { DENIED: 1 }]);
});

test('a mirror run counts what was equal and what a filter dropped, and is called as its file', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2', 'dev']);
  const rule = world.repository('app', { tags: { deny: ['dev'] } });
  const file = await world.says([rule]);
  const first = await told(world.user, ['mirror', 'run', '-f', file], 0);
  assert.deepEqual([first.command, first.job, countsOf(first)], ['mirror run', 'mirror.yml', '2 done, 1 skipped']);
  assert.deepEqual([first.run, first.requests?.['lists']], [undefined, 1]);
  const second = await told(world.user, ['mirror', 'run', '-f', file], 0);
  assert.deepEqual([countsOf(second), second.bytes], ['2 equal, 1 skipped', 0]);
  const odd = await world.says([rule, world.repository('nope')], {}, 'my mirror.yml');
  const partial = await told(world.user, ['mirror', 'run', '-f', odd], 3);
  assert.deepEqual([partial.job, partial.state], ['my_mirror.yml', 'partial']);
  assert.deepEqual([countsOf(partial), partial.failures], ['2 equal, 1 skipped', { NOT_FOUND: 1 }]);
});

test('a run on a farm tells its id, also to those who watch', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using world = await MirrorWorld.start();
  const env = { GANTRY_REDIS: farm.redis.url };
  const refs = add(world.source, 2);
  const gone = world.source.ref('gone', 'v1');
  const pulled = await told(world.user, ['pull', ...refs, gone, '--redis'], 3, env);
  assert.deepEqual([pulled.command, pulled.state, countsOf(pulled)], ['pull', 'partial', '2 done, 1 failed']);
  assert.ok(pulled.bytes > 1000);
  assert.equal(pulled.requests, undefined, 'the workers made them');
  const run = pulled.run ?? '';
  assert.equal((await farm.client.run(run)).images.total, 3);

  const watched = await world.user.gantry(['runs', 'watch', '--progress', 'json', run], env);
  const seen = summaryOn(watched);
  assert.deepEqual([watched.code, seen.command, seen.run, seen.exitCode], [3, 'runs watch', run, 3]);
  assert.deepEqual([seen.images, seen.failures, seen.bytes], [pulled.images, pulled.failures, pulled.bytes]);
  const { createdAt, endedAt } = await farm.client.run(run);
  assert.equal(Date.parse(seen.started), createdAt, 'the run began before it was watched');
  assert.equal(Date.parse(seen.time), endedAt);

  world.add('app', ['1']);
  const file = await world.says([world.repository('app')]);
  const mirrored = await told(world.user, ['mirror', 'run', '-f', file, '--redis'], 0, env);
  assert.deepEqual([mirrored.command, countsOf(mirrored)], ['mirror run', '1 done']);
  assert.equal((await farm.client.run(mirrored.run ?? '')).state, 'done');
});

/** Starts a pull that stands still in the middle of a layer, stops it, and answers its summary. */
async function stopped(user: User, registry: TestRegistry, args: readonly string[], code: number, env = {}) {
  registry.add('large', 'v1', large);
  const gate = Promise.withResolvers<void>();
  registry.fault({ match: { object: layer?.digest ?? '' }, do: faults.holdBody(3_000_000, gate.promise) });
  const own = ['pull', '--progress', 'json', '--summary', fileOf(user), registry.ref('large', 'v1')];
  await using pulling = await user.spawn([...own, ...args], env);
  await registry.waitFor({ object: layer?.digest ?? '', method: 'GET' });
  if (args.length === 0) await keptBytes(user);
  pulling.process.kill(code === 130 ? 'SIGINT' : 'SIGTERM');
  const ended = await pulling.process.done;
  gate.resolve();
  assert.equal(ended.code, code, ended.stderr);
  const summary = summaryOn(ended);
  assert.deepEqual(await summariesIn(fileOf(user)), [summary]);
  return summary;
}

for (const code of [130, 143]) {
  test(`a run that a signal ends with ${code} says so`, async () => {
    await using registry = await TestRegistry.start();
    await using user = await newUser();
    const { state, exitCode, images, failures } = await stopped(user, registry, [], code);
    assert.deepEqual([state, exitCode, images['cancelled'], failures], ['cancelled', code, 1, {}]);
  });
}

test('Ctrl-C cancels a run on a farm, and the summary tells which', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using registry = await TestRegistry.start();
  await using user = await newUser();
  const env = { GANTRY_REDIS: farm.redis.url };
  const { state, exitCode, run = '' } = await stopped(user, registry, ['--redis'], 130, env);
  assert.deepEqual([state, exitCode], ['cancelled', 130]);
  assert.equal((await farm.client.run(run)).state, 'cancelled');
});

test('a run that comes to nothing tells why; one that was not understood tells nothing', async () => {
  await using user = await newUser();
  const redis = `redis://:${MARKER}@127.0.0.1:1`;
  const args = ['pull', 'localhost:1/x:1', '--redis'];
  const { state, images, failures, error } = await told(user, args, 1, { GANTRY_REDIS: redis });
  assert.deepEqual([state, images['total'], failures, error?.['code']], ['failed', 0, { NETWORK: 1 }, 'NETWORK']);
  assert.ok(!leaks(JSON.stringify(error)), JSON.stringify(error));
  const nowhere = await told(user, ['mirror', 'run', '-f', join(user.home, 'nowhere.yml')], 4);
  assert.deepEqual([nowhere.job, nowhere.failures], ['nowhere.yml', { NOT_FOUND: 1 }]);

  const file = join(user.home, 'none.jsonl');
  await writeFile(join(user.home, 'bad.yml'), 'version: 1\nsink: []\n');
  for (const bad of [
    ['pull', 'not a reference'],
    ['pull', '--nonsense', 'localhost:1/x:1'],
    ['pull', '--concurrency', 'many', 'localhost:1/x:1'],
    ['mirror', 'run', '-f', join(user.home, 'bad.yml')],
    ['push', 'x', 'not a reference'],
  ]) {
    const { code, stderr } = await user.gantry([...bad, '--progress', 'json', '--summary', file]);
    assert.equal(code, 2, stderr);
    assert.doesNotMatch(stderr, /summary"/, bad.join(' '));
  }
  assert.deepEqual(await summariesIn(file), []);
  for (const none of [
    ['pull', 'localhost:1/x:1', '--detach', '--redis', 'redis://127.0.0.1:1'],
    ['mirror', 'run', '--dry-run', '-f', join(user.home, 'nowhere.yml')],
  ]) {
    const { code, stderr } = await user.gantry([...none, '--progress', 'json']);
    assert.notEqual(code, 0);
    assert.doesNotMatch(stderr, /summary"/, none.join(' '));
  }
});

test('lines of runs that end at the same time do not mix', async () => {
  await using registry = await TestRegistry.start();
  await using user = await newUser();
  const [ref = ''] = add(registry, 1);
  const jobs = Array.from({ length: 6 }, (_, i) => `job-${i}`);
  const runs = jobs.map((job) => user.gantry(['fetch', '-q', ref, '--job', job, '--summary', fileOf(user)]));
  for (const { code, stderr } of await Promise.all(runs)) assert.equal(code, 0, stderr);
  const lines = await summariesIn(fileOf(user));
  assert.deepEqual(lines.map(({ job }) => job).toSorted(), jobs);
});
