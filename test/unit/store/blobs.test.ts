/** What stands under the name of a blob and is not that blob. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { FaultFs } from '../../support/fault-fs.ts';
import { type TempDir, tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const bytes = Buffer.from('the right bytes');
const digest = digestOf(bytes);
const request = { ref: 'a', digest, size: bytes.length };

async function put(store: ContentStore, sized = true): Promise<void> {
  const ingest = await store.ingest(sized ? request : { ref: 'a', digest }, opts);
  assert.ok(ingest.state === 'open', ingest.state);
  await using writer = ingest.writer;
  await writer.write(bytes);
  await writer.commit(opts);
}

const pathIn = (temp: TempDir): string => temp.join('blobs/sha256', digest.slice(7));

const WRONG: Record<string, (path: string, temp: TempDir) => Promise<unknown>> = {
  'an empty file': (path) => writeFile(path, ''),
  'a torn file': (path) => writeFile(path, bytes.subarray(0, 5)),
  'a file that is too long': (path) => writeFile(path, Buffer.concat([bytes, bytes])),
  'a directory with something in it': (path) => mkdir(`${path}/sub`, { recursive: true }),
  'a link to nowhere': (path) => symlink('nowhere', path),
  'a link to the right bytes': async (path, temp) => {
    await writeFile(temp.join('gantry/elsewhere'), bytes);
    await symlink(temp.join('gantry/elsewhere'), path);
  },
};

describe('under the name of a blob', () => {
  for (const [what, make] of Object.entries(WRONG)) {
    it(`${what} is moved aside, and the right bytes come in its place`, async () => {
      await using temp = await tempDir();
      const store = new ContentStore({ root: temp.path });
      await store.create();
      await make(pathIn(temp), temp);
      if (!what.includes('file')) assert.equal(await store.stat(digest, opts), undefined);
      if (what.includes('link')) await assert.rejects(store.open(request, opts), { code: 'NOT_FOUND' });
      await put(store, what.includes('file')); // a file is known to be wrong by its size, anything else without
      assert.ok((await readFile(pathIn(temp))).equals(bytes));
      assert.equal((await readdir(temp.join('gantry/damaged'))).length, 1);
      if (what.includes('right')) assert.ok((await readFile(temp.join('gantry/elsewhere'))).equals(bytes));
    });
  }

  it('a file that nobody may write to', async () => {
    await using temp = await tempDir();
    await put(new ContentStore({ root: temp.path }));
    assert.equal((await stat(pathIn(temp))).mode & 0o777, 0o444);
  });

  it('wrong bytes of the right size are found by reading', async () => {
    await using temp = await tempDir();
    const store = new ContentStore({ root: temp.path });
    await store.create();
    await writeFile(pathIn(temp), 'the wrong bytes');
    assert.equal(await store.isIntact(digest, opts), false);
    await store.quarantine(digest);
    assert.equal(await store.stat(digest, opts), undefined);
    await put(store);
    assert.equal(await store.isIntact(digest, opts), true);
  });

  it('good content that came between the look and the move stays', async () => {
    await using temp = await tempDir();
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs({ call: 'rename', path: /damaged/, act: { pause: go.promise, reached: reached.resolve } });
    const slow = new ContentStore({ root: temp.path, fs });
    await slow.create();
    await writeFile(pathIn(temp), 'torn');
    const ingesting = slow.ingest(request, opts);
    await reached.promise; // it has judged
    await put(new ContentStore({ root: temp.path }));
    go.resolve();
    assert.equal((await ingesting).state, 'present');
    assert.ok((await readFile(pathIn(temp))).equals(bytes));
  });

  it('nothing is quarantined that is good or gone', async () => {
    await using temp = await tempDir();
    const store = new ContentStore({ root: temp.path });
    await store.quarantine(digest);
    await put(store);
    await store.quarantine(digest);
    assert.ok(await store.stat(digest, opts));
    assert.deepEqual(await readdir(temp.join('gantry/damaged')), []);
  });
});

describe('the file-system calls', () => {
  it('of an ingest are few', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs();
    const store = new ContentStore({ root: temp.path, fs });
    await store.create();
    fs.calls.length = 0;
    await put(store);
    assert.ok(fs.calls.length <= 15, fs.calls.join('\n'));
    assert.equal(fs.count('sync'), 2);
    fs.calls.length = 0;
    assert.equal((await store.ingest(request, opts)).state, 'present');
    assert.equal(fs.calls.length, 1, fs.calls.join('\n'));
  });

  it('share the fsync of a directory', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs();
    const store = new ContentStore({ root: temp.path, fs });
    await store.create();
    const all = Array.from({ length: 50 }, async (_, i) => {
      const ingest = await store.ingest({ ref: String(i) }, opts);
      assert.ok(ingest.state === 'open');
      await using writer = ingest.writer;
      await writer.write(Buffer.from(String(i)));
      await writer.commit(opts);
    });
    await Promise.all(all);
    const syncs = fs.count('sync', /sha256$/);
    assert.ok(syncs < 40, `${syncs} fsyncs of one directory for 50 blobs`);
    // Each commit is covered by one that began after its rename.
    assert.ok(fs.calls.lastIndexOf(`sync ${temp.join('blobs/sha256')}`) > lastRename(fs.calls));
  });
});

const lastRename = (calls: readonly string[]): number => calls.findLastIndex((each) => each.startsWith('rename'));
