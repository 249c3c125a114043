/** Every call of a whole cycle fails once, in every way in which a disk does. */
import assert from 'node:assert/strict';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import type { ContentWriter } from '../../../src/content/ports.ts';
import { GantryError, isCode } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { type Errno, type Fault, FaultFs, type FsCall } from '../../support/fault-fs.ts';
import { randomBytesOf } from '../../support/registry/content.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const STALE_MS = 250;
const NAME = 'example.org/a:1';
const bytes = randomBytesOf('faults', (1 << 20) + 300_000);
const digest = digestOf(bytes);
const HALF = 600_000;
const desc: Descriptor = { mediaType: OCI_MANIFEST, digest, size: bytes.length };
const request = { ref: 'a', digest, size: bytes.length };

const storeAt = (root: string, fs?: FaultFs): ContentStore =>
  new ContentStore({ root, staleLockMs: STALE_MS, ...(fs === undefined ? {} : { fs }) });

async function fill(writer: ContentWriter): Promise<void> {
  await using open = writer;
  for (let at = open.offset; at < bytes.length; at += 100_000) await open.write(bytes.subarray(at, at + 100_000));
  await open.commit(opts);
}

/** All that a pull of one blob does. */
async function cycle(store: ContentStore): Promise<void> {
  await using _protection = await store.protect(opts);
  const ingest = await store.ingestWaiting(request, opts);
  if (ingest.state === 'open') await fill(ingest.writer);
  await store.names.record(NAME, desc, opts);
  await store.names.publish(opts);
}

/** An attempt that was cut off after half of the bytes. */
async function half(root: string): Promise<void> {
  const ingest = await storeAt(root).ingest(request, opts);
  assert.ok(ingest.state === 'open');
  await using writer = ingest.writer;
  await writer.write(bytes.subarray(0, HALF));
}

async function assertNothingWrong(root: string): Promise<void> {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const file of await readdir(join(root, 'blobs', algorithm)).catch(() => [])) {
      assert.equal(digestOf(await readFile(join(root, 'blobs', algorithm, file)), algorithm), `${algorithm}:${file}`);
    }
  }
  const index = await readFile(join(root, 'index.json'), 'utf8').catch(() => '{}');
  assert.ok(JSON.parse(index));
}

/** Whole, named, published, and with nothing else in it after a collection. */
async function assertComplete(root: string): Promise<void> {
  const store = storeAt(root);
  assert.ok(await store.isIntact(digest, opts));
  assert.deepEqual(await store.names.list(opts), [{ name: NAME, desc }]);
  const index: { manifests: { digest: Digest; annotations: object }[] } = JSON.parse(
    await readFile(join(root, 'index.json'), 'utf8'),
  );
  assert.deepEqual(
    index.manifests.map((each) => [each.digest, Object.values(each.annotations)]),
    [[digest, [NAME]]],
  );
  await makeOld(root);
  await store.collect(() => Promise.resolve(new Set([digest])), { ...opts, dryRun: false, ingestsOlderThanMs: 0 });
  await writeFile(join(root, 'gantry', 'index.version'), ''); // only saves time, and may be missing
  const left = (await readdir(root, { recursive: true, withFileTypes: true })).filter((each) => each.isFile());
  assert.deepEqual(
    left.map(({ name }) => name).toSorted(),
    [digest.slice(7), basename(await nameFile(root)), 'id', 'index.json', 'index.version', 'oci-layout'].toSorted(),
  );
}

const nameFile = async (root: string): Promise<string> => (await readdir(join(root, 'gantry', 'names')))[0] ?? '';

/** Yesterday's files: what is younger might still be in use. */
async function makeOld(root: string): Promise<void> {
  const yesterday = new Date(Date.now() - 86_400_000);
  for (const each of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (each.isFile()) await utimes(join(each.parentPath, each.name), yesterday, yesterday);
  }
}

/** What it may say: the code and the errno in the message, and what to do about it. */
function assertClear(err: unknown, errno: Errno): void {
  assert.ok(err instanceof GantryError, String(err));
  assert.equal(err.code, errno === 'ENOSPC' || errno === 'EDQUOT' ? 'NO_SPACE' : 'IO');
  assert.equal(err.origin, 'store');
  assert.match(err.message, new RegExp(`^cannot .*: ${errno}$`, 's'));
  assert.ok(err.hint, `no hint for ${errno}`);
}

async function tryCycle(store: ContentStore, errno: Errno): Promise<boolean> {
  try {
    await cycle(store);
    return true;
  } catch (err) {
    assertClear(err, errno);
    return false;
  }
}

/** Fails the n-th call for every n. Gives the calls whose failure was none of the caller's business. */
async function failEach(errno: Errno, which: Omit<Fault, 'nth' | 'act'>, prepare?: typeof half): Promise<string[]> {
  const ignored: string[] = [];
  for (let nth = 1; ; nth += 1) {
    await using temp = await tempDir();
    const root = temp.join('store');
    await prepare?.(root);
    const fs = new FaultFs({ ...which, nth, act: { fail: errno } });
    const succeeded = await tryCycle(storeAt(root, fs), errno);
    if (fs.hits === 0) return ignored;
    const failed = fs.calls.at(-1) ?? '';
    assert.equal(fs.openHandles, 0, `a file was left open, call ${nth}`);
    await assertNothingWrong(root);
    if (succeeded) ignored.push(failed);
    await cycle(storeAt(root));
    await assertComplete(root);
  }
}

describe('a disk that fails once, at any call of a pull', { concurrency: 2 }, () => {
  for (const errno of ['EIO', 'ENOSPC'] as const) {
    it(`${errno}: a clear error, nothing wrong, nothing left, and the next attempt succeeds`, async () => {
      const ignored = await failEach(errno, {});
      assert.ok(ignored.length < 20, ignored.join('\n'));
    });
    it(`${errno}: the same while it goes on with an earlier attempt`, async () => {
      await failEach(errno, {}, half);
    });
  }
  it('EMFILE at any open', async () => {
    await failEach('EMFILE', { call: 'open' }, half);
  });
});

interface Row {
  readonly title: string;
  readonly fault: Fault;
  readonly errno: Errno;
}

const fail = (errno: Errno, call: FsCall, path?: RegExp): Row => ({
  title: `${errno} at ${call}${path === undefined ? '' : ` of ${path.source}`}`,
  errno,
  fault: { act: { fail: errno }, call, ...(path ? { path } : {}) },
});

const ROWS: readonly Row[] = [
  ...(['ENOSPC', 'EDQUOT', 'EIO', 'EFBIG'] as const).map((errno) => fail(errno, 'writev')),
  ...(['ENOSPC', 'EIO', 'EDQUOT'] as const).map((errno) => fail(errno, 'sync', /\.part$/)),
  fail('EIO', 'sync', /sha256$/),
  fail('ENOSPC', 'rename', /blobs/),
  fail('EXDEV', 'rename', /blobs/),
  fail('EIO', 'rename', /index\.json$/),
  fail('ENOSPC', 'mkdir'),
  fail('EROFS', 'mkdir'),
  fail('EACCES', 'mkdir'),
  fail('EROFS', 'open', /\.lock$/),
  fail('EMFILE', 'open', /\.part$/),
  fail('ENOSPC', 'write', /ingest.*\.lock$/),
  fail('ENOSPC', 'write', /index\.json.*tmp$/),
  fail('EIO', 'sync', /index\.json.*tmp$/),
  fail('ENOSPC', 'rename', /names\//),
  fail('EIO', 'write', /names-pending/),
  fail('EIO', 'close', /\.tmp$/),
  fail('ENOSPC', 'write', /\.claims$/),
  fail('EIO', 'statfs'),
];

describe('a failing disk', () => {
  for (const { title, fault, errno } of ROWS) {
    it(`${title} is told, and can be tried again`, async () => {
      await using temp = await tempDir();
      const root = temp.join('store');
      const fs = new FaultFs(fault);
      const store = storeAt(root, fs);
      await assert.rejects(cycle(store), (err) => {
        assertClear(err, errno);
        return true;
      });
      assert.equal(fs.hits, 1);
      await assertNothingWrong(root);
      const left = await readdir(root, { recursive: true }).catch(() => []);
      assert.deepEqual(
        left.filter((name) => /\.(?:tmp|new|old|part|lock|claims)$/.test(name)),
        [],
      );
      fs.arm(undefined);
      await cycle(store); // the same object, the same process
      await assertComplete(root);
    });
  }

  it('EIO at closing the data after the commit is no loss', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs({ call: 'close', path: /\.part$/, act: { fail: 'EIO' } });
    await cycle(storeAt(temp.join('store'), fs));
    assert.equal(fs.hits, 1);
    await assertComplete(temp.join('store'));
  });

  it('a write that takes only a part is continued', async () => {
    for (const short of [1, 99_999, 100_000, 1_000_001]) {
      await using temp = await tempDir();
      const fs = new FaultFs({ call: 'writev', nth: 2, act: { short } });
      await cycle(storeAt(temp.join('store'), fs));
      assert.equal(fs.hits, 1);
      await assertComplete(temp.join('store'));
    }
  });

  it('a write that takes nothing ends', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs({ call: 'writev', forever: true, act: { short: 0 } });
    await assert.rejects(cycle(storeAt(temp.join('store'), fs)), { code: 'IO' });
  });

  it('everything drops after a failed fsync, so that no later one can pass for it', async () => {
    await using temp = await tempDir();
    const root = temp.join('store');
    const fs = new FaultFs({ call: 'sync', path: /\.part$/, act: { fail: 'EIO' } });
    await assert.rejects(cycle(storeAt(root, fs)), { code: 'IO' });
    assert.deepEqual(await readdir(join(root, 'ingest')), []);
  });

  it('a disk that stays full keeps failing, without a leak', async () => {
    await using temp = await tempDir();
    const root = temp.join('store');
    const fs = new FaultFs({ call: 'writev', forever: true, act: { fail: 'ENOSPC' } });
    const store = storeAt(root, fs);
    for (let i = 0; i < 5; i += 1) await assert.rejects(cycle(store), { code: 'NO_SPACE' });
    assert.equal(fs.openHandles, 0);
    assert.deepEqual(await readdir(join(root, 'ingest')), []);
  });

  it('keeps what an earlier attempt has written when it cannot go on', async () => {
    for (const fault of [
      { call: 'open', path: /\.part$/, act: { fail: 'EMFILE' } },
      { call: 'read', path: /\.part$/, act: { fail: 'EIO' } },
      { call: 'writev', act: { fail: 'ENOSPC' } },
      { call: 'statfs', act: { fail: 'EIO' } },
    ] as const) {
      await using temp = await tempDir();
      const root = temp.join('store');
      await half(root);
      await assert.rejects(cycle(storeAt(root, new FaultFs(fault))));
      const ingest = await storeAt(root).ingest(request, opts);
      assert.ok(ingest.state === 'open');
      await using writer = ingest.writer;
      assert.equal(writer.offset, HALF, fault.call);
    }
  });

  it('keeps what an earlier attempt has written when it is cancelled while it reads that', async () => {
    await using temp = await tempDir();
    const root = temp.join('store');
    await half(root);
    const stop = new AbortController();
    const reason = new Error('enough');
    const fs = new FaultFs({
      call: 'open',
      path: /\.part$/,
      nth: 2,
      act: { pause: Promise.resolve(), reached: () => stop.abort(reason) },
    });
    await assert.rejects(storeAt(root, fs).ingest(request, { signal: stop.signal }), reason);
    assert.equal((await storeAt(root).active(opts))[0]?.offset, HALF);
    await cycle(storeAt(root));
  });

  it('leaves no file of its own when it cannot remove what was there', async () => {
    await using temp = await tempDir();
    const root = temp.join('store');
    await half(root);
    const fs = new FaultFs({ call: 'unlink', path: /\.part$/, act: { fail: 'EIO' } });
    await assert.rejects(storeAt(root, fs).ingest({ ...request, digest: digestOf('other') }, opts), { code: 'IO' });
    assert.equal((await readdir(join(root, 'ingest'))).filter((file) => file.endsWith('.part')).length, 1);
    await cycle(storeAt(root)); // the lock tells of it still
    assert.deepEqual(await readdir(join(root, 'ingest')), []);
  });

  it('does not begin what the disk has no room for', async () => {
    await using temp = await tempDir();
    const root = temp.join('store');
    const size = Number.MAX_SAFE_INTEGER;
    await assert.rejects(storeAt(root).ingest({ ref: 'a', digest, size }, opts), (err) => {
      assert.ok(isCode(err, 'NO_SPACE') && err.hint);
      return true;
    });
    assert.deepEqual(await readdir(join(root, 'ingest')), []);
  });
});
