/** A process that is killed at any of its file-system calls costs nothing but time. Runs itself as that process. */
import assert from 'node:assert/strict';
import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ContentWriter } from '../../src/content/ports.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { FaultFs } from '../support/fault-fs.ts';
import { run } from '../support/process.ts';
import { randomBytesOf } from '../support/registry/content.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: new AbortController().signal };
const NAME = 'example.org/a:1';
const REMOVED = 'example.org/old:1';
const bytes = randomBytesOf('kill', (1 << 20) + 300_000);
const digest = digestOf(bytes);
const desc: Descriptor = { mediaType: OCI_MANIFEST, digest, size: bytes.length };
const request = { ref: 'a', digest, size: bytes.length };
const garbage = Buffer.from('garbage');

const storeAt = (root: string, fs?: FaultFs): ContentStore =>
  new ContentStore({ root, staleLockMs: 500, ...(fs === undefined ? {} : { fs }) });

async function fill(writer: ContentWriter): Promise<void> {
  await using open = writer;
  await open.write(bytes.subarray(open.offset, -1));
  await open.write(bytes.subarray(Math.max(open.offset, bytes.length - 1)));
  await open.commit(opts);
}

const collect = async (store: ContentStore): Promise<void> => {
  await store.collect(() => Promise.resolve(new Set([digest])), { ...opts, dryRun: false, ingestsOlderThanMs: 0 });
};

/** What the child does: everything that changes a store. */
const WORK: Record<string, (store: ContentStore) => Promise<void>> = {
  async pull(store) {
    await using _protection = await store.protect(opts);
    const ingest = await store.ingestWaiting(request, opts);
    if (ingest.state === 'open') await fill(ingest.writer);
    await store.names.record(NAME, desc, opts);
    await store.names.publish(opts);
  },
  async remove(store) {
    if ((await store.names.lookup(REMOVED, opts)) !== undefined) await store.names.remove(REMOVED, opts);
    await store.names.publish(opts); // what a kill has left undone
    await collect(store);
  },
};

async function put(store: ContentStore, content: Buffer): Promise<void> {
  const ingest = await store.ingest({ ref: `ref of ${digestOf(content)}`, digest: digestOf(content) }, opts);
  assert.ok(ingest.state === 'open');
  await using writer = ingest.writer;
  await writer.write(content);
  await writer.commit(opts);
}

const PREPARE: Record<string, (store: ContentStore) => Promise<void>> = {
  async nothing() {},
  async 'half a blob'(store) {
    const ingest = await store.ingest(request, opts);
    assert.ok(ingest.state === 'open');
    await using writer = ingest.writer;
    await writer.write(bytes.subarray(0, 600_000));
  },
  async 'a damaged blob'(store) {
    await put(store, garbage);
    await cp(
      join(store.root, 'blobs/sha256', digestOf(garbage).slice(7)),
      join(store.root, 'blobs/sha256', digest.slice(7)),
    );
  },
  async 'an image and garbage'(store) {
    await WORK['pull']?.(store);
    await put(store, garbage);
    await store.names.record(REMOVED, { ...desc, digest: digestOf(garbage) }, opts);
    await store.names.publish(opts);
  },
};

/** Between two of these the disk stays as it is, so a kill anywhere else is a kill at the next of them. */
const CHANGES = ['open', 'write', 'writev', 'rename', 'link', 'unlink', 'mkdir', 'rmdir', 'utimes'] as const;

if (process.argv[2] === 'child') {
  const [, , , work = '', root = '', nth = ''] = process.argv;
  await WORK[work]?.(storeAt(root, new FaultFs({ call: CHANGES, nth: Number(nth), act: { kill: true } })));
} else {
  describe('kill -9 at any call', { concurrency: 2 }, () => {
    it('of a pull into a new store', () => killEverywhere('pull', 'nothing'));
    it('of a pull that goes on with an earlier attempt', () => killEverywhere('pull', 'half a blob'));
    it('of a pull that finds a damaged blob', () => killEverywhere('pull', 'a damaged blob'));
    it('of the removal of a name and a garbage collection', () => killEverywhere('remove', 'an image and garbage'));
  });
}

async function killEverywhere(work: string, prepare: string): Promise<void> {
  await using temp = await tempDir();
  const template = temp.join('template');
  await PREPARE[prepare]?.(storeAt(template));
  const env = { ...process.env, NODE_COMPILE_CACHE: temp.join('compiled') }; // half of the time of a start
  let next = 1;
  let finished = false;
  const worker = async (): Promise<void> => {
    while (!finished) {
      const nth = next;
      next += 1;
      const root = temp.join(String(nth));
      await cp(template, root, { recursive: true }).catch(() => undefined); // there is none where nothing was prepared
      const child = await run(process.execPath, [import.meta.filename, 'child', work, root, String(nth)], { env });
      if (child.signal !== 'SIGKILL') {
        assert.equal(child.code, 0, child.stderr);
        finished = true;
      }
      await assertWhole(root, prepare);
      await WORK[work]?.(storeAt(root));
      await assertComplete(root, work);
    }
  };
  await Promise.all([worker(), worker()]);
  assert.ok(next > 15, 'it was killed at many calls');
}

/** Right after the kill: what has its final name is what the name says. */
async function assertWhole(root: string, prepare: string): Promise<void> {
  for (const file of await readdir(join(root, 'blobs/sha256')).catch(() => [])) {
    if (prepare === 'a damaged blob' && file === digest.slice(7)) continue;
    assert.equal(digestOf(await readFile(join(root, 'blobs/sha256', file))), `sha256:${file}`);
  }
  const index = await readFile(join(root, 'index.json'), 'utf8').catch(() => '{}');
  assert.ok(JSON.parse(index));
}

/** After the next run of the same: as if nothing had been. */
async function assertComplete(root: string, work: string): Promise<void> {
  const store = storeAt(root);
  assert.ok(await store.isIntact(digest, opts));
  assert.deepEqual(await store.names.list(opts), [{ name: NAME, desc }]);
  const index: { manifests: { digest: string }[] } = JSON.parse(await readFile(join(root, 'index.json'), 'utf8'));
  assert.deepEqual(
    index.manifests.map((each) => each.digest),
    [digest],
  );
  await collect(store);
  assert.deepEqual(await readdir(join(root, 'ingest')), []);
  assert.match(await store.id(), /^[0-9a-f-]{36}$/);
  if (work === 'remove') assert.equal(await store.stat(digestOf(garbage), opts), undefined);
}
