/** Docker archives as the versions of docker write them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openArchives } from '../../../src/archive/archives.ts';
import { digestOf, hexOf } from '../../../src/oci/digest.ts';
import { parseLocation } from '../../../src/oci/location.ts';
import { parseManifest } from '../../../src/oci/manifest.ts';
import { DOCKER_LAYER, DOCKER_LAYER_GZIP } from '../../../src/oci/media-types.ts';
import { readLocation } from '../../support/archives.ts';
import { collect, never } from '../../support/clients.ts';
import { randomBytesOf } from '../../support/registry.ts';
import { tar, type TarEntry } from '../../support/tar.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: never };
const one = tar([{ name: 'one', body: '1' }]);
const two = gzipSync(tar([{ name: 'two', body: '2' }]));

const configOf = (...layers: Uint8Array[]): Buffer =>
  Buffer.from(
    JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: layers.map((each) => digestOf(each)) } }),
  );

const listOf = (...images: { Config: string; RepoTags: string[] | null; Layers: string[] }[]): TarEntry => ({
  name: 'manifest.json',
  body: JSON.stringify(images),
});

test('of docker before 25: a directory for each layer, and links to those that were there before', async () => {
  await using dir = await tempDir();
  const [first, second] = [configOf(one), configOf(one, one)];
  const entries: TarEntry[] = [
    { name: 'aa/', type: '5' },
    { name: 'aa/VERSION', body: '1.0' },
    { name: 'aa/layer.tar', body: one },
    { name: 'bb/', type: '5' },
    { name: 'bb/layer.tar', type: '2', linkname: '../aa/layer.tar' },
    { name: '1.json', body: first },
    { name: '2.json', body: second },
    listOf(
      { Config: '1.json', RepoTags: ['app:1', 'localhost:5000/app:latest'], Layers: ['aa/layer.tar'] },
      { Config: '2.json', RepoTags: ['app:2'], Layers: ['aa/layer.tar', 'bb/layer.tar'] },
    ),
    { name: 'repositories', body: '{}' },
  ];
  await writeFile(dir.join('f.tar'), tar(entries));
  const place = `docker-archive:${dir.join('f.tar')}`;
  for (const [name, config, layers] of [
    ['app:1', first, 1],
    ['docker.io/library/app:1', first, 1],
    ['localhost:5000/app', first, 1],
    ['app:2', second, 2],
  ] as const) {
    const { digests } = await readLocation(`${place}:${name}`);
    assert.deepEqual(digests.slice(1), [digestOf(config), digestOf(one)], `${name} with ${layers} layers`);
  }
  await assert.rejects(readLocation(place), /has several images/);
});

test('of docker since 25: a layout beside the list, and layers that may be compressed', async () => {
  await using dir = await tempDir();
  const config = configOf(one, two);
  const blob = (bytes: Buffer): TarEntry => ({ name: `blobs/sha256/${hexOf(digestOf(bytes))}`, body: bytes });
  const [a, b, c] = [blob(config), blob(one), blob(two)];
  const list = listOf({ Config: a.name, RepoTags: null, Layers: [b.name, c.name] });
  await writeFile(dir.join('f.tar'), tar([a, b, c, list]));
  await using archives = openArchives();
  const ref = parseLocation(`docker-archive:${dir.join('f.tar')}`);
  const { desc } = await archives.entry.resolver.resolve(ref, opts);
  const bytes = await collect(await archives.entry.resolver.fetcher(ref.repository).fetch('manifest', desc, opts));
  const manifest = parseManifest(bytes, desc);
  assert.ok(manifest.kind === 'manifest');
  assert.deepEqual(
    manifest.layers.map(({ mediaType, digest }) => [mediaType, digest]),
    [
      [DOCKER_LAYER, digestOf(one)],
      [DOCKER_LAYER_GZIP, digestOf(two)],
    ],
  );
});

/** A signal that counts how often somebody looks at it, and is aborted at the n-th time. Each block that is read is one. */
function countedSignal(isGivenUp: (looks: number) => boolean): { signal: AbortSignal; looks: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  const look = signal.throwIfAborted.bind(signal);
  let looks = 0;
  signal.throwIfAborted = () => {
    looks += 1;
    if (isGivenUp(looks)) controller.abort();
    look();
  };
  return { signal, looks: () => looks };
}

test('a layer is hashed once for all that ask at once, and who gives up does not take the others along', async () => {
  await using dir = await tempDir();
  const layer = randomBytesOf('layer', 5_000_000); // twenty blocks
  const list = listOf({ Config: 'c', RepoTags: ['a:1'], Layers: ['l'] });
  await writeFile(dir.join('f.tar'), tar([{ name: 'c', body: configOf(layer) }, { name: 'l', body: layer }, list]));
  const ref = parseLocation(`docker-archive:${dir.join('f.tar')}`);
  for (const abortAt of [Infinity, 15]) {
    await using archives = openArchives();
    const { resolver } = archives.entry;
    assert.deepEqual(await archives.names(ref.repository, opts), ['a:1']); // the file is open
    // Whoever comes first hashes; that one gives up, once.
    let givenUp = false;
    const isGivenUp = (looks: number): boolean => !givenUp && looks === abortAt && (givenUp = true);
    const [first, second] = [countedSignal(isGivenUp), countedSignal(isGivenUp)];
    const resolving = resolver.resolve(ref, { signal: first.signal });
    const [one, two] = await Promise.allSettled([resolving, resolver.resolve(ref, { signal: second.signal })]);
    const ends = [one.status, two.status].toSorted();
    assert.deepEqual(ends, ['fulfilled', abortAt === Infinity ? 'fulfilled' : 'rejected']);
    if (abortAt === Infinity) assert.ok(first.looks() + second.looks() < 35, `${first.looks()} and ${second.looks()}`);
  }
});
