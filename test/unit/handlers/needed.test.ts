import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImageNames } from '../../../src/content/ports.ts';
import { GantryError } from '../../../src/errors.ts';
import { contentBelow, neededContent } from '../../../src/handlers/needed.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { descriptorOf, MemoryContent, never } from './support.ts';

const namesOf = (descs: readonly Descriptor[]): ImageNames => ({
  list: async () => descs.map((desc, i) => ({ name: `a.example/app:${i}`, desc })),
  record: () => Promise.reject(new Error('not asked')),
  lookup: () => Promise.reject(new Error('not asked')),
  remove: () => Promise.reject(new Error('not asked')),
});

const needed = async (content: MemoryContent, ...descs: Descriptor[]): Promise<string[]> =>
  [...(await neededContent(namesOf(descs), content, { signal: never }))].toSorted();

const digests = (...descs: Descriptor[]): string[] => descs.map(({ digest }) => digest).toSorted();

test('everything below a name is needed, whatever the platform; a subject and what stands beside is not', async () => {
  const content = new MemoryContent();
  const [config, one, two] = [content.put('{}', OCI_CONFIG), content.put('one'), content.put('two')];
  content.put('of nobody');
  const subject = content.put('{"subject":1}', OCI_MANIFEST);
  const amd64 = content.manifest(config, [one], { subject });
  const arm64 = content.manifest(config, [one, two]);
  const index = content.index([amd64, { ...arm64, platform: { os: 'linux', architecture: 'arm64' } }]);
  assert.deepEqual(await needed(content, index), digests(index, amd64, arm64, config, one, two));
  assert.deepEqual(await needed(content), []);
});

test('a manifest that is not here keeps its own digest and is no fault', async () => {
  const content = new MemoryContent();
  const here = content.manifest(content.put('{}', OCI_CONFIG), []);
  const missing = descriptorOf('{"missing":1}', OCI_MANIFEST);
  const index = content.index([here, missing]);
  assert.deepEqual(await needed(content, index), digests(index, here, missing, descriptorOf('{}')));
});

test('any other fault ends it: what cannot be seen must not be taken for unneeded', async () => {
  const content = new MemoryContent();
  const broken = content.put('{', OCI_MANIFEST);
  await assert.rejects(needed(content, broken), { code: 'MALFORMED' });
  const sick = { open: () => Promise.reject(new GantryError('IO', 'the disk failed', { origin: 'store' })) };
  await assert.rejects(neededContent(namesOf([broken]), sick, { signal: never }), { code: 'IO' });
});

test('a name may stand for something that is no manifest', async () => {
  const content = new MemoryContent();
  const layer = content.put('layer');
  assert.deepEqual(await needed(content, layer), digests(layer));
  assert.deepEqual(content.opened, []);
});

test('what many names share is read once, and blobs are not read', async () => {
  const content = new MemoryContent();
  const shared = content.manifest(content.put('{}', OCI_CONFIG), [content.put('layer')]);
  const indexes = [content.index([shared]), content.index([shared, shared])];
  await needed(content, ...indexes, shared, shared);
  assert.deepEqual(content.opened.toSorted(), digests(shared, ...indexes));
});

test('it can be stopped', async () => {
  const content = new MemoryContent();
  const root = { kind: 'blob', desc: content.put('layer') } as const;
  await assert.rejects(contentBelow([root], content, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
});
