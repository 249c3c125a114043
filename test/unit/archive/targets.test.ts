/** What goes into archives, through the ports that copies use. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { openArchives } from '../../../src/archive/archives.ts';
import { DOCKER_INDEX_FILE } from '../../../src/archive/docker-reader.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseLocation } from '../../../src/oci/location.ts';
import { OCI_LAYER_GZIP } from '../../../src/oci/media-types.ts';
import { putImage, readLocation, sourceOf } from '../../support/archives.ts';
import { collect, failureOf, firstLayer, never } from '../../support/clients.ts';
import { image, index, multiPlatform } from '../../support/images.ts';
import { runOk } from '../../support/process.ts';
import { inMemory, randomBytesOf } from '../../support/registry.ts';
import { tar } from '../../support/tar.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: never };
const KINDS = ['oci', 'oci-archive', 'docker-archive'] as const;
const app = image({ seed: 'app', layers: [1000, 300_000] });

for (const kind of KINDS) {
  test(`${kind}: takes no bytes but those of the digest, and can be asked again`, async () => {
    await using dir = await tempDir();
    const repository = `${kind}:${dir.join('x')}`;
    const layer = firstLayer(app);
    const good = app.blobs.get(layer.digest);
    assert.ok(good);
    {
      await using archives = openArchives();
      const pusher = archives.entry.resolver.pusher(repository);
      const wrong = randomBytesOf('wrong', layer.size);
      await failureOf(pusher.push(layer, sourceOf(inMemory(wrong)), opts), 'DIGEST_MISMATCH');
      await failureOf(
        pusher.push(layer, sourceOf(inMemory(wrong.subarray(1))), opts),
        'SIZE_MISMATCH',
        'DIGEST_MISMATCH',
      );
      await failureOf(pusher.push(layer, sourceOf(inMemory(Buffer.alloc(layer.size + 1))), opts), 'SIZE_MISMATCH');
      assert.equal(await pusher.has('blob', layer, opts), false);
      const told: number[] = [];
      await pusher.push(layer, sourceOf(good), { ...opts, onProgress: (offset) => told.push(offset) });
      assert.equal(told.at(-1), layer.size);
      assert.equal(await pusher.has('blob', layer, opts), true);
      await putImage(archives, repository, app, 'docker.io/library/app:v1');
      if (kind !== 'oci-archive') {
        const longer = { ...layer, size: 1_000_000, digest: digestOf('longer') };
        const bytes = inMemory(randomBytesOf('longer', 1_000_000));
        await failureOf(pusher.push(longer, sourceOf(bytes), opts), 'DIGEST_MISMATCH');
      }
      const read = archives.entry.resolver.fetcher(repository).fetch('manifest', app.desc, opts);
      assert.deepEqual(await collect(await read), app.manifest, 'who gives it another name may need it again');
      await archives.commit(opts);
    }
    assert.equal((await readLocation(`${repository}:docker.io/library/app:v1`)).digests.length, 4);
    if (kind !== 'oci') await runOk('tar', ['-tf', dir.join('x')]);
    const left = await readdir(kind === 'oci' ? dir.join('x') : dir.path);
    assert.deepEqual(left.toSorted(), kind === 'oci' ? ['blobs', 'index.json', 'oci-layout'] : ['x']);
  });

  test(`${kind}: a manifest comes after what it refers to`, async () => {
    await using dir = await tempDir();
    await using archives = openArchives();
    const pusher = archives.entry.resolver.pusher(`${kind}:${dir.join('x')}`);
    const err = await failureOf(pusher.putManifest(app.desc, app.manifest, opts), 'NOT_FOUND');
    assert.equal(err.origin, 'target');
    const other = Buffer.from(app.manifest.toString().replace('"layers"', '"Layers"'));
    await failureOf(pusher.putManifest(app.desc, other, opts), 'DIGEST_MISMATCH');
  });

  test(`${kind}: a blob that two images bring at once is written once, also when the first fails`, async () => {
    await using dir = await tempDir();
    await using archives = openArchives();
    const pusher = archives.entry.resolver.pusher(`${kind}:${dir.join('x')}`);
    const layer = firstLayer(app);
    const good = app.blobs.get(layer.digest);
    assert.ok(good);
    let opened = 0;
    const counted = { open: () => ((opened += 1), sourceOf(good).open(opts)) };
    const failing = failureOf(
      pusher.push(layer, sourceOf(inMemory('x'.repeat(layer.size))), opts),
      'DIGEST_MISMATCH',
      'MALFORMED',
    );
    await Promise.all([failing, pusher.push(layer, counted, opts), pusher.push(layer, counted, opts)]);
    assert.equal(opened, 1);
  });
}

test('nothing is there before the end, and nothing is left of what has not come to it', async () => {
  await using dir = await tempDir();
  for (const kind of ['oci-archive', 'docker-archive']) {
    await using archives = openArchives();
    await putImage(archives, `${kind}:${dir.join(kind)}`, app, 'docker.io/library/app:v1');
    assert.ok(!(await readdir(dir.path)).includes(kind));
  }
  assert.deepEqual(await readdir(dir.path), []);
});

test('names: a whole reference stands where containerd looks for it; one name has one image', async () => {
  await using dir = await tempDir();
  const repository = `oci-archive:${dir.join('x')}`;
  const web = image({ seed: 'web', layers: [1] });
  {
    await using archives = openArchives();
    await putImage(archives, repository, app, 'docker.io/library/app:v1');
    await putImage(archives, repository, app, 'v1');
    await putImage(archives, repository, web, 'v1');
    assert.equal(await archives.entry.resolver.pusher(repository).lookup('v1', opts), web.desc.digest);
    await archives.commit(opts);
  }
  const { stdout } = await runOk('tar', ['-xOf', dir.join('x'), 'index.json']);
  const { manifests }: { manifests: { digest: string; annotations: unknown }[] } = JSON.parse(stdout);
  assert.deepEqual(
    manifests.map(({ digest, annotations }) => [digest, annotations]),
    [
      [
        app.desc.digest,
        {
          'org.opencontainers.image.ref.name': 'docker.io/library/app:v1',
          'io.containerd.image.name': 'docker.io/library/app:v1',
        },
      ],
      [web.desc.digest, { 'org.opencontainers.image.ref.name': 'v1' }],
    ],
  );
  const err = await failureOf(readLocation(repository), 'NOT_FOUND');
  assert.equal(err.hint, 'it has "docker.io/library/app:v1", "v1"');
  assert.match((await failureOf(readLocation(`${repository}:v2`), 'NOT_FOUND')).message, /no image of the name "v2"/);
});

test('a name that means two images does not choose one', async () => {
  await using dir = await tempDir();
  const annotations = { 'org.opencontainers.image.ref.name': 'v1' };
  const manifests = ['a', 'b'].map((seed) => ({ ...image({ seed }).desc, annotations }));
  await writeFile(dir.join('index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  const err = await failureOf(readLocation(`oci:${dir.path}:v1`), 'INVALID');
  assert.match(err.message, /2 images of the name "v1"/);
  assert.ok(err.hint?.includes(image({ seed: 'b' }).desc.digest));
});

test('oci: keeps what other tools wrote, and a hundred names that come at once', async () => {
  await using dir = await tempDir();
  const theirs = { ...image({ seed: 'theirs' }).desc, 'x-own': [1, { a: null }] };
  await mkdir(dir.join('x'));
  await writeFile(dir.join('x/oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    dir.join('x/index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [theirs], annotations: { mine: 'x' }, 'x-top': true }),
  );
  await using archives = openArchives();
  const repository = `oci:${dir.join('x')}`;
  const names = Array.from({ length: 100 }, (_, i) => `v${i}`);
  await Promise.all(names.map((name) => putImage(archives, repository, app, name)));
  await archives.commit(opts);
  const found: { manifests: { annotations?: Record<string, string> }[]; 'x-top': boolean; annotations: unknown } =
    JSON.parse(await readFile(dir.join('x/index.json'), 'utf8'));
  assert.deepEqual(found.manifests[0], theirs);
  assert.deepEqual([found['x-top'], found.annotations], [true, { mine: 'x' }]);
  const listed = found.manifests.slice(1).map((each) => each.annotations?.['org.opencontainers.image.ref.name'] ?? '');
  assert.deepEqual(listed.toSorted(), names.toSorted());
});

test('oci: does not fill a directory of somebody else', async () => {
  await using dir = await tempDir();
  await writeFile(dir.join('thesis.txt'), '');
  await using archives = openArchives();
  await failureOf(archives.entry.resolver.pusher(`oci:${dir.path}`).has('manifest', app.desc, opts), 'USAGE');
  assert.deepEqual(await readdir(dir.path), ['thesis.txt']);
});

test('docker-archive: layers are unpacked, whatever they are called', async () => {
  await using dir = await tempDir();
  const plain = tar([{ name: 'file', body: 'content' }]);
  const layers = [zstdCompressSync(plain), plain].map((raw) => ({ raw, mediaType: OCI_LAYER_GZIP }));
  const diffIds = [digestOf(plain), digestOf(plain)];
  const config = {
    bytes: JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: diffIds } }),
    mediaType: 'application/vnd.oci.image.config.v1+json',
  };
  const repository = `docker-archive:${dir.join('x')}`;
  {
    await using archives = openArchives();
    await putImage(archives, repository, image({ layers, config }), 'docker.io/library/x:1');
    await archives.commit(opts);
  }
  const names = (await runOk('tar', ['-tf', dir.join('x')])).stdout.trim().split('\n');
  assert.equal(names.length, 3, 'both layers are one file');
  const layer = names.find((name) => name.endsWith('.tar')) ?? '';
  const unpack = 'tar -xOf "$0" "$1" | tar -xO';
  assert.equal((await runOk('sh', ['-c', unpack, dir.join('x'), layer])).stdout, 'content');
  await readLocation(repository);
});

test('docker-archive: an image whose config tells of other layers is refused', async () => {
  await using dir = await tempDir();
  await using archives = openArchives();
  const config = {
    bytes: JSON.stringify({ rootfs: { type: 'layers', diff_ids: [digestOf('other')] } }),
    mediaType: 'application/vnd.oci.image.config.v1+json',
  };
  const wrong = image({ layers: [100], config });
  const repository = `docker-archive:${dir.join('x')}`;
  const err = await failureOf(putImage(archives, repository, wrong, 'docker.io/library/x:1'), 'MALFORMED');
  assert.match(err.message, /its config tells of a layer sha256:/);
  const artifact = image({ layers: [{ raw: Buffer.from('{}'), mediaType: 'application/vnd.in-toto+json' }] });
  await failureOf(putImage(archives, repository, artifact), 'UNSUPPORTED');
});

test('docker-archive: an index goes for the one platform of it that is there', async () => {
  await using dir = await tempDir();
  const arm = image({ seed: 'arm', platform: { os: 'linux', architecture: 'arm64' } });
  const both = index([{ of: app, platform: { os: 'linux', architecture: 'amd64' } }, { of: arm }]);
  const repository = `docker-archive:${dir.join('x')}`;
  {
    await using archives = openArchives();
    const pusher = archives.entry.resolver.pusher(repository);
    await putImage(archives, repository, app);
    await pusher.putManifest(both.desc, both.manifest, { ...opts, tag: 'docker.io/library/x:1' });
    const other = multiPlatform();
    await failureOf(pusher.putManifest(other.desc, other.manifest, opts), 'UNSUPPORTED');
    await archives.commit(opts);
  }
  const { stdout } = await runOk('tar', ['-xOf', dir.join('x'), DOCKER_INDEX_FILE]);
  const images: { RepoTags: string[] }[] = JSON.parse(stdout);
  assert.deepEqual(
    images.map(({ RepoTags }) => RepoTags),
    [['docker.io/library/x:1']],
  );
});

test('an archive that was not there yet is looked for again; what has no name is about what has one', async () => {
  await using dir = await tempDir();
  await using archives = openArchives();
  const ref = parseLocation(`oci-archive:${dir.join('x')}`);
  await failureOf(archives.entry.resolver.resolve(ref, opts), 'NOT_FOUND');
  {
    await using writing = openArchives();
    await putImage(writing, ref.repository, app, 'v1');
    await putImage(writing, ref.repository, image({ seed: 'signature', layers: [1], subject: app.desc }));
    await writing.commit(opts);
  }
  assert.equal((await archives.entry.resolver.resolve(ref, opts)).desc.digest, app.desc.digest);
  assert.deepEqual(await archives.names(ref.repository, opts), ['v1']);
});
