/** Disks that are really full, read-only or elsewhere, where this machine lets us make them. Runs itself as the process. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, rmdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ByteStream } from '../../src/call.ts';
import { asGantryError, GantryError } from '../../src/errors.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_LAYER } from '../../src/oci/media-types.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { Spool } from '../../src/store/spool.ts';
import { run, type RunResult } from '../support/process.ts';
import { randomBytesOf } from '../support/registry/content.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: new AbortController().signal };
const bytes = randomBytesOf('disk', 6 << 20);
const digest = digestOf(bytes);
/** Without a size, so that only the disk can tell that there is no room. */
const request = { ref: 'a', digest };

async function put(store: ContentStore): Promise<void> {
  const ingest = await store.ingest(request, opts);
  assert.ok(ingest.state === 'open', ingest.state);
  await using writer = ingest.writer;
  for (let at = 0; at < bytes.length; at += 1 << 18) await writer.write(bytes.subarray(at, at + (1 << 18)));
  await writer.commit(opts);
}

/** Reads the same through a file for several readers. */
async function spool(dir: string, pieceBytes: number): Promise<void> {
  const content = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
  };
  const open = async (): Promise<ByteStream> =>
    Object.assign(content(), { [Symbol.asyncDispose]: () => Promise.resolve() });
  const desc = { mediaType: OCI_LAYER, digest, size: bytes.byteLength };
  await using files = new Spool({ dir });
  await using stream = await files.share(desc, { open }).open(opts);
  for await (const chunk of stream) assert.ok(chunk.byteLength > 0);
}

/** What came of it, as JSON. */
async function child(root: string, pieceBytes: number): Promise<object> {
  const store = new ContentStore({ root });
  try {
    await (pieceBytes > 0 ? spool(root, pieceBytes) : put(store));
    return { ok: true };
  } catch (thrown) {
    const err = asGantryError(thrown);
    const left = await readdir(join(root, 'ingest')).catch(() => []);
    return { code: err.code, message: err.message, hint: err.hint, left };
  }
}

interface Outcome {
  readonly ok?: boolean;
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string;
  readonly left?: string[];
}

/** Runs itself after some shell commands; `$1` is the store. */
async function after(setup: string, root: string, wrapper: readonly string[] = [], pieceBytes = 0): Promise<Outcome> {
  const script = `${setup}\nexec "$2" "$3" child "$1" ${pieceBytes}`;
  const [command, ...rest] = [...wrapper, 'sh', '-ec', script, 'sh', root, process.execPath, import.meta.filename];
  const result: RunResult = await run(command, rest);
  assert.equal(result.code, 0, result.stderr);
  const outcome: Outcome = JSON.parse(result.stdout);
  return outcome;
}

const OWN_MOUNTS = ['unshare', '-rm'];
const skip = (await run('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt']).then(
  ({ code }) => code === 0,
  () => false,
))
  ? false
  : 'no mount namespaces here';

async function otherDevice(): Promise<string | undefined> {
  return mkdtemp('/dev/shm/gantry-test-').catch(() => undefined);
}

if (process.argv[2] === 'child') {
  console.log(JSON.stringify(await child(process.argv[3] ?? '', Number(process.argv[4] ?? 0))));
} else {
  describe('a disk', () => {
    it('that is full: a clear error, and nothing left on it', { skip }, async () => {
      await using temp = await tempDir();
      const root = temp.join('store');
      const outcome = await after('mkdir "$1"; mount -t tmpfs -o size=4m none "$1"', root, OWN_MOUNTS);
      assert.equal(outcome.code, 'NO_SPACE');
      assert.match(outcome.message ?? '', /ENOSPC/);
      assert.match(outcome.hint ?? '', /free some space/);
      assert.deepEqual(outcome.left, []);
    });

    for (const pieceBytes of [1 << 18, bytes.length]) {
      it(
        `that is full of what goes to several registries, in pieces of ${pieceBytes}: a clear error`,
        { skip },
        async () => {
          await using temp = await tempDir();
          const setup = 'mkdir "$1"; mount -t tmpfs -o size=4m none "$1"';
          const outcome = await after(setup, temp.join('tmp'), OWN_MOUNTS, pieceBytes);
          assert.equal(outcome.code, 'NO_SPACE', outcome.message);
          assert.match(outcome.message ?? '', /ENOSPC/);
          assert.match(outcome.hint ?? '', /TMPDIR/);
        },
      );
    }

    it('that is read-only: a clear error', { skip }, async () => {
      await using temp = await tempDir();
      const root = temp.join('store');
      await new ContentStore({ root }).create();
      const setup = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"';
      const outcome = await after(setup, root, OWN_MOUNTS);
      assert.equal(outcome.code, 'IO');
      assert.match(outcome.message ?? '', /EROFS/);
      assert.match(outcome.hint ?? '', /read-only/);
      await put(new ContentStore({ root }));
    });

    it('that takes only small files: a clear error, and nothing left on it', async () => {
      await using temp = await tempDir();
      const outcome = await after('ulimit -f 4096', temp.join('store')); // 512-byte blocks: 2 MiB
      assert.equal(outcome.code, 'IO');
      assert.match(outcome.message ?? '', /EFBIG/);
      assert.match(outcome.hint ?? '', /ulimit/);
      assert.deepEqual(outcome.left, []);
      await put(new ContentStore({ root: temp.join('store') }));
    });

    it('whose ingest directory is on another device: a clear error that says so', async (t) => {
      const elsewhere = await otherDevice();
      if (elsewhere === undefined) {
        t.skip('no /dev/shm here');
        return;
      }
      try {
        await using temp = await tempDir();
        const store = new ContentStore({ root: temp.path });
        await store.create();
        await rmdir(temp.join('ingest'));
        await symlink(elsewhere, temp.join('ingest'));
        await assert.rejects(put(store), (err) => {
          assert.ok(err instanceof GantryError);
          assert.equal(err.code, 'IO');
          assert.match(`${err.message} ${err.hint}`, /EXDEV.*one file system/);
          return true;
        });
        assert.deepEqual(await readdir(elsewhere), []);
        await rm(temp.join('ingest'));
        await mkdir(temp.join('ingest'));
        await put(store);
      } finally {
        await rm(elsewhere, { recursive: true });
      }
    });
  });
}
