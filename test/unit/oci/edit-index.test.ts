import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestTagStem, fallbackTag, typeOfDigestTag } from '../../../src/oci/attached.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { extendIndex, isStrippedOf, type MadeIndex, stripIndex } from '../../../src/oci/edit-index.ts';
import { type ImageIndex, parseManifest } from '../../../src/oci/manifest.ts';
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';

const entry = (name: string): Descriptor => ({ mediaType: OCI_MANIFEST, digest: digestOf(name), size: 10 });
const NONE: ReadonlySet<never> = new Set();

function indexOf(bytes: Uint8Array): ImageIndex {
  const index = parseManifest(bytes, { mediaType: '' });
  assert.ok(index.kind === 'index');
  return index;
}

const jsonOf = ({ bytes }: MadeIndex): Record<string, unknown> => {
  const document: Record<string, unknown> = JSON.parse(bytes.toString());
  return document;
};

const document = {
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: [
    {
      ...entry('a'),
      platform: { os: 'linux', architecture: 'amd64', 'os.features': ['x'] },
      data: 'e30=',
      more: [1.5],
    },
    { ...entry('b'), platform: { os: 'linux', architecture: 'arm64' }, annotations: { '10': 'ten', '9': 'nine' } },
    { ...entry('a'), platform: { os: 'linux', architecture: '386' } },
  ],
  annotations: { kept: 'yes' },
  'x-more': { deep: [null, true] },
};
const bytes = Buffer.from(JSON.stringify(document, null, 3));
const from = { source: digestOf(bytes), platforms: 'linux/arm64,linux/amd64' };

test('a stripped index has the entries that are wanted, as they were, and all else that was there', () => {
  const index = indexOf(bytes);
  const [first, second] = index.manifests;
  assert.ok(first !== undefined && second !== undefined);
  const made = stripIndex(bytes, index, [second, first], from);
  assert.deepEqual(jsonOf(made), {
    ...document,
    manifests: document.manifests.slice(0, 2),
    annotations: {
      kept: 'yes',
      'dev.gantry.source.digest': from.source,
      'dev.gantry.platforms': 'linux/amd64,linux/arm64',
    },
  });
  assert.deepEqual(made.desc, { mediaType: OCI_INDEX, digest: digestOf(made.bytes), size: made.bytes.length });
  const again = stripIndex(bytes, index, [first, second], { ...from, platforms: 'linux/amd64,linux/arm64' });
  assert.deepEqual(again.bytes, made.bytes, 'the same bytes, whatever the order');
});

test('a stripped index is known by its source and its platforms', () => {
  const index = indexOf(bytes);
  const made = indexOf(stripIndex(bytes, index, index.manifests.slice(0, 1), from).bytes);
  assert.ok(isStrippedOf(made, from));
  assert.ok(isStrippedOf(made, { ...from, platforms: 'linux/amd64,linux/arm64' }));
  assert.ok(!isStrippedOf(made, { ...from, platforms: 'linux/amd64' }));
  assert.ok(!isStrippedOf(made, { ...from, source: digestOf('another') }));
  assert.ok(!isStrippedOf(index, from));
});

test('an index is extended by what it lacks, and keeps the rest as it is', () => {
  const made = extendIndex(bytes, [entry('b'), { ...entry('c'), artifactType: 'application/x' }], NONE, 'the index');
  assert.ok(made);
  const added = { ...entry('c'), artifactType: 'application/x' };
  assert.deepEqual(jsonOf(made), { ...document, manifests: [...document.manifests, added] });
  assert.equal(extendIndex(made.bytes, [entry('c'), entry('a')], NONE, 'the index'), undefined);
});

test('an index that is not there yet is made', () => {
  const made = extendIndex(undefined, [entry('a')], NONE, 'the index');
  assert.ok(made);
  assert.deepEqual(jsonOf(made), { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry('a')] });
  assert.equal(made.desc.mediaType, OCI_INDEX);
});

test('what is gone is left out when something is added', () => {
  const gone = new Set([entry('a').digest]);
  const made = extendIndex(bytes, [entry('c')], gone, 'the index');
  assert.ok(made);
  assert.deepEqual(
    indexOf(made.bytes).manifests.map(({ digest }) => digest),
    [entry('b').digest, entry('c').digest],
  );
});

test('a list of Docker stays one, and what is no index is refused', () => {
  const list = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: DOCKER_LIST, manifests: [] }));
  assert.equal(extendIndex(list, [entry('a')], NONE, 'the list')?.desc.mediaType, DOCKER_LIST);
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: entry('c'), layers: [] }),
  );
  for (const wrong of [manifest, Buffer.from('[]'), Buffer.from('')]) {
    assert.throws(() => extendIndex(wrong, [entry('a')], NONE, 'a:tag'), { code: 'MALFORMED', message: /^a:tag/ });
  }
});

test('tags are made of digests as the specification says', () => {
  const [short, long] = [digestOf('x'), digestOf('x', 'sha512')];
  assert.equal(fallbackTag(short), short.replace(':', '-'));
  assert.equal(fallbackTag(long), `sha512-${long.slice(7, 7 + 64)}`);
  for (const digest of [short, long]) {
    assert.equal(digestTagStem(fallbackTag(digest)), fallbackTag(digest));
    assert.equal(digestTagStem(`${fallbackTag(digest)}.sig`), fallbackTag(digest));
  }
  for (const tag of ['v1', 'sha256-12', `${fallbackTag(short)}0`, `x${fallbackTag(short)}`, `${fallbackTag(short)}.`]) {
    assert.equal(digestTagStem(tag), undefined, tag);
  }
  assert.equal(typeOfDigestTag(`${fallbackTag(short)}.sig`), 'application/vnd.dev.cosign.artifact.sig.v1+json');
});
