/** Archives as sources and targets of copies. skopeo, umoci and tar are the judges of what is written. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { digestOf } from '../../src/oci/digest.ts';
import { bytesOf, readLocation } from '../support/archives.ts';
import { firstLayer } from '../support/clients.ts';
import { newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { type Image, image, multiPlatform } from '../support/images.ts';
import { runOk, type RunResult } from '../support/process.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const base = { entries: [{ name: 'base', body: 'what several images share' }] };
const app = image({ seed: 'app', layers: [base, 10_000, 300_000] });
const web = image({ seed: 'web', layers: [base, 20_000] });
const docker = image({ seed: 'docker', mediaTypes: 'docker', layers: [base, 3000] });
const many = multiPlatform({ seed: 'many', layers: [base, 5000] });

const skopeo = (...args: string[]): Promise<RunResult> => runOk('skopeo', ['--insecure-policy', ...args]);
const skopeoCopy = (from: string, to: string, ...flags: string[]): Promise<RunResult> =>
  skopeo('copy', '--src-tls-verify=false', ...flags, from, to);

const digestsOf = ({ desc, config, layers }: Image): string[] =>
  [desc, config, ...layers].map(({ digest }) => digest).toSorted();
const tarNames = async (file: string): Promise<string[]> =>
  (await runOk('tar', ['-tf', file])).stdout.trim().split('\n');
const diffIdsOf = (of: Image): string[] => of.layers.map((layer) => digestOf(gunzipSync(bytesOf(of, layer))));

interface World extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly user: User;
  readonly dir: TempDir;
  readonly ref: (name: string) => string;
  /** `gantry copy`, which must end well. */
  copy(...args: string[]): Promise<void>;
}

async function newWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start());
  const user = stack.use(await newUser());
  const dir = stack.use(await tempDir('gantry-archive-'));
  registry.add('team/app', 'v1', app);
  registry.add('team/web', 'v1', web);
  registry.add('team/docker', 'v1', docker);
  registry.add('team/many', 'v1', many);
  const all = stack.move();
  return {
    registry,
    user,
    dir,
    ref: (name) => registry.ref(`team/${name}`, 'v1'),
    async copy(...args) {
      const { code, stderr } = await user.gantry(['copy', '-q', ...args]);
      assert.deepEqual([code, stderr], [0, '']);
    },
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

for (const transport of ['oci', 'oci-archive'] as const) {
  test(`what skopeo writes to ${transport}: is read, every byte of it`, async () => {
    await using world = await newWorld();
    const place = `${transport}:${world.dir.join('x')}`;
    await skopeoCopy(`docker://${world.ref('app')}`, `${place}:docker.io/library/app:v1`);
    const { root, digests } = await readLocation(`${place}:docker.io/library/app:v1`);
    assert.deepEqual([root.digest, digests.toSorted()], [app.desc.digest, digestsOf(app)]);
    assert.equal((await readLocation(place)).root.digest, app.desc.digest, 'the only one');
    assert.equal((await readLocation(`${place}:app:v1`)).root.digest, app.desc.digest, 'a short name');
    assert.equal((await readLocation(`${place}@${app.desc.digest}`)).root.digest, app.desc.digest);
  });

  test(`what goes to ${transport}: is read by skopeo, every digest the same`, async () => {
    await using world = await newWorld();
    const place = `${transport}:${world.dir.join('x')}`;
    await world.copy(world.ref('app'), `${place}:docker.io/library/app:v1`);
    await mkdir(world.dir.join('out'));
    await skopeoCopy(`${place}:docker.io/library/app:v1`, `dir:${world.dir.join('out')}`);
    const files = (await readdir(world.dir.join('out'))).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const blobs = [app.config, ...app.layers].map(({ digest }) => digest.slice(7));
    assert.deepEqual(files.toSorted(), blobs.toSorted());
    assert.deepEqual(await readFile(world.dir.join('out', 'manifest.json')), app.manifest);
    assert.deepEqual((await readLocation(place)).digests.toSorted(), digestsOf(app));
  });

  test(`an index goes to ${transport}: and back with all that is below it`, async () => {
    await using world = await newWorld();
    const place = `${transport}:${world.dir.join('x')}`;
    await world.copy('-a', world.ref('many'), place);
    await using second = await DockerRegistry.start();
    await world.copy('-a', place, `${second.host}/far/many:v1`);
    const { stdout } = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${second.host}/far/many:v1`);
    assert.equal(stdout, many.manifest.toString());
    const names = transport === 'oci-archive' ? await tarNames(world.dir.join('x')) : [];
    assert.equal(new Set(names).size, names.length);
    const read = transport === 'oci' ? 'cat "$0/index.json"' : 'tar -xOf "$0" index.json';
    const index: { manifests: unknown[] } = JSON.parse((await runOk('sh', ['-c', read, world.dir.join('x')])).stdout);
    assert.equal(index.manifests.length, 1, 'what is below the index is not listed');
    const { stdout: all } = await skopeo('inspect', '--raw', `${place}:${world.ref('many')}`);
    assert.equal(all, many.manifest.toString(), 'it is listed under the name it had');
  });
}

test('umoci unpacks what goes to oci:, and what others have there stays', async () => {
  await using world = await newWorld();
  const place = world.dir.join('layout');
  await skopeoCopy(`docker://${world.ref('web')}`, `oci:${place}:theirs`);
  await world.copy(world.ref('app'), `oci:${place}:v1`);
  await world.copy(world.ref('web'), `oci:${place}:v1`); // moves the name
  await world.copy(world.ref('app'), `oci:${place}:v2`);
  const { stdout } = await runOk('umoci', ['ls', '--layout', place]);
  assert.deepEqual(stdout.trim().split('\n').toSorted(), ['theirs', 'v1', 'v2']);
  assert.equal((await readLocation(`oci:${place}:v1`)).root.digest, web.desc.digest);
  await runOk('umoci', ['unpack', '--rootless', '--image', `${place}:v2`, world.dir.join('bundle')]);
  assert.equal((await readFile(world.dir.join('bundle/rootfs/base'))).toString(), 'what several images share');
  assert.deepEqual((await readdir(place)).toSorted(), ['blobs', 'index.json', 'oci-layout']);
});

test('an air gap is two copies: several images, and what they share once', async () => {
  await using world = await newWorld();
  const file = world.dir.join('images.tar');
  await world.copy('-a', '--to', `oci-archive:${file}`, world.ref('app'), world.ref('web'), world.ref('many'));
  const names = await tarNames(file);
  const shared = firstLayer(app).digest.replace(':', '/');
  assert.equal(names.filter((name) => name === `blobs/${shared}`).length, 1);
  assert.equal(new Set(names).size, names.length);
  assert.equal(world.registry.count({ object: firstLayer(app).digest, method: 'GET' }), 1);
  await runOk('tar', ['-xf', file, '-C', world.dir.path]); // a layout like any other
  const listed = (await runOk('umoci', ['ls', '--layout', world.dir.path])).stdout.trim().split('\n');
  assert.deepEqual(listed.toSorted(), ['app', 'many', 'web'].map(world.ref));

  await using far = await DockerRegistry.start();
  await world.copy('-a', '--to', `${far.host}/mirror`, `oci-archive:${file}`);
  for (const [name, { desc }] of Object.entries({ app, web, many })) {
    const { stdout } = await world.user.gantry(['digest', `${far.host}/mirror/team/${name}:v1`]);
    assert.equal(stdout, `${desc.digest}\n`);
  }
});

test('what skopeo writes to docker-archive: is read and copied on', async () => {
  await using world = await newWorld();
  const file = world.dir.join('x.tar');
  await skopeoCopy(`docker://${world.ref('docker')}`, `docker-archive:${file}:docker.io/library/docker:v1`);
  const { digests } = await readLocation(`docker-archive:${file}:docker:v1`);
  for (const digest of [docker.config.digest, ...diffIdsOf(docker)]) assert.ok(digests.some((each) => each === digest));
  await using far = await DockerRegistry.start();
  await world.copy(`docker-archive:${file}`, `${far.host}/docker:v1`);
  await mkdir(world.dir.join('out'));
  await skopeoCopy(`docker://${far.host}/docker:v1`, `dir:${world.dir.join('out')}`);
  const manifest: { layers: { digest: string }[] } = JSON.parse(
    await readFile(world.dir.join('out', 'manifest.json'), 'utf8'),
  );
  assert.deepEqual(
    manifest.layers.map(({ digest }) => digest),
    diffIdsOf(docker),
  );
});

test('what goes to docker-archive: is read by skopeo, with the layers unpacked', async () => {
  await using world = await newWorld();
  const file = world.dir.join('x.tar');
  await world.copy('--to', `docker-archive:${file}`, world.ref('app'), world.ref('docker'));
  const names = await tarNames(file);
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.length, 1 + 2 + 4, 'manifest.json, two configs, and four layers, one of which both have');
  assert.equal(names.at(-1), 'manifest.json');
  for (const [name, of] of Object.entries({ app, docker })) {
    const out = world.dir.join(name);
    await mkdir(out);
    await skopeoCopy(`docker-archive:${file}:${world.ref(name)}`, `dir:${out}`);
    const manifest: { config: { digest: string }; layers: { digest: string }[] } = JSON.parse(
      await readFile(`${out}/manifest.json`, 'utf8'),
    );
    assert.equal(manifest.config.digest, of.config.digest);
    assert.deepEqual(
      manifest.layers.map(({ digest }) => digest),
      diffIdsOf(of),
    );
    assert.equal(
      (await readLocation(`docker-archive:${file}:${world.ref(name)}`)).digests.length,
      of.layers.length + 2,
    );
  }
});

test('of an index docker-archive: gets the platform that is wanted, and cannot have all', async () => {
  await using world = await newWorld();
  const file = world.dir.join('x.tar');
  await world.copy('--platform', 'linux/arm64', world.ref('many'), `docker-archive:${file}`);
  const { stdout } = await skopeo('inspect', '--config', `docker-archive:${file}`);
  const config: { architecture: string } = JSON.parse(stdout);
  assert.equal(config.architecture, 'arm64');
  const all = await world.user.gantry(['copy', '-q', '-a', world.ref('many'), `docker-archive:${file}.2`]);
  assert.equal(all.code, 1);
  assert.match(all.stderr, /is an index, and a docker archive holds images of one platform/);
  assert.match(all.stderr, /--platform/);
});

test('an archive with an image that failed is not written, and nothing is left of it', async () => {
  await using world = await newWorld();
  const to = `oci-archive:${world.dir.join('x.tar')}`;
  const { code, stderr } = await world.user.gantry(['copy', '-q', '--to', to, world.ref('app'), world.ref('none')]);
  assert.equal(code, 3);
  assert.match(stderr, new RegExp(`^gantry: ${to} was not written`, 'm'));
  assert.deepEqual(await readdir(world.dir.path), []);
});

test('a blob with wrong bytes is asked for again, and never gets into an archive', async () => {
  await using world = await newWorld();
  const layer = firstLayer(app);
  for (const kind of ['oci-archive', 'docker-archive', 'oci']) {
    using fault = world.registry.fault({
      match: { object: layer.digest, method: 'GET' },
      times: 1,
      do: faults.flip(5),
    });
    await world.copy(world.ref('app'), `${kind}:${world.dir.join(kind)}`);
    assert.equal(fault.hits, 1);
    await readLocation(`${kind}:${world.dir.join(kind)}`);
  }
  const before = await readdir(world.dir.path);
  world.registry.fault({ match: { object: layer.digest, method: 'GET' }, do: faults.flip(5) });
  for (const kind of ['oci-archive', 'docker-archive']) {
    const { code } = await world.user.gantry(['copy', '-q', world.ref('app'), `${kind}:${world.dir.join('bad')}`]);
    assert.equal(code, 6);
  }
  assert.deepEqual(await readdir(world.dir.path), before);
});

for (const kind of ['oci-archive', 'docker-archive']) {
  test(`a signal ends a copy to ${kind}: and leaves nothing`, async () => {
    await using world = await newWorld();
    const layer = firstLayer(app).digest;
    const gate = Promise.withResolvers<void>();
    world.registry.fault({ match: { object: layer, method: 'GET' }, do: faults.hold(gate.promise) });
    await using copying = await world.user.spawn(['copy', world.ref('app'), `${kind}:${world.dir.join('x.tar')}`]);
    await world.registry.waitFor({ object: layer, method: 'GET' });
    copying.process.kill('SIGINT');
    assert.equal((await copying.process.done).code, 130);
    gate.resolve();
    assert.deepEqual(await readdir(world.dir.path), []);
  });

  test(`a disk that takes no more ends a copy to ${kind}: with one line, and leaves nothing`, async () => {
    await using world = await newWorld();
    const script = `ulimit -f 200; gantry copy -q '${world.ref('app')}' '${kind}:${world.dir.join('x.tar')}'`;
    const { code, stderr } = await world.user.sh(script);
    assert.deepEqual([code, stderr.split('\n').length], [1, 3], stderr);
    assert.match(stderr, /cannot write .*x\.tar: EFBIG/);
    assert.deepEqual(await readdir(world.dir.path), []);
  });
}

test('a file that exists stays as it is, unless it is to be replaced', async () => {
  await using world = await newWorld();
  const file = world.dir.join('x.tar');
  await writeFile(file, 'mine');
  for (const kind of ['oci-archive', 'docker-archive', 'oci']) {
    const { code, stderr } = await world.user.gantry(['copy', '-q', world.ref('app'), `${kind}:${file}`]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, kind === 'oci' ? /is a file/ : /exists already/);
  }
  assert.equal(await readFile(file, 'utf8'), 'mine');
  assert.deepEqual(await readdir(world.dir.path), ['x.tar']);
  assert.equal(world.registry.count({ object: firstLayer(app).digest, method: 'GET' }), 0, 'told before any transfer');
  await world.copy('--overwrite', world.ref('app'), `oci-archive:${file}`);
  assert.equal((await readLocation(`oci-archive:${file}`)).root.digest, app.desc.digest);
  assert.deepEqual(await readdir(world.dir.path), ['x.tar']);
});

test('images go from archive to archive', async () => {
  await using world = await newWorld();
  const place = (kind: string, name: string): string => `${kind}:${world.dir.join(name)}`;
  await world.copy(world.ref('docker'), place('docker-archive', '1.tar'));
  await world.copy(place('docker-archive', '1.tar'), place('oci-archive', '2.tar'));
  await world.copy(place('oci-archive', '2.tar'), place('oci-archive', '3.tar'));
  await world.copy(place('oci-archive', '3.tar'), place('oci', 'layout'));
  await world.copy(place('oci', 'layout'), place('docker-archive', '4.tar'));
  const { digests } = await readLocation(place('docker-archive', '1.tar'));
  for (const last of [place('oci', 'layout'), place('docker-archive', '4.tar')]) {
    assert.deepEqual((await readLocation(last)).digests, digests);
  }
});
