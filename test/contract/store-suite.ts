/** What every content store does, whatever it is made of. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  ContentManager,
  ContentWriter,
  ImageNames,
  IngestManager,
  Ingester,
  IngestRequest,
  InfoProvider,
  Provider,
} from '../../src/content/ports.ts';
import { type ErrorCode, GantryError } from '../../src/errors.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { type Algorithm, type Digest, digestOf } from '../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { randomBytesOf } from '../support/registry/content.ts';

export interface OpenStore extends AsyncDisposable {
  readonly store: Ingester & Provider & InfoProvider & IngestManager & ContentManager;
  readonly names: ImageNames;
}

interface Blob {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes: Buffer;
}

const opts = { signal: new AbortController().signal };

const blob = (size: number, seed = 'blob', algorithm: Algorithm = 'sha256'): Blob => {
  const bytes = randomBytesOf(`${seed}/${size}`, size);
  return { digest: digestOf(bytes, algorithm), size, bytes };
};

const manifest = (seed: string): Descriptor => ({ mediaType: OCI_MANIFEST, digest: digestOf(seed), size: 500 });

const fails = (work: Promise<unknown>, ...codes: readonly ErrorCode[]): Promise<void> =>
  assert.rejects(work, (err) => {
    assert.ok(err instanceof GantryError, String(err));
    assert.ok(codes.includes(err.code), `${err.code}: ${err.message}`);
    return true;
  });

async function writerOf(store: Ingester, request: IngestRequest): Promise<ContentWriter> {
  const ingest = await store.ingest(request, opts);
  assert.equal(ingest.state, 'open');
  assert.ok(ingest.state === 'open');
  return ingest.writer;
}

async function put(store: Ingester, { digest, size, bytes }: Blob, ref = `ref of ${digest}`): Promise<void> {
  await using writer = await writerOf(store, { ref, digest, size });
  await writer.write(bytes);
  await writer.commit(opts);
}

/** An attempt that ends before it is done. */
async function putPart(store: Ingester, request: IngestRequest, bytes: Uint8Array): Promise<void> {
  await using writer = await writerOf(store, request);
  await writer.write(bytes);
}

async function get(store: Provider, of: Pick<Blob, 'digest' | 'size'>, offset = 0): Promise<Buffer> {
  await using body = await store.open(of, { ...opts, offset });
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

type Open = () => Promise<OpenStore>;

export function storeContract(name: string, open: Open): void {
  describe(`${name}: writing`, () => writing(open));
  describe(`${name}: writing what is wrong`, () => writingWrong(open));
  describe(`${name}: going on with an earlier attempt`, () => resuming(open));
  describe(`${name}: reading`, () => reading(open));
  describe(`${name}: looking after content`, () => managing(open));
  describe(`${name}: looking after unfinished writes`, () => managingIngests(open));
  describe(`${name}: names`, () => naming(open));
}

function writing(open: Open): void {
  it('keeps content invisible until commit', async () => {
    await using opened = await open();
    const { store } = opened;
    const { digest, size, bytes } = blob(64 * 1024);
    await using writer = await writerOf(store, { ref: 'a', digest, size });
    await writer.write(bytes);
    assert.equal(await store.stat(digest, opts), undefined);
    await fails(store.open({ digest, size }, opts), 'NOT_FOUND');
    const info = await writer.commit(opts);
    assert.equal(info.digest, digest);
    assert.equal((await store.stat(digest, opts))?.size, size);
  });

  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const size of [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 7]) {
      it(`gives back ${size} bytes under their ${algorithm}`, async () => {
        await using opened = await open();
        const made = blob(size, 'some', algorithm);
        await put(opened.store, made);
        assert.ok((await get(opened.store, made)).equals(made.bytes));
      });
    }
  }

  it('does not care how the bytes are cut', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob((2 << 20) + 13);
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    for (let at = 0, step = 1; at < size; at += step, step = (step * 7) % 4099) {
      await writer.write(bytes.subarray(at, at + step));
      await writer.write(bytes.subarray(0, 0));
    }
    assert.equal(writer.offset, size);
    await writer.commit(opts);
    assert.ok((await get(opened.store, { digest, size })).equals(bytes));
  });

  it('takes whatever the bytes hash to when nothing is expected', async () => {
    await using opened = await open();
    const { digest, bytes } = blob(1000);
    await using writer = await writerOf(opened.store, { ref: 'upload 1' });
    await writer.write(bytes);
    assert.equal((await writer.commit(opts)).digest, digest);
    assert.ok(await opened.store.stat(digest, opts));
  });

  it('answers present for what is there, under any ref', async () => {
    await using opened = await open();
    const { store } = opened;
    const made = blob(1000);
    await put(store, made);
    for (const ref of ['one', 'other']) {
      const ingest = await store.ingest({ ref, digest: made.digest, size: made.size }, opts);
      assert.ok(ingest.state === 'present');
      assert.equal(ingest.info.size, made.size);
    }
    assert.deepEqual(await store.active(opts), []);
  });

  it('answers busy while somebody else writes the ref', async () => {
    await using opened = await open();
    const { digest, size } = blob(1000);
    const before = Date.now();
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    const second = await opened.store.ingest({ ref: 'a', digest, size }, opts);
    assert.ok(second.state === 'busy');
    assert.ok(second.since.getTime() >= before && second.since.getTime() <= Date.now());
    await writer.discard();
    await using third = await writerOf(opened.store, { ref: 'a', digest, size });
    assert.equal(third.offset, 0);
  });

  it('lets two refs write the same content, and both succeed', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(3 << 20);
    const writers = await Promise.all(['a', 'b'].map((ref) => writerOf(opened.store, { ref, digest, size })));
    for (const writer of writers) await writer.write(bytes);
    await Promise.all(writers.map((writer) => writer.commit(opts)));
    assert.ok((await get(opened.store, { digest, size })).equals(bytes));
  });

  it('writes forty blobs at once', async () => {
    await using opened = await open();
    const blobs = Array.from({ length: 40 }, (_, i) => blob(10_000 + i, `blob ${i}`));
    await Promise.all(blobs.map((each) => put(opened.store, each)));
    for (const each of blobs) assert.ok((await get(opened.store, each)).equals(each.bytes));
  });

  it('stops with the reason of a signal that has aborted', async () => {
    await using opened = await open();
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    const { digest, size, bytes } = blob(10);
    await assert.rejects(opened.store.ingest({ ref: 'a', digest, size }, { signal }), reason);
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    await writer.write(bytes);
    await assert.rejects(writer.commit({ signal }), reason);
    await writer.commit(opts);
  });
}

function writingWrong(open: Open): void {
  const cases: { title: string; code: ErrorCode; change: (bytes: Buffer) => Buffer }[] = [
    { title: 'a byte too many', code: 'SIZE_MISMATCH', change: (bytes) => Buffer.concat([bytes, Buffer.of(0)]) },
    { title: 'a byte too few', code: 'SIZE_MISMATCH', change: (bytes) => bytes.subarray(1) },
    { title: 'a flipped byte', code: 'DIGEST_MISMATCH', change: (bytes) => flipped(bytes, bytes.length - 1) },
  ];
  for (const { title, code, change } of cases) {
    it(`refuses ${title}, and drops all of it`, async () => {
      await using opened = await open();
      const { store } = opened;
      const { digest, size, bytes } = blob(2 << 20);
      const attempt = async (): Promise<void> => {
        await using writer = await writerOf(store, { ref: 'a', digest, size });
        await writer.write(change(bytes));
        await writer.commit(opts);
      };
      await fails(attempt(), code);
      assert.equal(await store.stat(digest, opts), undefined);
      assert.deepEqual(await store.active(opts), []);
      await put(store, { digest, size, bytes }, 'a');
    });
  }

  it('notices a byte too many as soon as it comes', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(1000);
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    await writer.write(bytes);
    await fails((async () => writer.write(Buffer.of(0)))(), 'SIZE_MISMATCH');
    await fails((async () => writer.write(Buffer.of(0)))(), 'SIZE_MISMATCH');
    await fails(writer.commit(opts), 'SIZE_MISMATCH');
  });

  it('refuses content under a descriptor with the wrong size, and keeps the content', async () => {
    await using opened = await open();
    const made = blob(1000);
    await put(opened.store, made);
    await fails(opened.store.ingest({ ref: 'b', digest: made.digest, size: 999 }, opts), 'SIZE_MISMATCH');
    assert.ok((await get(opened.store, made)).equals(made.bytes));
  });

  for (const ref of ['', 'a\nb', 'nul\u0000', 'x'.repeat(1025)]) {
    it(`refuses the ref ${JSON.stringify(ref.slice(0, 12))}`, async () => {
      await using opened = await open();
      await fails(opened.store.ingest({ ref }, opts), 'INVALID');
    });
  }

  it('takes refs that would be trouble as file names', async () => {
    await using opened = await open();
    for (const ref of ['../../x', '/etc/passwd', '.', 'layer-sha256:1', 'ü'.repeat(1000)]) {
      await putPart(opened.store, { ref }, Buffer.from('some'));
      assert.equal((await opened.store.active(opts)).find((each) => each.ref === ref)?.offset, 4);
      await opened.store.abort(ref, opts);
    }
  });
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function resuming(open: Open): void {
  it('resumes where the last attempt ended', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob((3 << 20) + 5);
    const cut = (2 << 20) + 3;
    await putPart(opened.store, { ref: 'a', digest, size }, bytes.subarray(0, cut));
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    assert.equal(writer.offset, cut);
    await writer.write(bytes.subarray(cut));
    await writer.commit(opts);
    assert.ok((await get(opened.store, { digest, size })).equals(bytes));
    assert.deepEqual(await opened.store.active(opts), []);
  });

  it('commits at once what the last attempt had written whole', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(5000);
    await putPart(opened.store, { ref: 'a', digest, size }, bytes);
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    assert.equal(writer.offset, size);
    await writer.commit(opts);
    assert.ok(await opened.store.stat(digest, opts));
  });

  it('drops everything when the kept part was wrong, and begins at zero then', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(5000);
    await putPart(opened.store, { ref: 'a', digest, size }, flipped(bytes, 7).subarray(0, 3000));
    const attempt = async (): Promise<void> => {
      await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
      await writer.write(bytes.subarray(writer.offset));
      await writer.commit(opts);
    };
    await fails(attempt(), 'DIGEST_MISMATCH');
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    assert.equal(writer.offset, 0);
  });

  it('does not go on with the bytes of something else', async () => {
    await using opened = await open();
    const one = blob(5000, 'one');
    const other = blob(5000, 'other');
    await putPart(opened.store, { ref: 'a', digest: one.digest, size: 5000 }, one.bytes.subarray(0, 100));
    await using writer = await writerOf(opened.store, { ref: 'a', digest: other.digest, size: 5000 });
    assert.equal(writer.offset, 0);
    await writer.write(other.bytes);
    await writer.commit(opts);
  });

  it('keeps nothing of a discarded attempt', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(5000);
    const first = await writerOf(opened.store, { ref: 'a', digest, size });
    await first.write(bytes.subarray(0, 100));
    await first.discard();
    await first.discard();
    await first[Symbol.asyncDispose]();
    assert.deepEqual(await opened.store.active(opts), []);
  });

  it('finds what another ref has brought meanwhile', async () => {
    await using opened = await open();
    const made = blob(5000);
    const request = { ref: 'a', digest: made.digest, size: made.size };
    await putPart(opened.store, request, made.bytes.subarray(0, 100));
    await put(opened.store, made, 'b');
    assert.equal((await opened.store.ingest(request, opts)).state, 'present');
  });
}

function reading(open: Open): void {
  it('reads from any offset', async () => {
    await using opened = await open();
    const made = blob(600_000);
    await put(opened.store, made);
    for (const offset of [0, 1, 262_144, 599_999, 600_000, 700_000]) {
      assert.ok((await get(opened.store, made, offset)).equals(made.bytes.subarray(offset)), String(offset));
    }
  });

  it('answers NOT_FOUND with the digest for what is not there', async () => {
    await using opened = await open();
    const { digest, size } = blob(3);
    await assert.rejects(opened.store.open({ digest, size }, opts), { code: 'NOT_FOUND', digest });
    assert.equal(await opened.store.stat(digest, opts), undefined);
  });

  it('can be given up before and between chunks, and twice', async () => {
    await using opened = await open();
    const made = blob(1 << 20);
    await put(opened.store, made);
    const never = await opened.store.open(made, opts);
    await never[Symbol.asyncDispose]();
    await never[Symbol.asyncDispose]();
    await using some = await opened.store.open(made, opts);
    for await (const chunk of some) {
      assert.ok(chunk.byteLength > 0);
      break;
    }
  });

  it('stops reading when the signal aborts', async () => {
    await using opened = await open();
    const made = blob(1 << 20);
    await put(opened.store, made);
    const stop = new AbortController();
    const reason = new Error('enough');
    await using body = await opened.store.open(made, { signal: stop.signal });
    const consume = async (): Promise<void> => {
      for await (const _ of body) stop.abort(reason);
    };
    await assert.rejects(consume(), reason);
  });
}

function managing(open: Open): void {
  it('lists what is there, each with its size', async () => {
    await using opened = await open();
    const blobs = [blob(1), blob(20), blob(300, 'x', 'sha512')];
    for (const each of blobs) await put(opened.store, each);
    const found = new Map<Digest, number>();
    for await (const { digest, size, createdAt } of opened.store.walk(opts)) {
      found.set(digest, size);
      assert.ok(Math.abs(createdAt.getTime() - Date.now()) < 60_000);
    }
    assert.deepEqual(found, new Map(blobs.map(({ digest, size }) => [digest, size])));
  });

  it('lists nothing where nothing is', async () => {
    await using opened = await open();
    for await (const each of opened.store.walk(opts)) assert.fail(each.digest);
    assert.deepEqual(await opened.store.active(opts), []);
    assert.deepEqual(await opened.names.list(opts), []);
  });

  it('deletes once', async () => {
    await using opened = await open();
    const made = blob(100);
    await put(opened.store, made);
    await opened.store.delete(made.digest, opts);
    assert.equal(await opened.store.stat(made.digest, opts), undefined);
    await fails(opened.store.delete(made.digest, opts), 'NOT_FOUND');
    await put(opened.store, made);
  });
}

function managingIngests(open: Open): void {
  it('tells what is unfinished, through every attempt since the first', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(5000);
    const before = Date.now();
    await putPart(opened.store, { ref: 'a', digest, size }, bytes.subarray(0, 100));
    const [first] = await opened.store.active(opts);
    assert.ok(first);
    assert.deepEqual(
      { ref: first.ref, offset: first.offset, total: first.total, expected: first.expected },
      { ref: 'a', offset: 100, total: size, expected: digest },
    );
    assert.ok(first.startedAt.getTime() >= before);
    await putPart(opened.store, { ref: 'a', digest, size }, bytes.subarray(100, 300));
    const [second] = await opened.store.active(opts);
    assert.equal(second?.offset, 300);
    assert.deepEqual(second.startedAt, first.startedAt);
  });

  it('does not know the total of what comes without a descriptor', async () => {
    await using opened = await open();
    await putPart(opened.store, { ref: 'upload' }, Buffer.from('abc'));
    const [only] = await opened.store.active(opts);
    assert.deepEqual([only?.total, only?.expected, only?.offset], [undefined, undefined, 3]);
  });

  it('aborts what nobody writes, once', async () => {
    await using opened = await open();
    await putPart(opened.store, { ref: 'a' }, Buffer.from('abc'));
    await opened.store.abort('a', opts);
    assert.deepEqual(await opened.store.active(opts), []);
    await fails(opened.store.abort('a', opts), 'NOT_FOUND');
  });

  it('does not abort what somebody writes', async () => {
    await using opened = await open();
    const { digest, size, bytes } = blob(100);
    await using writer = await writerOf(opened.store, { ref: 'a', digest, size });
    await fails(opened.store.abort('a', opts), 'BUSY');
    await writer.write(bytes);
    await writer.commit(opts);
  });
}

function naming(open: Open): void {
  it('remembers names and forgets them', async () => {
    await using opened = await open();
    const { names } = opened;
    const desc = manifest('one');
    assert.equal(await names.lookup('example.org/a:1', opts), undefined);
    await names.record('example.org/b:1', desc, opts);
    await names.record('example.org/a:1', desc, opts);
    assert.deepEqual(await names.lookup('example.org/a:1', opts), { name: 'example.org/a:1', desc });
    assert.deepEqual(
      (await names.list(opts)).map(({ name }) => name),
      ['example.org/a:1', 'example.org/b:1'],
    );
    await names.remove('example.org/a:1', opts);
    assert.equal(await names.lookup('example.org/a:1', opts), undefined);
    await fails(names.remove('example.org/a:1', opts), 'NOT_FOUND');
    assert.equal((await names.list(opts)).length, 1);
  });

  it('moves a name, there and back', async () => {
    await using opened = await open();
    const { names } = opened;
    for (const seed of ['one', 'two', 'one', 'one']) {
      await names.record('a', manifest(seed), opts);
      assert.deepEqual((await names.lookup('a', opts))?.desc, manifest(seed));
      assert.deepEqual(await names.list(opts), [{ name: 'a', desc: manifest(seed) }]);
    }
  });

  it('takes a name up again after it was removed', async () => {
    await using opened = await open();
    const { names } = opened;
    await names.record('a', manifest('one'), opts);
    await names.remove('a', opts);
    await names.record('a', manifest('one'), opts);
    assert.equal((await names.list(opts)).length, 1);
  });

  it('keeps everything that a descriptor says', async () => {
    await using opened = await open();
    const desc: Descriptor = {
      ...manifest('one'),
      annotations: { 'org.example': 'ü "quoted"', ['__proto__']: 'x' },
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
      artifactType: 'application/vnd.example',
    };
    await opened.names.record('a', desc, opts);
    assert.deepEqual((await opened.names.lookup('a', opts))?.desc, desc);
  });

  it('takes any text for a name', async () => {
    await using opened = await open();
    const all = ['../../x', '/etc/passwd', '__proto__', 'ü', 'x'.repeat(4000), '.json', 'a"b'];
    for (const name of all) await opened.names.record(name, manifest(name), opts);
    for (const name of all) assert.deepEqual((await opened.names.lookup(name, opts))?.desc, manifest(name));
    assert.equal((await opened.names.list(opts)).length, all.length);
  });

  it('loses none of a hundred that are recorded at once', async () => {
    await using opened = await open();
    const all = Array.from({ length: 100 }, (_, i) => `example.org/a:${i}`);
    await Promise.all(all.map((name) => opened.names.record(name, manifest(name), opts)));
    assert.deepEqual(new Set((await opened.names.list(opts)).map(({ name }) => name)), new Set(all));
  });
}
