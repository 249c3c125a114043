import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rootNode } from '../../../src/flow/walk.ts';
import { childrenHandler, readManifest } from '../../../src/handlers/children.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { context, MemoryContent } from './support.ts';

const visit = async (content: MemoryContent, desc: Descriptor): Promise<string[]> => {
  const answer = await childrenHandler(content).visit(rootNode(desc), context());
  return answer.kind === 'expand'
    ? answer.children.map((child) => `${child.kind} ${child.desc.digest}`)
    : [answer.kind];
};

test('below a manifest: the config and the layers as blobs, whatever their types', async () => {
  const content = new MemoryContent();
  const config = content.put('{}', OCI_CONFIG);
  // A layer that says it is a manifest is still a layer: what a node is follows from where it stands.
  const layers = [
    content.put('one'),
    content.put('two', OCI_MANIFEST),
    content.put('three', 'application/x-unheard-of'),
  ];
  const desc = content.manifest(config, layers);
  assert.deepEqual(
    await visit(content, desc),
    [config, ...layers].map(({ digest }) => `blob ${digest}`),
  );
});

test('below an index: its entries as manifests, repeats included', async () => {
  const content = new MemoryContent();
  const entry = content.manifest(content.put('{}', OCI_CONFIG), []);
  const amd64 = { ...entry, platform: { os: 'linux', architecture: 'amd64' } };
  const arm64 = { ...entry, platform: { os: 'linux', architecture: 'arm64' } };
  assert.deepEqual(await visit(content, content.index([amd64, arm64])), Array(2).fill(`manifest ${entry.digest}`));
});

test('a subject is never a child', async () => {
  const content = new MemoryContent();
  const subject = content.put('{"subject":1}', OCI_MANIFEST);
  const config = content.put('{}', OCI_CONFIG);
  assert.deepEqual(await visit(content, content.manifest(config, [], { subject })), [`blob ${config.digest}`]);
});

test('blobs and images are leaves and are not read', async () => {
  const content = new MemoryContent();
  const desc = content.put('{"manifests":[]}', OCI_MANIFEST);
  const handler = childrenHandler(content);
  const scope = { source: 'a.example/app', target: 'store', selection: '' };
  assert.deepEqual(await handler.visit({ kind: 'blob', desc, ...scope }, context()), { kind: 'leaf' });
  assert.deepEqual(await handler.visit({ kind: 'image', name: 'a', ...scope }, context()), { kind: 'leaf' });
  assert.deepEqual(content.opened, []);
});

test('what cannot be read is refused with a code', async () => {
  const content = new MemoryContent();
  const good = content.manifest(content.put('{}', OCI_CONFIG), []);
  await assert.rejects(readManifest(content, { ...good, mediaType: OCI_CONFIG }, context()), { code: 'UNSUPPORTED' });
  await assert.rejects(readManifest(content, { ...good, size: 5_000_000 }, context()), { code: 'TOO_LARGE' });
  assert.deepEqual(content.opened, []);
  await assert.rejects(readManifest(content, { ...good, size: good.size + 1 }, context()), { code: 'SIZE_MISMATCH' });
  await assert.rejects(readManifest(content, content.put('{', OCI_MANIFEST), context()), { code: 'MALFORMED' });
  content.blobs.delete(good.digest);
  await assert.rejects(readManifest(content, good, context()), { code: 'NOT_FOUND' });
});
