import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import type { FileProvider } from '../../../../src/content/ports.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import { ManifestFiles } from '../../../../src/server/registry/manifest-files.ts';
import { ContentStore } from '../../../../src/store/content-store.ts';
import { image } from '../../../support/images.ts';
import { putBlob } from '../../../support/serving.ts';
import { tempDir } from '../../../support/temp.ts';

const { signal } = new AbortController();

test('what is no manifest is read once, though it is asked for again and again', async () => {
  await using dir = await tempDir();
  const store = new ContentStore({ root: dir.join('store') });
  await store.create();
  let reads = 0;
  const files: FileProvider = {
    openFile: async (...args) => {
      const file = await store.openFile(...args);
      if (file === undefined) return undefined;
      const read: typeof file.read = (...range) => {
        reads += 1;
        return file.read(...range);
      };
      return { size: file.size, read, close: () => file.close() };
    },
  };
  const manifests = new ManifestFiles(files);
  for (const text of ['no JSON', '[]', '{"config":{}}', JSON.stringify({ a: '[]'.repeat(100_000) })]) {
    const digest = digestOf(text);
    await putBlob(store, digest, Buffer.from(text));
    reads = 0;
    assert.equal(await manifests.read(digest, { signal }), undefined);
    assert.equal(reads, 1);
    for (let i = 0; i < 3; i += 1) assert.equal(await manifests.read(digest, { signal }), undefined);
    assert.equal(await manifests.readOnce(digest, { signal }), undefined);
    assert.equal(reads, 1);
  }
});

test('what was not here, or was damaged, is looked for again', async () => {
  await using dir = await tempDir();
  const store = new ContentStore({ root: dir.join('store') });
  await store.create();
  const { desc, manifest } = image({ layers: [1] });
  const manifests = new ManifestFiles(store);
  assert.equal(await manifests.read(desc.digest, { signal }), undefined);
  await putBlob(store, desc.digest, manifest);
  assert.deepEqual((await manifests.read(desc.digest, { signal }))?.bytes, manifest);
  await rm(`${store.root}/blobs/${desc.digest.replace(':', '/')}`);
  assert.equal(await manifests.read(desc.digest, { signal }), undefined);
});
