/** Several processes in one store. Runs itself as those processes. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { neededContent } from '../../src/handlers/needed.ts';
import type { ContentWriter } from '../../src/content/ports.ts';
import { GantryError } from '../../src/errors.ts';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { image } from '../support/images.ts';
import { run, type Running, start } from '../support/process.ts';
import { randomBytesOf, readAll } from '../support/registry/content.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const opts = { signal: new AbortController().signal };
const PROCESSES = 8;
const NAMES_EACH = 50;
const STRESS_MS = 2500;

const big = randomBytesOf('big', 3 << 20);
const bigRequest = { ref: 'big', digest: digestOf(big), size: big.length };
const HALF = 1 << 20;

const storeAt = (root: string): ContentStore => new ContentStore({ root, staleLockMs: 600 });

const nameOf = (process: string, i: number): string => `example.org/${process}:${i}`;

async function put(store: ContentStore, content: Buffer, digest: Digest = digestOf(content)): Promise<string> {
  const ingest = await store.ingestWaiting({ ref: digest, digest, size: content.length }, opts);
  if (ingest.state === 'present') return 'present';
  await using writer = ingest.writer;
  await writer.write(content.subarray(writer.offset));
  await writer.commit(opts);
  return 'fetched';
}

/** An image whose blobs nobody else has, and its bytes. */
function imageOf(seed: string): { name: string; desc: ReturnType<typeof image>['desc']; contents: Buffer[] } {
  const made = image({ seed, layers: [3000, 2000, 1000] });
  return {
    name: `example.org/i:${seed}`,
    desc: made.desc,
    contents: [...[...made.blobs.values()].map(readAll), made.manifest],
  };
}

const CHILDREN: Record<string, (store: ContentStore, arg: string) => Promise<void>> = {
  async id(store) {
    console.log(await store.id());
  },
  async names(store, arg) {
    for (let i = 0; i < NAMES_EACH; i += 1) {
      await store.names.record(nameOf(arg, i), image({ seed: i, layers: [10] }).desc, opts);
      if (i % 10 === 0) await store.names.publish(opts);
    }
    await store.names.publish(opts);
  },
  async blob(store) {
    console.log(await put(store, big));
  },
  /** Writes a half, waits, writes the rest: whoever starts it stops it in between. */
  async slow(store) {
    const ingest = await store.ingest(bigRequest, opts);
    assert.ok(ingest.state === 'open');
    await using writer = ingest.writer;
    for (let at = 0; at < HALF; at += 1 << 16) await writer.write(big.subarray(at, at + (1 << 16)));
    while (((await store.active(opts))[0]?.offset ?? 0) < HALF) await sleep(5);
    console.log('half');
    await sleep(50);
    console.log('woken', await endOf(writer));
  },
  /** Pulls images that share blobs with nobody, over and over, and looks whether all is there as long as it should be. */
  async pull(store, arg) {
    const end = performance.now() + STRESS_MS;
    let rounds = 0;
    for (; performance.now() < end; rounds += 1) {
      const { name, desc, contents } = imageOf(`${arg}/${rounds % 3}`);
      {
        await using _protection = await store.protect(opts);
        for (const content of contents) await put(store, content);
        for (const content of contents) await assertThere(store, content, 'while pulled');
        await store.names.record(name, desc, opts);
      }
      for (const content of contents) await assertThere(store, content, 'while named');
      await store.names.remove(name, opts);
    }
    console.log('rounds', rounds);
  },
  async collect(store) {
    const end = performance.now() + STRESS_MS;
    let deleted = 0;
    let collections = 0;
    while (performance.now() < end) {
      const { blobs } = await store.collect((provider, each) => neededContent(store.names, provider, each), {
        ...opts,
        dryRun: false,
        ingestsOlderThanMs: 1e9,
      });
      deleted += blobs.length;
      collections += 1;
    }
    console.log('collected', deleted, 'in', collections);
  },
};

async function endOf(writer: ContentWriter): Promise<string> {
  try {
    await writer.write(big.subarray(HALF));
    await writer.commit(opts);
    return 'committed';
  } catch (err) {
    return err instanceof GantryError ? err.code : String(err);
  }
}

async function assertThere(store: ContentStore, content: Buffer, when: string): Promise<void> {
  const digest = digestOf(content);
  try {
    assert.ok(await store.isIntact(digest, opts));
  } catch (err) {
    throw new Error(`${digest} is not there ${when}`, { cause: err });
  }
}

const args = (what: string, temp: TempDir, arg: string): string[] => [
  import.meta.filename,
  'child',
  what,
  temp.join('store'),
  arg,
];
const envOf = (temp: TempDir): NodeJS.ProcessEnv => ({ ...process.env, NODE_COMPILE_CACHE: temp.join('compiled') });

const startChild = (what: string, temp: TempDir, arg = ''): Running =>
  start(process.execPath, args(what, temp, arg), { env: envOf(temp) });

/** Runs so many at once; gives what they wrote. */
async function many(what: string, temp: TempDir, count = PROCESSES): Promise<string[]> {
  const children = Array.from({ length: count }, (_, i) =>
    run(process.execPath, args(what, temp, String(i)), { env: envOf(temp) }),
  );
  const results = await Promise.all(children);
  for (const { code, stderr } of results) assert.equal(code, 0, stderr);
  return results.map(({ stdout }) => stdout.trim());
}

if (process.argv[2] === 'child') {
  const [, , , what = '', root = '', arg = ''] = process.argv;
  await CHILDREN[what]?.(storeAt(root), arg);
} else {
  describe('eight processes at once', () => {
    it('make one store with one id', async () => {
      await using temp = await tempDir();
      const ids = await many('id', temp);
      assert.equal(new Set(ids).size, 1);
      assert.deepEqual((await readdir(temp.join('store'))).toSorted(), [
        'blobs',
        'gantry',
        'index.json',
        'ingest',
        'oci-layout',
      ]);
    });

    it('record fifty names each, and all are there', async () => {
      await using temp = await tempDir();
      await many('names', temp);
      const names = Array.from({ length: PROCESSES }, (_, p) =>
        Array.from({ length: NAMES_EACH }, (_, i) => nameOf(String(p), i)),
      );
      const expected = names.flat().toSorted();
      const store = storeAt(temp.join('store'));
      assert.deepEqual((await store.names.list(opts)).map(({ name }) => name).toSorted(), expected);
      const index: { manifests: { annotations: Record<string, string> }[] } = JSON.parse(
        await readFile(temp.join('store/index.json'), 'utf8'),
      );
      assert.deepEqual(index.manifests.map((each) => String(Object.values(each.annotations))).toSorted(), expected);
      assert.deepEqual(await readdir(temp.join('store/gantry/names-pending')), []);
    });

    it('want one blob: one writes it, and all have it', async () => {
      await using temp = await tempDir();
      const answers = await many('blob', temp);
      assert.equal(answers.filter((each) => each === 'fetched').length, 1);
      assert.ok(await storeAt(temp.join('store')).isIntact(digestOf(big), opts));
      assert.deepEqual(await readdir(temp.join('store/ingest')), []);
    });
  });

  describe('a writer', () => {
    it('that was killed is continued at once', async () => {
      await using temp = await tempDir();
      await using child = startChild('slow', temp);
      await child.waitForOutput(/half/);
      child.kill();
      await child.done;
      const ingest = await storeAt(temp.join('store')).ingest(bigRequest, opts);
      assert.ok(ingest.state === 'open');
      await using writer = ingest.writer;
      assert.ok(writer.offset >= HALF);
      await writer.write(big.subarray(writer.offset));
      await writer.commit(opts);
      assert.deepEqual(await readdir(temp.join('store/ingest')), []);
    });

    it('that sleeps is taken over after a while, and its late bytes harm nobody', async () => {
      await using temp = await tempDir();
      const store = storeAt(temp.join('store'));
      await using child = startChild('slow', temp);
      await child.waitForOutput(/half/);
      child.kill('SIGSTOP');
      assert.equal((await store.ingest(bigRequest, opts)).state, 'busy');
      const asked = performance.now();
      const ingest = await store.ingestWaiting(bigRequest, opts);
      assert.ok(performance.now() - asked > 300, 'it was given time');
      assert.ok(ingest.state === 'open');
      await using writer = ingest.writer;
      assert.ok(writer.offset >= HALF);
      child.kill('SIGCONT');
      const [, end] = await child.waitForOutput(/woken (\w+)/);
      assert.equal(end, 'LOST_LOCK');
      await child.done;
      await writer.write(big.subarray(writer.offset));
      await writer.commit(opts);
      assert.ok(await store.isIntact(digestOf(big), opts));
      assert.deepEqual(await readdir(temp.join('store/ingest')), []);
    });
  });

  it('pulls and garbage collections beside each other lose nothing', async () => {
    await using temp = await tempDir();
    await using one = startChild('pull', temp, 'one');
    await using two = startChild('pull', temp, 'two');
    await using collector = startChild('collect', temp);
    for (const child of [one, two, collector]) {
      const { code, stderr } = await child.done;
      assert.equal(code, 0, stderr);
    }
    const rounds = Number(/rounds (\d+)/.exec(one.stdout)?.[1]);
    const collected = Number(/collected (\d+)/.exec(collector.stdout)?.[1]);
    assert.ok(rounds > 10 && collected > 10, `${one.stdout} ${collector.stdout}`);
    assert.deepEqual(await readdir(temp.join('store/gantry/trash')), []);
    assert.deepEqual(await readdir(temp.join('store/gantry/sessions')), []);
  });
}
