/** Garbage collection beside everything else, stopped at the moments that matter. */
import assert from 'node:assert/strict';
import { mkdir, readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Collected, CollectOptions, Mark } from '../../../src/content/ports.ts';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { type Fault, FaultFs } from '../../support/fault-fs.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const all: CollectOptions = { ...opts, dryRun: false, ingestsOlderThanMs: 0 };
const bytes = Buffer.from('content');
const digest = digestOf(bytes);
const request = { ref: 'a', digest, size: bytes.length };

const nothing: Mark = () => Promise.resolve(new Set<Digest>());
const STALE_MS = 500;

const storeAt = (root: string, fs?: FaultFs): ContentStore =>
  new ContentStore({ root, staleLockMs: STALE_MS, ...(fs === undefined ? {} : { fs }) });

async function put(store: ContentStore, content: Buffer = bytes): Promise<'present' | 'fetched'> {
  const ingest = await store.ingest({ ref: digestOf(content), digest: digestOf(content) }, opts);
  assert.ok(ingest.state !== 'busy');
  if (ingest.state === 'present') return 'present';
  await using writer = ingest.writer;
  await writer.write(content);
  await writer.commit(opts);
  return 'fetched';
}

async function read(store: ContentStore): Promise<string> {
  await using body = await store.open(request, opts);
  let text = '';
  for await (const chunk of body) text += Buffer.from(chunk).toString();
  return text;
}

/** Collects, and does something else when it comes to a call. */
async function collectWith(
  root: string,
  fault: Omit<Fault, 'act'>,
  meanwhile: () => Promise<void>,
  mark = nothing,
): Promise<Collected> {
  const go = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const fs = new FaultFs({ ...fault, act: { pause: go.promise, reached: reached.resolve } });
  const collecting = storeAt(root, fs).collect(mark, all);
  await reached.promise;
  try {
    await meanwhile();
  } finally {
    go.resolve();
  }
  return collecting;
}

const MOMENTS = {
  'before anything is moved aside': { call: 'rename', path: /trash/ },
  'when it reads the claims for the last time': { call: 'readdir', path: /sessions/, nth: 2 },
} as const satisfies Record<string, Omit<Fault, 'act'>>;

describe('a garbage collection beside a pull', () => {
  for (const [when, fault] of Object.entries(MOMENTS)) {
    it(`does not take what the pull finds, or fetches, ${when}`, async () => {
      await using temp = await tempDir();
      const puller = storeAt(temp.path);
      await put(puller);
      await using stack = new AsyncDisposableStack();
      let how: string | undefined;
      await collectWith(temp.path, fault, async () => {
        stack.use(await puller.protect(opts));
        how = await put(puller);
        assert.equal(await read(puller), 'content');
      });
      assert.equal(how, when.startsWith('before') ? 'present' : 'fetched');
      assert.equal(await read(puller), 'content');
      assert.ok(await puller.isIntact(digest, opts));
    });
  }

  it('does not take what the pull has named and let go of meanwhile', async () => {
    await using temp = await tempDir();
    const puller = storeAt(temp.path);
    await put(puller);
    const mark: Mark = async () => new Set((await puller.names.list(opts)).map(({ desc }) => desc.digest));
    const work = async (): Promise<void> => {
      await using _protection = await puller.protect(opts);
      await put(puller);
      await puller.names.record('a', { mediaType: 'application/x', digest, size: bytes.length }, opts);
    };
    await collectWith(temp.path, MOMENTS['before anything is moved aside'], work, mark);
    assert.ok(await puller.isIntact(digest, opts));
  });

  it('does not take what gets its name, and is let go of, just when it looks', async () => {
    await using temp = await tempDir();
    const puller = storeAt(temp.path);
    await put(puller);
    await using stack = new AsyncDisposableStack();
    let marks = 0;
    const mark: Mark = async () => {
      const names = await puller.names.list(opts);
      marks += 1;
      if (marks === 2) {
        await puller.names.record('a', { mediaType: 'application/x', digest, size: bytes.length }, opts);
        await stack.disposeAsync();
      }
      return new Set(names.map(({ desc }) => desc.digest));
    };
    const work = async (): Promise<void> => {
      stack.use(await puller.protect(opts));
      assert.equal(await put(puller), 'present');
    };
    await collectWith(temp.path, MOMENTS['before anything is moved aside'], work, mark);
    assert.equal(marks, 2);
    assert.ok(await puller.isIntact(digest, opts));
  });

  it('sees a claim that comes after one that a full disk has cut off', async () => {
    await using temp = await tempDir();
    await put(storeAt(temp.path));
    const fs = new FaultFs({ call: 'write', path: /claims$/, act: { short: 20 } });
    const puller = storeAt(temp.path, fs);
    await using _protection = await puller.protect(opts);
    await assert.rejects(put(puller, Buffer.from('other')), { code: 'NO_SPACE' });
    assert.equal(await put(puller), 'present');
    assert.equal((await storeAt(temp.path).collect(nothing, all)).blobs.length, 0);
  });

  it('keeps what it has moved aside readable until it is sure', async () => {
    await using temp = await tempDir();
    const other = storeAt(temp.path);
    await put(other);
    const { blobs } = await collectWith(temp.path, { call: 'unlink', path: /trash/ }, async () => {
      assert.equal(await other.stat(digest, opts), undefined);
      assert.equal(await read(other), 'content');
    });
    assert.equal(blobs.length, 1);
    await assert.rejects(other.open(request, opts), { code: 'NOT_FOUND' });
  });

  it('gives back what somebody is just looking for, and it is found', async () => {
    await using temp = await tempDir();
    await put(storeAt(temp.path));
    const trash = temp.join('gantry/trash/01234567-89ab-cdef-0123-456789abcdef');
    await mkdir(trash, { recursive: true });
    await rename(temp.join('blobs/sha256', digest.slice(7)), join(trash, digest.replace(':', '-')));
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs({ call: 'readdir', path: /trash$/, act: { pause: go.promise, reached: reached.resolve } });
    const reading = read(storeAt(temp.path, fs));
    await reached.promise;
    await using _protection = await storeAt(temp.path).protect(opts);
    go.resolve();
    assert.equal(await reading, 'content');
  });

  it('takes what only a session that has ended wanted', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    {
      await using _protection = await store.protect(opts);
      await put(store);
      assert.equal((await store.collect(nothing, all)).blobs.length, 0);
    }
    assert.equal((await store.collect(nothing, all)).blobs.length, 1);
  });

  it('keeps what each of two overlapping sessions of one process wants', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    const first = await store.protect(opts);
    await using _second = await store.protect(opts);
    await first[Symbol.asyncDispose]();
    await put(store);
    assert.equal((await store.collect(nothing, all)).blobs.length, 0);
  });

  it('keeps what a session has only looked at', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    await using _protection = await store.protect(opts);
    assert.ok(await store.stat(digest, opts));
    await assert.rejects(storeAt(temp.path).delete(digest, opts), { code: 'IN_USE' });
    assert.equal((await storeAt(temp.path).collect(nothing, all)).blobs.length, 0);
    assert.ok(await store.isIntact(digest, opts));
  });

  it('believes a session of another machine for an hour after its last sign of life', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    const lock = temp.join('gantry/sessions/x.lock');
    const owner = '01234567-89ab-cdef-0123-456789abcdef';
    await writeFile(lock, `{"owner":"${owner}","note":{}}\n000000000001`);
    await writeFile(temp.join('gantry/sessions/x.claims'), `\nsha256:cut off\n${digest}\n`);
    assert.equal((await store.collect(nothing, all)).blobs.length, 0);
    const past = new Date(Date.now() - 7_200_000);
    await utimes(lock, past, past);
    assert.equal((await store.collect(nothing, all)).blobs.length, 1);
    assert.deepEqual(await readdir(temp.join('gantry/sessions')), []);
  });
});

describe('a garbage collection', () => {
  it('only tells what would go, when asked to', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    const { blobs } = await store.collect(nothing, { ...all, dryRun: true });
    assert.equal(blobs[0]?.digest, digest);
    assert.equal(await read(store), 'content');
  });

  it('does not run twice at once', async () => {
    await using temp = await tempDir();
    await put(storeAt(temp.path));
    await collectWith(temp.path, { call: 'rename', path: /trash/ }, async () => {
      await assert.rejects(storeAt(temp.path).collect(nothing, all), { code: 'BUSY' });
    });
  });

  it('waits for whoever only deletes one blob', async () => {
    await using temp = await tempDir();
    await put(storeAt(temp.path));
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const deleter = new FaultFs({
      call: 'rename',
      path: /trash/,
      act: { pause: go.promise, reached: reached.resolve },
    });
    const deleting = storeAt(temp.path, deleter).delete(digest, opts);
    await reached.promise;
    const fs = new FaultFs();
    const collecting = storeAt(temp.path, fs).collect(nothing, all);
    while (fs.count('readFile', /gc\.lock$/) < 3) await new Promise(setImmediate);
    go.resolve();
    await deleting;
    assert.deepEqual((await collecting).blobs, []);
  });

  it('gives everything back when it fails or is cancelled half way', async () => {
    const failing: Mark = async () => {
      if ((marks += 1) > 1) throw new Error('unreadable');
      return new Set();
    };
    let marks = 0;
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    await assert.rejects(store.collect(failing, all), /unreadable/);
    assert.ok(await store.stat(digest, opts));
    const fs = new FaultFs({ call: 'unlink', path: /trash/, act: { fail: 'EIO' } });
    await assert.rejects(storeAt(temp.path, fs).collect(nothing, all), { code: 'IO' });
    assert.ok(await store.stat(digest, opts));
    const stop = new AbortController();
    const aborting: Mark = async () => {
      stop.abort(new Error('enough'));
      return new Set();
    };
    await assert.rejects(store.collect(aborting, { ...all, signal: stop.signal }), /enough/);
    assert.ok(await store.stat(digest, opts));
    assert.deepEqual(await readdir(temp.join('gantry/trash')), []);
  });

  it('that was killed half way is healed by the next pull', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    const trash = temp.join('gantry/trash/01234567-89ab-cdef-0123-456789abcdef');
    await mkdir(trash, { recursive: true });
    await rename(temp.join('blobs/sha256', digest.slice(7)), join(trash, digest.replace(':', '-')));
    assert.equal(await read(store), 'content');
    await using _protection = await storeAt(temp.path).protect(opts);
    assert.equal(await put(store), 'present');
    assert.deepEqual(await readdir(temp.join('gantry/trash')), []);
  });

  it('that slept, and was taken for dead, deletes nothing that its successor gave back', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await put(store);
    await using stack = new AsyncDisposableStack();
    await collectWith(temp.path, { call: 'unlink', path: /trash/ }, async () => {
      const lock = temp.join('gantry/gc.lock');
      await rename(lock, `${lock}.gone`); // as if it had been stale
      stack.use(await store.protect(opts)); // heals
      assert.equal(await put(store), 'present');
    });
    assert.ok(await store.isIntact(digest, opts));
  });

  it('that slept deletes nothing that its successor has moved aside, and may have to give back', async () => {
    await using temp = await tempDir();
    const puller = storeAt(temp.path);
    await put(puller);
    await using stack = new AsyncDisposableStack();
    const pauseAt = (fault: Omit<Fault, 'act'>): { fault: Fault; reached: Promise<void>; go: () => void } => {
      const go = Promise.withResolvers<void>();
      const reached = Promise.withResolvers<void>();
      return {
        fault: { ...fault, act: { pause: go.promise, reached: reached.resolve } },
        reached: reached.promise,
        go: go.resolve,
      };
    };
    const sleeping = pauseAt({ call: 'unlink', path: /trash/ });
    const sleeper = storeAt(temp.path, new FaultFs(sleeping.fault)).collect(nothing, all);
    await sleeping.reached;
    await rename(temp.join('gantry/gc.lock'), temp.join('gantry/gc.lock.gone')); // as if it had been stale

    const [moving, looking] = [
      pauseAt({ call: 'rename', path: /trash/ }),
      pauseAt({ call: 'readdir', path: /sessions/ }),
    ];
    const fs = new FaultFs(moving.fault);
    const successor = storeAt(temp.path, fs).collect(nothing, all);
    await moving.reached;
    stack.use(await puller.protect(opts));
    assert.equal(await put(puller), 'present');
    fs.arm(looking.fault);
    moving.go();
    await looking.reached; // it has moved everything aside, and is about to see that it was claimed
    sleeping.go();
    await sleeper;
    looking.go();
    await successor;
    assert.ok(await puller.isIntact(digest, opts));
  });

  it('takes unfinished writes that nobody holds, and leaves those that somebody does', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    const part = async (ref: string): Promise<void> => {
      const ingest = await store.ingest({ ref }, opts);
      assert.ok(ingest.state === 'open');
      await using writer = ingest.writer;
      await writer.write(bytes);
    };
    await part('left');
    const live = await store.ingest({ ref: 'live' }, opts);
    assert.ok(live.state === 'open');
    await using _writer = live.writer;
    assert.deepEqual((await store.collect(nothing, { ...all, ingestsOlderThanMs: 60_000 })).ingests, []);
    const dry = await store.collect(nothing, { ...all, dryRun: true });
    assert.deepEqual(
      dry.ingests.map(({ ref }) => ref),
      ['left'],
    );
    const { ingests } = await store.collect(nothing, all);
    assert.deepEqual(
      ingests.map(({ ref }) => ref),
      ['left'],
    );
    assert.deepEqual(
      (await store.active(opts)).map(({ ref }) => ref),
      ['live'],
    );
    assert.equal((await readdir(temp.join('ingest'))).length, 2);
  });

  it('takes what killed processes have left, and nothing that is not ours', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await store.create();
    const key = '0'.repeat(64);
    const uuid = '01234567-89ab-cdef-0123-456789abcdef';
    const gone = [
      `ingest/${key}.${uuid}.part`,
      `ingest/${key}.lock.${uuid}.old`,
      `ingest/${'1'.repeat(64)}.lock`,
      `index.json.${uuid}.tmp`,
      `gantry/id.${uuid}.new`,
      `gantry/names/${key}.json.${uuid}.tmp`,
      `gantry/sessions/${uuid}.lock.${uuid}.old`,
    ];
    const kept = ['ingest/mine', 'blobs/mine', 'blobs/sha256/mine', 'gantry/mine'];
    const past = new Date(Date.now() - 7_200_000);
    for (const file of [...gone, ...kept]) {
      await writeFile(temp.join(file), '');
      await utimes(temp.join(file), past, past);
    }
    await store.collect(nothing, all);
    const left = new Set(await readdir(temp.path, { recursive: true }));
    for (const file of gone) assert.ok(!left.has(file), file);
    for (const file of kept) assert.ok(left.has(file), file);
  });

  it('leaves temporary files alone that may be in use', async () => {
    await using temp = await tempDir();
    const store = storeAt(temp.path);
    await store.create();
    await writeFile(temp.join('index.json.1.tmp'), '');
    await store.collect(nothing, all);
    assert.ok((await readdir(temp.path)).includes('index.json.1.tmp'));
  });
});
