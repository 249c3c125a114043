/** The words of containerd's early dist tool, in a shell as they were used there. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { type Image, image } from '../support/images.ts';
import { faults, TestRegistry } from '../support/registry.ts';

const MANIFEST = 'mediatype:application/vnd.docker.distribution.manifest.v2+json';

const dockerImage = (): Image => image({ mediaTypes: 'docker', layers: [10_000, 200_000, 3000, 50_000, 1_500_000] });

const pipeline = (repo: string): string =>
  `gantry fetch-object ${repo} latest ${MANIFEST} | jq -r '.layers[] | "gantry fetch-object ${repo} "+.digest+" | gantry ingest --expected-digest "+.digest+" --expected-size "+(.size|tostring)+" ${repo}@"+.digest' | xargs -I{} -P10 -n1 sh -c "{}"`;

/** What would be another if a blob was stored again. */
async function fileIdentities(user: User, bundle: Image): Promise<string[]> {
  const paths = bundle.layers.map(({ digest }) => join(user.store, 'blobs', digest.replace(':', '/')));
  return Promise.all(
    paths.map(async (path) => {
      const { ino, mtimeMs, ctimeMs } = await stat(path);
      return `${ino} ${mtimeMs} ${ctimeMs}`;
    }),
  );
}

async function fetchesAndDeletes(repo: string, bundle: Image): Promise<void> {
  await using user = await newUser();
  const first = await user.sh(pipeline(repo));
  assert.deepEqual([first.code, first.stderr], [0, '']);
  const before = await fileIdentities(user, bundle);
  const second = await user.sh(pipeline(repo));
  assert.deepEqual([second.code, second.stderr], [0, '']);
  assert.deepEqual(await fileIdentities(user, bundle), before);
  assert.equal((await user.gantry(['images', '-q'])).stdout, '');
  const listed = (await user.gantry(['list', '-q'])).stdout.trim().split('\n');
  assert.deepEqual(listed.toSorted(), bundle.layers.map(({ digest }) => String(digest)).toSorted());
  const removed = await user.sh('gantry list -q | xargs gantry delete');
  assert.equal(removed.code, 0, removed.stderr);
  assert.equal((await user.gantry(['list', '-q'])).stdout, '');
}

test('fetch-object | ingest, ten at a time and twice over, against the test registry', async () => {
  await using registry = await TestRegistry.start();
  const bundle = dockerImage();
  registry.add('app', 'latest', bundle);
  await fetchesAndDeletes(`${registry.host}/app`, bundle);
});

test('fetch-object | ingest, ten at a time and twice over, against docker-registry', async () => {
  await using registry = await DockerRegistry.start();
  const bundle = dockerImage();
  await registry.push('app', 'latest', bundle);
  await fetchesAndDeletes(`${registry.host}/app`, bundle);
});

test('active shows an ingest with offset, total and age while it runs', async () => {
  await using registry = await TestRegistry.start();
  const bundle = dockerImage();
  registry.add('app', 'latest', bundle);
  const big = bundle.layers[4];
  assert.ok(big);
  const gate = Promise.withResolvers<void>();
  registry.fault({
    match: { kind: 'blob', object: big.digest, method: 'GET' },
    do: faults.holdBody(1_300_000, gate.promise),
  });
  await using user = await newUser();
  const running = user.sh(pipeline(`${registry.host}/app`));
  let shown: { ref: string; offset: number; total: number; startedAt: string }[] = [];
  // The block of a mebibyte reaches the disk some time after it was sent; nothing tells an outsider when, but active itself.
  while (!shown.some(({ offset }) => offset >= 1 << 20)) {
    shown = JSON.parse((await user.gantry(['active', '--format', 'json'])).stdout);
  }
  const ingest = shown.find(({ ref }) => ref.endsWith(big.digest));
  assert.equal(ingest?.total, big.size);
  assert.ok(Date.parse(ingest.startedAt) <= Date.now());
  const table = (await user.gantry(['active'])).stdout;
  assert.match(table, /^REF +OFFSET +TOTAL +AGE +UPDATED$/m);
  assert.match(table, /@sha256:[0-9a-f]{64} +1\.\d MiB +1\.4 MiB +\d/);
  gate.resolve();
  assert.equal((await running).code, 0);
  assert.doesNotMatch((await user.gantry(['active'])).stdout, /sha256/);
});

test('what shasum prints, stray dash included, names a manifest', async () => {
  await using registry = await TestRegistry.start();
  const bundle = dockerImage();
  registry.add('app', 'latest', bundle);
  await using user = await newUser();
  const repo = `${registry.host}/app`;
  const direct = await user.sh(`gantry fetch-object ${repo} latest ${MANIFEST}`);
  const byDigest = await user.sh(
    `gantry fetch-object ${repo} sha256:$(gantry fetch-object ${repo} latest ${MANIFEST} | shasum -a256)`,
  );
  assert.deepEqual([byDigest.code, byDigest.stderr], [0, '']);
  assert.equal(byDigest.stdout, direct.stdout);
  assert.equal(byDigest.stdout, bundle.manifest.toString());
});

test('all layers go to /dev/null, ten at a time', async () => {
  await using registry = await TestRegistry.start();
  const bundle = dockerImage();
  registry.add('app', 'latest', bundle);
  await using user = await newUser();
  const repo = `${registry.host}/app`;
  const result = await user.sh(
    `gantry fetch-object ${repo} latest ${MANIFEST} | jq -r '.layers[] | .digest' | xargs -n1 -P10 gantry fetch-object ${repo} > /dev/null`,
  );
  assert.deepEqual([result.code, result.stderr], [0, '']);
  const sent = bundle.layers.map(({ digest }) =>
    registry.log.bytesSent({ kind: 'blob', method: 'GET', object: digest }),
  );
  assert.deepEqual(
    sent,
    bundle.layers.map(({ size }) => size),
  );
});

test('a closed pipe ends fetch-object quietly and aborts the GET', async () => {
  await using registry = await TestRegistry.start();
  const bundle = image({ layers: [{ raw: Buffer.alloc(30_000_000, 7) }] });
  registry.add('app', 'latest', bundle);
  const [layer] = bundle.layers;
  assert.ok(layer);
  await using user = await newUser();
  const command = `gantry fetch-object ${registry.host}/app ${layer.digest} | head -c 10; echo " \${PIPESTATUS[@]}" >&2`;
  const result = await user.sh(`bash -c '${command}'`);
  assert.deepEqual([result.code, result.stdout.length, result.stderr], [0, 10, ' 0 0\n']);
  const entry = await registry.waitFor({ kind: 'blob', method: 'GET' }, { state: 'ended' });
  assert.equal(entry.outcome, 'gone');
  assert.ok(entry.bytesSent < layer.size);
});
