/** A process that is killed while it takes an unfinished write over loses no bytes and leaves none. Runs itself as that process. */
import assert from 'node:assert/strict';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Collected, ContentWriter, IngestRequest } from '../../src/content/ports.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { type Fault, FaultFs } from '../support/fault-fs.ts';
import { run } from '../support/process.ts';
import { randomBytesOf } from '../support/registry/content.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: new AbortController().signal };
const KEPT = (1 << 20) + 600_000; // copied in two steps
const bytes = randomBytesOf('takeover', 2 << 20);
const request: IngestRequest = { ref: 'a', digest: digestOf(bytes), size: bytes.length };
const otherBytes = randomBytesOf('other', 2 << 20);
const other: IngestRequest = { ref: 'a', digest: digestOf(otherBytes), size: otherBytes.length };

/** More than a lock lists. */
const MANY_KILLS = 10;

/** So long that a test ends before a lock is stale: whoever goes on has seen that the owner is dead. */
const storeAt = (root: string, fs?: FaultFs): ContentStore =>
  new ContentStore({ root, staleLockMs: 3_600_000, ...(fs === undefined ? {} : { fs }) });

const PART = /\.part$/;

/** Moments of a takeover, in order; the lock is the new owner's in all of them. Whoever removes an ingest comes to the last. */
const MOMENTS = {
  'before it has a file': { call: 'open', path: PART },
  'when it has copied nothing': { call: 'writev', path: PART },
  'when it has copied a part': { call: 'writev', path: PART, nth: 2 },
  'when it has copied all': { call: 'unlink', path: PART },
} as const satisfies Record<string, Omit<Fault, 'act'>>;
type Moment = keyof typeof MOMENTS;

const isMoment = (text: string): text is Moment => text in MOMENTS;

async function open(root: string, wanted = request, fs?: FaultFs): Promise<ContentWriter> {
  const ingest = await storeAt(root, fs).ingest(wanted, opts);
  assert.ok(ingest.state === 'open', ingest.state);
  return ingest.writer;
}

async function half(root: string): Promise<void> {
  await using writer = await open(root);
  await writer.write(bytes.subarray(0, KEPT));
}

/** What goes on with it has so many bytes, and finishes with nothing left. */
async function assertGoesOn(root: string, offset = KEPT): Promise<void> {
  await using writer = await open(root);
  assert.equal(writer.offset, offset);
  assert.equal((await parts(root)).length, 1, 'only the file of the writer');
  await writer.write(bytes.subarray(offset));
  await writer.commit(opts);
  assert.deepEqual(await readdir(join(root, 'ingest')), []);
}

const parts = async (root: string): Promise<string[]> =>
  (await readdir(join(root, 'ingest'))).filter((file) => PART.test(file));

const offsetOf = async (root: string): Promise<number | undefined> => (await storeAt(root).active(opts))[0]?.offset;

const collect = (root: string, ingestsOlderThanMs: number, fs?: FaultFs): Promise<Collected> =>
  storeAt(root, fs).collect(() => Promise.resolve(new Set()), { ...opts, dryRun: false, ingestsOlderThanMs });

/** What the child does. */
const WORK = {
  goOn: (root: string, fs: FaultFs) => open(root, request, fs),
  other: (root: string, fs: FaultFs) => open(root, other, fs),
  abort: (root: string, fs: FaultFs) => storeAt(root, fs).abort('a', opts),
  collect: (root: string, fs: FaultFs) => collect(root, 0, fs),
} as const satisfies Record<string, (root: string, fs: FaultFs) => Promise<unknown>>;
type Work = keyof typeof WORK;

const isWork = (text: string): text is Work => text in WORK;

async function killed(root: string, moment: Moment, work: Work = 'goOn'): Promise<void> {
  const child = await run(process.execPath, [import.meta.filename, 'child', root, moment, work]);
  assert.equal(child.signal, 'SIGKILL', child.stderr);
}

if (process.argv[2] === 'child') {
  const [, , , root = '', moment = '', work = ''] = process.argv;
  assert.ok(isMoment(moment) && isWork(work));
  await WORK[work](root, new FaultFs({ ...MOMENTS[moment], act: { kill: true } }));
} else {
  describe('a takeover that is killed', { concurrency: 2 }, () => {
    for (const moment of Object.keys(MOMENTS).filter(isMoment)) {
      it(`${moment} costs no bytes and leaves none`, async () => {
        await using temp = await tempDir();
        await half(temp.path);
        await killed(temp.path, moment);
        assert.equal(await offsetOf(temp.path), KEPT, 'what is really there');
        await assertGoesOn(temp.path);
      });
    }

    for (const moment of ['before it has a file', 'when it has copied a part'] as const) {
      it(`${moment}, many times in a row, does not fill the disk`, async () => {
        await using temp = await tempDir();
        await half(temp.path);
        for (let i = 0; i < MANY_KILLS; i += 1) {
          await killed(temp.path, moment);
          assert.ok((await parts(temp.path)).length <= 2);
        }
        await assertGoesOn(temp.path);
      });
    }

    it('is forgotten with everything when it is aborted', async () => {
      await using temp = await tempDir();
      await half(temp.path);
      await killed(temp.path, 'when it has copied a part');
      await storeAt(temp.path).abort('a', opts);
      assert.deepEqual(await readdir(temp.join('ingest')), []);
    });

    it('leaves nothing when somebody else has brought the content', async () => {
      await using temp = await tempDir();
      await half(temp.path);
      await killed(temp.path, 'when it has copied a part');
      const go = Promise.withResolvers<void>();
      const reached = Promise.withResolvers<void>();
      const fs = new FaultFs({ call: 'open', path: /\.lock$/, act: { pause: go.promise, reached: reached.resolve } });
      const late = storeAt(temp.path, fs).ingest(request, opts);
      await reached.promise;
      await using writer = await open(temp.path, { ...request, ref: 'b' });
      await writer.write(bytes);
      await writer.commit(opts);
      go.resolve();
      assert.equal((await late).state, 'present');
      assert.deepEqual(await readdir(temp.join('ingest')), []);
    });

    it('costs no bytes when the next one fails', async () => {
      for (const call of ['statfs', 'open', 'writev'] as const) {
        await using temp = await tempDir();
        await half(temp.path);
        await killed(temp.path, 'before it has a file');
        const fs = new FaultFs({ call, ...(call === 'statfs' ? {} : { path: PART }), act: { fail: 'ENOSPC' } });
        await assert.rejects(open(temp.path, request, fs), { code: 'NO_SPACE' });
        assert.equal(await offsetOf(temp.path), KEPT, call);
        await assertGoesOn(temp.path);
      }
    });

    it('for other content neither hides what is there nor passes it off as its own', async () => {
      await using temp = await tempDir();
      await half(temp.path);
      // The bytes of other content go before it has a file of its own.
      const fs = new FaultFs({ call: 'unlink', path: PART, act: { fail: 'EIO' } });
      await assert.rejects(open(temp.path, other, fs), { code: 'IO' });
      assert.equal(await offsetOf(temp.path), 0);
      await assertGoesOn(temp.path);
      await half(temp.join('second'));
      await killed(temp.join('second'), 'before it has a file', 'other');
      await assertGoesOn(temp.join('second'), 0);
    });

    it('keeps its bytes from a garbage collection as long as its lock is young', async () => {
      await using temp = await tempDir();
      await half(temp.path);
      await killed(temp.path, 'before it has a file');
      const yesterday = new Date(Date.now() - 86_400_000);
      for (const file of await parts(temp.path)) await utimes(temp.join('ingest', file), yesterday, yesterday);
      assert.equal((await collect(temp.path, 3_600_000)).ingests.length, 0);
      assert.equal(await offsetOf(temp.path), KEPT);
      assert.equal((await collect(temp.path, 0)).ingests.length, 1);
      assert.deepEqual(await readdir(temp.join('ingest')), []);
    });

    for (const work of ['abort', 'collect'] as const) {
      it(`is not forgotten by a ${work} that is killed as well`, async () => {
        await using temp = await tempDir();
        await half(temp.path);
        await killed(temp.path, 'when it has copied a part');
        await killed(temp.path, 'when it has copied all', work);
        await assertGoesOn(temp.path);
      });
    }
  });
}
