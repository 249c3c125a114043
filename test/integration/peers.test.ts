/** Other tools read what gantry writes, and gantry keeps what they write. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image } from '../support/images.ts';
import { indexedNames } from '../support/kills.ts';
import { run, runOk, type RunResult } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const app = image({ seed: 'app', layers: [10_000, 200_000] });

/** The newest of these are no Debian packages; where they are on PATH they are tried, too. */
const onPath = async (program: string): Promise<boolean> =>
  (await run('sh', ['-c', `command -v ${program}`])).code === 0;

const skopeoCopy = (from: string, to: string): Promise<RunResult> =>
  runOk('skopeo', ['--insecure-policy', 'copy', '--src-tls-verify=false', from, to]);

async function skopeoInspect(user: User, name: string): Promise<{ Digest: string; Layers: string[] }> {
  const { stdout } = await runOk('skopeo', ['inspect', `oci:${user.store}:${name}`]);
  const found: { Digest: string; Layers: string[] } = JSON.parse(stdout);
  return found;
}

const namesOf = async (user: User): Promise<string[]> =>
  (await user.gantry(['images', '-q'])).stdout.trim().split('\n').toSorted();

async function pulled(registry: TestRegistry): Promise<{ user: User; ref: string }> {
  registry.add('team/app', 'v1', app);
  const user = await newUser();
  const ref = registry.ref('team/app', 'v1');
  assert.equal((await user.gantry(['pull', '-q', ref])).code, 0);
  return { user, ref };
}

test('skopeo inspects and copies what gantry pulled', async () => {
  await using registry = await TestRegistry.start();
  const { user, ref } = await pulled(registry);
  await using _user = user;
  const inspected = await skopeoInspect(user, ref);
  assert.equal(inspected.Digest, app.desc.digest);
  assert.deepEqual(
    inspected.Layers,
    app.layers.map(({ digest }) => digest),
  );
  await using out = await tempDir();
  await skopeoCopy(`oci:${user.store}:${ref}`, `dir:${out.path}`);
  assert.deepEqual(await readFile(out.join('manifest.json')), app.manifest);
});

test('umoci lists, describes and unpacks what gantry pulled', async () => {
  await using registry = await TestRegistry.start();
  const { user, ref } = await pulled(registry);
  await using _user = user;
  assert.equal((await runOk('umoci', ['ls', '--layout', user.store])).stdout, `${ref}\n`);
  const { stdout } = await runOk('umoci', ['stat', '--image', `${user.store}:${ref}`]);
  for (const { digest } of app.layers) assert.ok(stdout.includes(digest));
  await using out = await tempDir();
  await runOk('umoci', ['unpack', '--rootless', '--image', `${user.store}:${ref}`, out.join('bundle')]);
  assert.equal((await stat(out.join('bundle', 'rootfs', 'layer-1', 'data'))).size, 200_000);
});

test('gantry lists, inspects and keeps what skopeo wrote into the same store', async () => {
  await using registry = await TestRegistry.start();
  const { user, ref } = await pulled(registry);
  await using _user = user;
  const theirs = image({ seed: 'theirs', layers: [2000] });
  registry.add('theirs', 'v1', theirs);
  registry.add('own', 'v2', image({ seed: 'second', layers: [3000] }));
  await skopeoCopy(`docker://${registry.ref('theirs', 'v1')}`, `oci:${user.store}:docker.io/library/theirs:v1`);
  await skopeoCopy(`docker://${registry.ref('theirs', 'v1')}`, `oci:${user.store}:plain`);
  const named = [ref, 'docker.io/library/theirs:v1', 'plain'].toSorted();
  assert.deepEqual(await namesOf(user), named);
  assert.match((await user.gantry(['images'])).stdout, new RegExp(`^plain +\\S+ +${theirs.desc.digest} +\\d`, 'm'));
  const inspected = await user.gantry(['inspect', 'theirs:v1']);
  assert.match(inspected.stdout, new RegExp(`^digest +${theirs.desc.digest}$`, 'm'));
  assert.match(inspected.stdout, /^from +store$/m);

  const second = registry.ref('own', 'v2');
  assert.equal((await user.gantry(['pull', '-q', second])).code, 0);
  const collected = await user.gantry(['gc']);
  assert.deepEqual([collected.code, collected.stdout], [0, ''], 'nothing was in nobody’s use');
  assert.deepEqual(await namesOf(user), [...named, second].toSorted());
  assert.deepEqual(await indexedNames(user), [...named, second].toSorted());
  assert.equal((await skopeoInspect(user, 'plain')).Digest, theirs.desc.digest);
  assert.equal((await user.gantry(['verify'])).code, 0);
  assert.equal((await user.gantry(['images', 'rm', 'plain'])).code, 0);
  assert.deepEqual(await indexedNames(user), [...named, second].filter((name) => name !== 'plain').toSorted());
});

test('a Docker-typed image is kept byte for byte', async () => {
  await using registry = await TestRegistry.start();
  const docker = image({ mediaTypes: 'docker', layers: [1000, 2000] });
  registry.add('app', 'v1', docker);
  await using user = await newUser();
  const ref = registry.ref('app', 'v1');
  assert.equal((await user.gantry(['pull', '-q', ref])).code, 0);
  const file = join(user.store, 'blobs', docker.desc.digest.replace(':', '/'));
  assert.deepEqual(await readFile(file), docker.manifest);
  assert.equal((await user.gantry(['verify'])).code, 0);
});

test('crane and oras, where they are installed, read what gantry pulled', async () => {
  await using registry = await TestRegistry.start();
  const { user } = await pulled(registry);
  await using _user = user;
  if (await onPath('oras')) {
    const { stdout } = await runOk('oras', ['manifest', 'fetch', '--oci-layout', `${user.store}@${app.desc.digest}`]);
    assert.equal(stdout.trim(), app.manifest.toString());
  }
  if (await onPath('crane')) {
    await using target = await DockerRegistry.start();
    await runOk('crane', ['push', '--insecure', user.store, `${target.host}/copy:v1`]);
    assert.equal((await user.gantry(['digest', `${target.host}/copy:v1`])).stdout, `${app.desc.digest}\n`);
  }
  assert.equal((await user.gantry(['verify'])).code, 0);
});
