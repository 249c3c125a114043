/** `gantry mirror run --redis`: the workers copy, and what is told is as if this process had. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestFarm, until } from '../support/farm.ts';
import { image, multiPlatform } from '../support/images.ts';
import { MirrorWorld, outcomesOf } from '../support/mirror/world.ts';
import { faults } from '../support/registry.ts';

test('a mirror by a farm: copied, then equal, and the failures of each', async () => {
  await using farm = await TestFarm.start({ workers: 2 });
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2', '3']);
  const file = await world.says([world.repository('app'), world.repository('nope')]);
  const failing = world.source.fault({ match: { kind: 'manifest', object: '3' }, do: faults.status(403) });
  const report = world.path('report.json');
  const run = ['run', '-f', file, '--report', report, '--redis', farm.redis.url];
  const first = await world.mirror(...run);
  assert.equal(first.code, 3, first.stderr);
  assert.match(first.stderr, /^gantry: sync\.0: \S+\/app:3 -> \S+: /m);
  assert.match(first.stderr, /^gantry: sync\.1: \S+ answered 404/m);
  const document = await world.json('report.json');
  assert.deepEqual(outcomesOf(document), ['1 copied', '2 copied', '3 failed']);
  const [stored] = await farm.client.runs({ signal: AbortSignal.timeout(10_000) });
  assert.equal(document['run'], stored?.id, 'the run by which gantry runs knows it');
  assert.deepEqual(stored?.labels, { mirror: 'mirror.yml', rules: '2' });
  failing.remove();
  const again = await world.mirror('run', '--retry-failed', report, '-f', await world.says([world.repository('app')]));
  assert.equal(again.code, 0, again.stderr);
  world.clear();
  const second = await world.mirror(...run);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['1 equal', '2 equal', '3 equal']);
  assert.equal(world.source.count({ kind: 'manifest', method: 'GET' }), 0);
  world.assertMirrored('app');
  assert.deepEqual(world.target.violations, []);
});

test('--detach prints the run and does not wait; what could not be listed is told all the same', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const file = await world.says([world.repository('app'), world.repository('nope')]);
  const { code, stdout, stderr } = await world.mirror('run', '-f', file, '--detach', '--redis', farm.redis.url);
  assert.equal(code, 3, stderr);
  assert.match(stderr, /^gantry: sync\.1: \S+ answered 404/m);
  const run = /^r\w+$/m.exec(stdout)?.[0] ?? '';
  await until('the run has ended', async () => (await farm.client.run(run)).state === 'done');
  world.assertMirrored('app');
  const refused = await world.mirror('run', '-f', file, '--concurrency=2', '--redis', farm.redis.url);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /--concurrency does not go with --redis/);
});

test('a tag that moves while it is read, and whose old index is gone, is resolved once more by a farm, too', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using world = await MirrorWorld.start();
  const before = multiPlatform({ seed: 'before' });
  world.add('app', ['1']);
  world.target.add('app', '2', image({ seed: 'old' })); // so that the source is asked by HEAD
  world.source.add('app', '2', before);
  const moves = faults.afterwards(() => {
    world.source.stored.removeManifest('app', before.desc.digest);
    world.add('app', ['2']);
  });
  world.source.fault({ match: { method: 'HEAD', object: '2' }, times: 1, do: moves });
  const file = await world.says([world.repository('app', { platforms: ['linux/amd64'], index: 'strip' })]);
  const { code, stderr } = await world.mirror('run', '-f', file, '--redis', farm.redis.url);
  assert.equal(code, 0, stderr);
  world.assertMirrored('app');
});
