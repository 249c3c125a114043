/** Every file of examples/ does what its comment says, with registries of the test in the place of the public ones. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { image, multiPlatform } from '../support/images.ts';
import { MirrorWorld, outcomesOf } from '../support/mirror/world.ts';
import type { TestRegistry } from '../support/registry.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');

/** What each of them leaves at the target: `repository: tags`. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'one-image.yml': ['mirror/redis: 7.4.1'],
  'platforms.yml': ['mirror/debian: 12'],
  'prune.yml': ['mirror/alpine: 3.19 3.20 edge latest'],
  'registry.yml': ['copies/team/app: 1.0', 'copies/team/signed: 1.0 and its signature'],
  'repository.yml': ['mirror/redis: 7.2.4 7.4.0 7.4.1'],
  'schedule.yml': ['hourly/alpine: latest', 'nightly/redis: 7.4.0 7.4.1 7.4.1-alpine'],
  'several-targets.yml': ['backup/alpine: 3.19 3.20 latest', 'mirror/alpine: 3.19 3.20 latest'],
  'signatures.yml': ['team/signed: 1.0 and its signature'],
};

/** What is no mirror file. */
const PULL_THROUGH = 'pull-through.yml';

/** What docker.io and others would have. */
function fill(registry: TestRegistry): void {
  const repositories = {
    'library/redis': ['6.2.1', '7.0.0', '7.2.4', '7.4.0', '7.4.1', '7.4.1-alpine', '8.0.0-rc1', 'latest'],
    'library/alpine': ['3.19', '3.20', 'latest', 'edge'],
    'team/app': ['1.0', 'dev-7'],
    'team/cache': ['1'],
    'team/signed': ['1.0'],
    'other/app': ['1.0'],
  };
  for (const [repo, tags] of Object.entries(repositories)) {
    for (const tag of tags) registry.add(repo, tag, image({ seed: `${repo}:${tag}` }));
  }
  registry.add('library/debian', '12', multiPlatform({ platforms: ['linux/amd64', 'linux/arm64', 'linux/s390x'] }));
  const signed = registry.stored.get('team/signed')?.tags.get('1.0') ?? '';
  const [, hex = ''] = signed.split(':');
  registry.add('team/signed', `sha256-${hex}.sig`, image({ seed: 'signature' }));
}

/** Tags that are made of a digest go by the name of what they are. */
const shown = (tag: string): string => (/^sha256-\w{64}\.sig$/.test(tag) ? 'and its signature' : tag);

const held = (registry: TestRegistry): string[] =>
  registry.stored
    .names()
    .map((name) => `${name}: ${[...(registry.stored.get(name)?.tags.keys() ?? [])].map(shown).toSorted().join(' ')}`)
    .toSorted();

test('there is a test for every example', async () => {
  assert.deepEqual((await readdir(EXAMPLES)).toSorted(), [...Object.keys(EXPECTED), PULL_THROUGH].toSorted());
});

test(`examples/${PULL_THROUGH}`, async () => {
  await using world = await MirrorWorld.start();
  fill(world.source);
  const args = ['server', '--store', world.user.store, '--pull-through', join(EXAMPLES, PULL_THROUGH), '--port', '0'];
  await using server = await world.user.spawn(args, { SOURCE: world.source.host });
  const [, url = ''] = await server.process.waitForOutput(/listens on http:\/\/(\S+)/);
  const pull = (name: string) => world.user.gantry(['pull', '-q', '--store', world.path('other'), `${url}/${name}`]);
  const own = world.source.host.replace(':', '_');
  for (const name of ['library/redis:7.4.1', `${own}/team/app:1.0`]) assert.equal((await pull(name)).code, 0, name);
  for (const name of ['other/app:1.0', `${own}/other/app:1.0`]) assert.equal((await pull(name)).code, 4, name);
});

for (const [name, expected] of Object.entries(EXPECTED)) {
  test(`examples/${name}`, async () => {
    await using world = await MirrorWorld.start();
    fill(world.source);
    const env = { SOURCE: world.source.host, TARGET: world.target.host };
    const file = join(EXAMPLES, name);
    const mirror = (...args: readonly string[]) => world.user.gantry(['mirror', ...args], env);
    const report = world.path('report.json');
    assert.equal((await world.user.gantry(['config', 'validate', file])).code, 0, 'it is good without variables, too');
    const check = await mirror('check', '-f', file);
    assert.equal(check.code, 8, check.stderr);
    assert.doesNotMatch(check.stderr, /warning/);
    const run = await mirror('run', '-f', file);
    assert.equal(run.code, 0, run.stderr);
    assert.deepEqual(held(world.target), expected);
    assert.deepEqual(world.target.violations, []);
    const again = await mirror('run', '-f', file, '--report', report);
    assert.equal(again.code, 0, again.stderr);
    const done = outcomesOf(await world.json('report.json')).filter(
      (line) => !/ (?:equal|immutable|skipped)$/.test(line),
    );
    assert.deepEqual(done, [], 'the second run has nothing to do');
  });
}
