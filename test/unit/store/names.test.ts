import assert from 'node:assert/strict';
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { FaultFs } from '../../support/fault-fs.ts';
import { type TempDir, tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const REF_NAME = 'org.opencontainers.image.ref.name';

const desc = (seed: string): Descriptor => ({ mediaType: OCI_MANIFEST, digest: digestOf(seed), size: 7 });

/** An entry as another tool would write it, spaces and all. */
const entry = (seed: string, name?: string): string =>
  `{"size" : 7, "digest":"${digestOf(seed)}", "mediaType":"${OCI_MANIFEST}"${
    name === undefined ? '' : `, "annotations": { "${REF_NAME}" : "${name}" , "10":"x", "2":"y" }`
  }, "unknown": 1.50 }`;

const indexOf = (...entries: string[]): string =>
  `{ "manifests" : [ ${entries.join(' ,\n ')} ], "schemaVersion": 2, "com.example.Field": {"b":1e2,"a":[ ]} }`;

interface Shelf extends AsyncDisposable {
  readonly temp: TempDir;
  readonly store: ContentStore;
  readonly index: string;
}

async function shelf(index?: string): Promise<Shelf> {
  const temp = await tempDir();
  const store = new ContentStore({ root: temp.path, staleLockMs: 500 });
  await store.create();
  if (index !== undefined) await writeFile(temp.join('index.json'), index);
  return { temp, store, index: temp.join('index.json'), [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose]() };
}

/** What index.json says: names (or digests) and the seeds they stand for. */
async function published({ index }: Shelf): Promise<Record<string, string>> {
  const document: { manifests: { digest: string; annotations?: Record<string, string> }[] } = JSON.parse(
    await readFile(index, 'utf8'),
  );
  const seeds = new Map(['one', 'two', 'three', 'four'].map((seed) => [String(digestOf(seed)), seed]));
  const pairs = document.manifests.map(({ digest, annotations }) => [
    annotations?.[REF_NAME] ?? digest,
    seeds.get(digest) ?? '?',
  ]);
  assert.equal(new Set(pairs.map(([name]) => name)).size, pairs.length, 'a name stands there twice');
  return Object.fromEntries(pairs);
}

const pending = async ({ temp }: Shelf): Promise<number> => (await readdir(temp.join('gantry/names-pending'))).length;

describe('what other tools wrote into index.json', () => {
  it('stays as it is, byte for byte', async () => {
    const theirs = [
      entry('one', 'theirs'),
      entry('two'),
      '{"mediaType":"application/x","digest":"blake3:00aabb","size":9007199254740991,"a":"\\u00e4"}',
    ];
    await using place = await shelf(indexOf(...theirs));
    await place.store.names.record('ours', desc('three'), opts);
    await place.store.names.publish(opts);
    await place.store.names.record('ours', desc('four'), opts);
    await place.store.names.publish(opts);
    const text = await readFile(place.index, 'utf8');
    for (const each of theirs) assert.ok(text.includes(each), each);
    assert.ok(text.includes('"com.example.Field":{"b":1e2,"a":[ ]}'));
    assert.deepEqual(await published(place), {
      theirs: 'one',
      [digestOf('two')]: 'two',
      'blake3:00aabb': '?',
      ours: 'four',
    });
  });

  it('is listed, found and removed by name, or by digest where it has none', async () => {
    await using place = await shelf(indexOf(entry('one', 'theirs'), entry('two')));
    const { names } = place.store;
    assert.deepEqual(
      (await names.list(opts)).map(({ name }) => name),
      [digestOf('two'), 'theirs'].toSorted(),
    );
    assert.equal((await names.lookup('theirs', opts))?.desc.digest, digestOf('one'));
    await names.remove('theirs', opts);
    await names.remove(digestOf('two'), opts);
    assert.deepEqual(await published(place), {});
    assert.deepEqual(await names.list(opts), []);
    assert.equal(await pending(place), 0);
  });

  it('gives way where the name is recorded anew', async () => {
    await using place = await shelf(indexOf(entry('one', 'a')));
    await place.store.names.record('a', desc('two'), opts);
    assert.equal((await place.store.names.lookup('a', opts))?.desc.digest, digestOf('two'));
    await place.store.names.publish(opts);
    assert.deepEqual(await published(place), { a: 'two' });
  });

  it('wins where it came after ours was published', async () => {
    await using place = await shelf();
    const { names } = place.store;
    await names.record('a', desc('one'), opts);
    await names.publish(opts);
    await writeFile(place.index, indexOf(entry('two', 'a')));
    assert.equal((await names.lookup('a', opts))?.desc.digest, digestOf('two'));
    assert.equal((await names.list(opts))[0]?.desc.digest, digestOf('two'));
    await names.record('b', desc('three'), opts);
    await names.publish(opts);
    assert.deepEqual(await published(place), { a: 'two', b: 'three' });
    assert.equal(
      (await new ContentStore({ root: place.temp.path }).names.lookup('a', opts))?.desc.digest,
      digestOf('two'),
    );
    // Asked for again, ours is news once more.
    await names.record('a', desc('one'), opts);
    await names.publish(opts);
    assert.deepEqual(await published(place), { a: 'one', b: 'three' });
  });

  it('gives way where ours is asked for again before anything was published', async () => {
    await using place = await shelf();
    const { names } = place.store;
    await names.record('a', desc('one'), opts);
    await names.publish(opts);
    await writeFile(place.index, indexOf(entry('two', 'a')));
    await names.record('a', desc('one'), opts);
    await names.publish(opts);
    assert.deepEqual(await published(place), { a: 'one' });
  });

  it('is old where it says what the name meant before', async () => {
    await using place = await shelf();
    const { names } = place.store;
    await names.record('a', desc('one'), opts);
    await names.publish(opts);
    const before = await readFile(place.index);
    await names.record('a', desc('two'), opts);
    await names.publish(opts);
    await writeFile(place.index, before); // another tool had read it, and writes it back
    await names.record('b', desc('three'), opts);
    await names.publish(opts);
    assert.deepEqual(await published(place), { a: 'two', b: 'three' });
  });

  it('may be gone: then it is made anew', async () => {
    for (const text of [undefined, '']) {
      await using place = await shelf();
      const { names } = place.store;
      await names.record('a', desc('one'), opts);
      await names.publish(opts);
      if (text === undefined) await rm(place.index);
      else await writeFile(place.index, text);
      const again = new ContentStore({ root: place.temp.path });
      await again.create();
      assert.equal((await again.names.lookup('a', opts))?.desc.digest, digestOf('one'));
      await again.names.publish(opts);
      assert.deepEqual(await published(place), { a: 'one' });
    }
  });

  it('does not cost us the names that it left out', async () => {
    await using place = await shelf();
    const { names } = place.store;
    for (const name of ['a', 'b', 'c']) await names.record(name, desc('one'), opts);
    await names.publish(opts);
    await writeFile(place.index, indexOf(entry('two', 'theirs')));
    assert.equal((await names.list(opts)).length, 4);
    await names.record('d', desc('one'), opts);
    await names.publish(opts);
    assert.deepEqual(await published(place), { theirs: 'two', a: 'one', b: 'one', c: 'one', d: 'one' });
  });

  for (const [what, text] of Object.entries({
    torn: indexOf(entry('one', 'a')).slice(0, 100),
    'a list': '[]',
    'without descriptors': '{"manifests":[{}]}',
    ambiguous: '{"manifests":[],"Manifests":[]}',
  })) {
    it(`is left alone when it is ${what}, and the error says so`, async () => {
      await using place = await shelf(text);
      await place.store.names.record('a', desc('one'), opts);
      for (const work of [() => place.store.names.publish(opts), () => place.store.names.list(opts)]) {
        await assert.rejects(work(), (err) => {
          assert.ok(isCode(err, 'MALFORMED'));
          assert.match(err.message, /index\.json/);
          assert.match(err.hint ?? '', /delete it/);
          return true;
        });
      }
      assert.equal(await readFile(place.index, 'utf8'), text);
      await rm(place.index);
      await place.store.names.publish(opts);
      assert.deepEqual(await published(place), { a: 'one' });
    });
  }
});

describe('recording beside publishing', () => {
  /** Stops a second writer of names at a call, publishes meanwhile, and lets it go on. */
  async function beside(call: 'open' | 'rename', path: RegExp, index?: string): Promise<Shelf> {
    const place = await shelf(index);
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs({ call, path, act: { pause: go.promise, reached: reached.resolve } });
    const other = new ContentStore({ root: place.temp.path, fs });
    const recording = other.names.record('a', desc('one'), opts);
    await reached.promise;
    await place.store.names.record('b', desc('two'), opts);
    await place.store.names.publish(opts);
    go.resolve();
    await recording;
    return place;
  }

  it('is published next time, wherever it was', async () => {
    for (const [call, path] of [
      ['open', /names-pending/],
      ['open', /names\/.*tmp/],
      ['rename', /names\//],
      ['open', /names$/],
    ] as const) {
      await using place = await beside(call, path);
      await place.store.names.publish(opts);
      assert.deepEqual(await published(place), { a: 'one', b: 'two' }, path.source);
      assert.equal(await pending(place), 0);
    }
  });

  it('does not cost another tool its entry before it is done', async () => {
    await using place = await shelf(indexOf(entry('three', 'a')));
    const fs = new FaultFs({ call: 'rename', path: /names\//, act: { pause: new Promise(() => {}) } });
    const killed = new ContentStore({ root: place.temp.path, fs });
    void killed.names.record('a', desc('one'), opts);
    while (fs.hits === 0) await new Promise(setImmediate);
    await place.store.names.record('b', desc('two'), opts);
    await place.store.names.publish(opts);
    assert.deepEqual(await published(place), { a: 'three', b: 'two' });
    assert.equal((await place.store.names.lookup('a', opts))?.desc.digest, digestOf('three'));
  });

  it('is not undone by the adoption of what another tool wrote before', async () => {
    await using place = await shelf();
    await place.store.names.record('a', desc('one'), opts);
    await place.store.names.publish(opts);
    await writeFile(place.index, indexOf(entry('two', 'a')));
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs();
    const adopting = new ContentStore({ root: place.temp.path, fs });
    await adopting.names.record('b', desc('three'), opts);
    fs.arm({ call: 'rename', path: /names\/.*old$/, act: { pause: go.promise, reached: reached.resolve } });
    const publishing = adopting.names.publish(opts);
    await reached.promise;
    await place.store.names.record('a', desc('four'), opts);
    go.resolve();
    await publishing;
    await place.store.names.publish(opts);
    assert.equal((await place.store.names.lookup('a', opts))?.desc.digest, digestOf('four'));
    assert.deepEqual(await published(place), { a: 'four', b: 'three' });
  });

  it('is not taken for older than what another tool wrote, when it comes while names are read', async () => {
    await using place = await shelf(indexOf(entry('three', 'a')));
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs({ call: 'readdir', path: /names$/, act: { pause: go.promise, reached: reached.resolve } });
    const publisher = new ContentStore({ root: place.temp.path, fs });
    await publisher.names.record('b', desc('two'), opts);
    const publishing = publisher.names.publish(opts);
    await reached.promise;
    await place.store.names.record('a', desc('one'), opts);
    go.resolve();
    await publishing;
    assert.equal((await place.store.names.lookup('a', opts))?.desc.digest, digestOf('one'));
    await place.store.names.publish(opts);
    assert.deepEqual(await published(place), { a: 'one', b: 'two' });
  });

  it('leaves no mark when it fails', async () => {
    await using place = await shelf();
    const fs = new FaultFs({ call: 'rename', path: /names\//, act: { fail: 'ENOSPC' } });
    await assert.rejects(new ContentStore({ root: place.temp.path, fs }).names.record('a', desc('one'), opts), {
      code: 'NO_SPACE',
    });
    assert.equal(await pending(place), 0);
  });

  it('is healed when a publisher has slept and writes over what its successor wrote', async () => {
    await using place = await shelf();
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs = new FaultFs({
      call: 'rename',
      path: /index\.json$/,
      act: { pause: go.promise, reached: reached.resolve },
    });
    const sleeper = new ContentStore({ root: place.temp.path, fs });
    await sleeper.names.record('a', desc('one'), opts);
    const publishing = sleeper.names.publish(opts);
    await reached.promise;
    await rm(place.temp.join('gantry/index.lock')); // as if it had been stale
    await place.store.names.record('b', desc('two'), opts);
    await place.store.names.publish(opts);
    go.resolve();
    await publishing;
    assert.deepEqual(await published(place), { a: 'one' });
    assert.equal((await place.store.names.list(opts)).length, 2);
    await place.store.names.record('c', desc('three'), opts);
    await place.store.names.publish(opts);
    assert.deepEqual(await published(place), { a: 'one', b: 'two', c: 'three' });
  });

  it('leaves a mark that is forgotten some time after a kill', async () => {
    await using place = await shelf();
    const fs = new FaultFs({ call: 'rename', path: /names\//, act: { pause: new Promise(() => {}) } });
    void new ContentStore({ root: place.temp.path, fs }).names.record('a', desc('one'), opts);
    while (fs.hits === 0) await new Promise(setImmediate);
    await writeFile(place.temp.join('gantry/names-pending/empty.json'), '');
    await place.store.names.publish(opts);
    assert.equal(await pending(place), 2);
    const directory = place.temp.join('gantry/names-pending');
    const past = new Date(Date.now() - 3_600_000);
    for (const each of await readdir(directory)) await utimes(join(directory, each), past, past);
    await place.store.names.publish(opts);
    assert.equal(await pending(place), 0);
    assert.deepEqual(await published(place), {});
  });
});

describe('the cost of names', () => {
  it('is the same for the first and for the last of many', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs();
    const store = new ContentStore({ root: temp.path, fs });
    await store.create();
    const costs: number[] = [];
    for (let i = 0; i < 200; i += 1) {
      fs.calls.length = 0;
      await store.names.record(`a:${i}`, desc(String(i)), opts);
      costs.push(fs.calls.length);
    }
    assert.equal(new Set(costs).size, 1, costs.join(' '));
  });

  it('to publish is that of the names that have changed', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs();
    const store = new ContentStore({ root: temp.path, fs });
    for (let i = 0; i < 30; i += 1) await store.names.record(`a:${i}`, desc('one'), opts);
    await store.names.publish(opts);
    fs.calls.length = 0;
    await store.names.record('b', desc('two'), opts);
    await store.names.remove('a:7', opts);
    await store.names.publish(opts);
    assert.ok(fs.count('readFile', /names\//) < 10, fs.calls.join('\n'));
    assert.equal((await store.names.list(opts)).length, 30);
    const text = await readFile(temp.join('index.json'), 'utf8');
    assert.ok(text.includes('"b"') && !text.includes('"a:7"') && text.includes('"a:8"'));
  });

  it('is a look when nothing is to be published', async () => {
    await using temp = await tempDir();
    const fs = new FaultFs();
    const store = new ContentStore({ root: temp.path, fs });
    await store.names.record('a', desc('one'), opts);
    await store.names.publish(opts);
    fs.calls.length = 0;
    await store.names.publish(opts);
    assert.ok(fs.calls.length <= 2, fs.calls.join('\n'));
  });
});

it('a record that is torn is named, and what to do about it', async () => {
  await using place = await shelf();
  await place.store.names.record('a', desc('one'), opts);
  const [file = ''] = await readdir(place.temp.join('gantry/names'));
  for (const text of ['', '{', '{"name":1}', '{"name":"a","descriptor":{}}']) {
    await writeFile(place.temp.join('gantry/names', file), text);
    await assert.rejects(place.store.names.list(opts), (err) => {
      assert.ok(isCode(err, 'MALFORMED') && err.message.includes(file) && err.hint);
      return true;
    });
  }
});
