/** `gantry mirror check`: what would change and why, and what it costs to find out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MirrorWorld, outcomesOf, requestsOf } from '../support/mirror/world.ts';

test('check tells missing, changed and equal with HEADs alone, and exits with 8 until all is equal', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1.0', '1.1']);
  const file = await world.says([world.repository('app')]);
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  const [changed] = world.add('app', ['1.1'], 'changed');
  world.add('app', ['1.2']);
  world.clear();
  const { code, stdout } = await world.mirror('check', '-f', file);
  assert.equal(code, 8);
  assert.match(stdout, /^ {2}3 images: 1 missing, 1 changed, 1 equal$/m);
  assert.match(stdout, /^ {4}missing +1\.2$/m);
  const short = changed?.desc.digest.slice(0, 19);
  assert.match(stdout, new RegExp(`^ {4}changed +1\\.1 +sha256:\\w{12} -> ${short}$`, 'm'));
  assert.doesNotMatch(stdout, /1\.0/);
  assert.match((await world.mirror('check', '-f', file, '-v')).stdout, /^ {4}equal +1\.0$/m);
  assert.deepEqual(requestsOf(world.source), { 'GET tags': 2, 'HEAD manifest': 6 });
  assert.deepEqual(requestsOf(world.target), { 'HEAD manifest': 6 });
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  assert.equal((await world.mirror('check', '-f', file, '-q')).code, 0);
});

test('check says by which filter each tag was dropped', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1.0.0', '1.1.0', '1.2.0', '2.0.0', '2.0.0-rc1', 'latest']);
  const tags = { semverRange: ['>=1.1.0'], deny: ['.*-rc.*'], latest: 2 };
  const file = await world.says([world.repository('app', { tags })]);
  const { stdout } = await world.mirror('check', '-f', file);
  assert.match(stdout, /^ {2}6 tags: semverRange leaves 4, deny 3, latest 2$/m);
  assert.match(stdout, /^ {4}dropped +latest +semverRange: it is no version$/m);
  assert.match(stdout, /^ {4}dropped +1\.1\.0 +latest: it is not among the newest 2 by version$/m);
  const json = await world.mirror('check', '-f', file, '--format', 'json');
  const report: Record<string, unknown> = JSON.parse(json.stdout);
  const { source } = world;
  const skipped = ['1.0.0', '1.1.0', '2.0.0-rc1', 'latest'].map((tag) => `${source.host}/app:${tag} skipped`);
  assert.deepEqual(outcomesOf(report), ['1.2.0 missing', '2.0.0 missing', ...skipped].toSorted());
  const lines = await world.mirror('check', '-f', file, '--format', 'jsonl');
  assert.equal(lines.stdout.trim().split('\n').length, 6);
});

test('a registry is listed, and its repositories are filtered by name', async () => {
  await using world = await MirrorWorld.start({ source: { pageSize: 2 } });
  for (const repo of ['team/a', 'team/b', 'other/c', 'team/secret']) world.add(repo, ['1']);
  const rule = {
    type: 'registry',
    source: world.source.host,
    target: `${world.target.host}/copies`,
    repos: { allow: ['team/.*'], deny: ['team/secret'] },
  };
  const file = await world.says([rule]);
  const { code, stdout } = await world.mirror('check', '-f', file);
  assert.equal(code, 8);
  assert.match(stdout, /^ {2}2 repositories, repos left out 2; 2 tags$/m);
  assert.match(stdout, /copies\/team\/a:1$/m);
  assert.equal(world.source.count({ kind: 'catalog' }), 2);
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  assert.deepEqual(world.target.stored.names().toSorted(), ['copies/team/a', 'copies/team/b']);
});

test('a registry that does not list its repositories: the error says what to do', async () => {
  await using world = await MirrorWorld.start({ source: { catalog: false } });
  const rule = { type: 'registry', source: world.source.host, target: world.target.host };
  const { code, stderr } = await world.mirror('check', '-f', await world.says([rule]));
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^gantry: sync\.0: .*404 for the repositories of .* \(few public registries .* type: repository\)$/m,
  );
});

test('a repository that several rules use is listed once', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2']);
  const targets = ['a', 'b', 'c'].map((name) => ({ target: `${world.target.host}/${name}` }));
  const file = await world.says(targets.map((more) => world.repository('app', more)));
  assert.equal((await world.mirror('check', '-f', file)).code, 8);
  assert.deepEqual(requestsOf(world.source), { 'GET tags': 1, 'HEAD manifest': 2 });
});

test('a file that is wrong is told as it is, before any request', async () => {
  await using world = await MirrorWorld.start();
  const file = await world.says([world.repository('app', { type: 'repo' })]);
  const { code, stderr } = await world.mirror('check', '-f', file);
  assert.equal(code, 2);
  assert.match(stderr, /mirror\.yml:1:\d+: sync\.0\.type: /);
  assert.deepEqual([world.source.count(), world.target.count()], [0, 0]);
  assert.equal((await world.mirror('check', '-f', world.path('gone.yml'))).code, 4);
});
