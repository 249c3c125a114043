import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { it } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { FaultFs } from '../../support/fault-fs.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };

async function refused(work: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(work, (err) => {
    assert.ok(isCode(err, 'USAGE'), String(err));
    assert.match(err.message, message);
    assert.ok(err.hint);
    return true;
  });
}

it('a store is an OCI image layout', async () => {
  await using temp = await tempDir();
  const store = new ContentStore({ root: temp.join('deep/er') });
  assert.equal(await store.exists(), false);
  await store.create();
  assert.equal(await store.exists(), true);
  assert.deepEqual(JSON.parse(await readFile(temp.join('deep/er/oci-layout'), 'utf8')), {
    imageLayoutVersion: '1.0.0',
  });
  assert.deepEqual(JSON.parse(await readFile(temp.join('deep/er/index.json'), 'utf8')), {
    schemaVersion: 2,
    manifests: [],
  });
  assert.deepEqual((await readdir(temp.join('deep/er/blobs'))).toSorted(), ['sha256', 'sha512']);
});

it('looking makes nothing', async () => {
  await using temp = await tempDir();
  const store = new ContentStore({ root: temp.join('store') });
  await store.exists();
  await store.names.list(opts);
  await store.names.publish(opts);
  await store.active(opts);
  for await (const _ of store.walk(opts)) assert.fail();
  assert.deepEqual(await readdir(temp.path), []);
});

it('twenty creators at once agree on the id, and it stays', async () => {
  await using temp = await tempDir();
  const root = temp.join('store');
  const ids = await Promise.all(Array.from({ length: 20 }, () => new ContentStore({ root }).id()));
  assert.equal(new Set(ids).size, 1);
  assert.equal(await new ContentStore({ root }).id(), ids[0]);
  assert.deepEqual(
    (await readdir(root)).filter((name) => name.endsWith('.new')),
    [],
  );
});

it('a file is no store, nor what is below one', async () => {
  await using temp = await tempDir();
  const file = temp.join('file');
  await writeFile(file, 'x');
  for (const root of [file, `${file}/below`]) {
    await refused(new ContentStore({ root }).create(), /not a directory/);
    await refused(new ContentStore({ root }).exists(), /not a directory/);
  }
});

it('a directory of somebody else is left alone', async () => {
  await using temp = await tempDir();
  await writeFile(temp.join('thesis.txt'), 'x');
  await refused(new ContentStore({ root: temp.path }).create(), /thesis\.txt/);
  assert.deepEqual(await readdir(temp.path), ['thesis.txt']);
});

it('an empty file system, a layout of another tool, and what a killed creator has left are taken', async () => {
  for (const files of [
    ['lost+found/x'],
    ['oci-layout', 'index.json', 'something-else'],
    ['gantry/id.123.new', 'index.json.1.new'],
  ]) {
    await using temp = await tempDir();
    for (const file of files) {
      await mkdir(dirname(temp.join(file)), { recursive: true });
      await writeFile(temp.join(file), '{"mine":1}');
    }
    await new ContentStore({ root: temp.path }).create();
    if (files.includes('index.json')) assert.equal(await readFile(temp.join('index.json'), 'utf8'), '{"mine":1}');
  }
});

it('a creation that failed is tried again', async () => {
  await using temp = await tempDir();
  const fs = new FaultFs({ call: 'mkdir', nth: 3, act: { fail: 'ENOSPC' } });
  const store = new ContentStore({ root: temp.join('store'), fs });
  await assert.rejects(store.create(), { code: 'NO_SPACE' });
  assert.equal(await store.exists(), false);
  await store.create();
  assert.equal(await store.exists(), true);
});
