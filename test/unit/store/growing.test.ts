/** Readers of content that is still being written. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { ByteStream } from '../../../src/call.ts';
import type { ContentWriter, FollowOptions } from '../../../src/content/ports.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const MIB = 1 << 20;
const bytes = randomBytes(3 * MIB + 17);
const digest = digestOf(bytes);
const request = { ref: 'layer', digest, size: bytes.length };

async function writerOf(store: ContentStore, ref = request.ref): Promise<ContentWriter> {
  const ingest = await store.ingestWaiting({ ...request, ref }, opts);
  assert.ok(ingest.state === 'open', ingest.state);
  return ingest.writer;
}

/** Writes all from where the writer stands up to `to`, in blocks that reach the disk. */
async function write(writer: ContentWriter, to: number, from: Buffer = bytes): Promise<void> {
  for (let at = writer.offset; at < to; at += MIB)
    await writer.write(Buffer.from(from.subarray(at, Math.min(to, at + MIB))));
}

/** Collects what a stream gives. */
class Reader {
  readonly #chunks: Uint8Array[] = [];
  readonly #waiting: { readonly count: number; readonly go: () => void }[] = [];
  readonly end: Promise<Buffer>;
  #count = 0;

  constructor(stream: ByteStream | undefined) {
    assert.ok(stream, 'nothing to follow');
    this.end = this.#read(stream);
    this.end.catch(() => undefined);
  }

  get count(): number {
    return this.#count;
  }

  /** When so many bytes have come. */
  has(count: number): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    if (this.#count >= count) return Promise.resolve();
    this.#waiting.push({ count, go: () => resolve(undefined) });
    return Promise.race([promise, this.end]);
  }

  async #read(stream: ByteStream): Promise<Buffer> {
    await using body = stream;
    for await (const chunk of body) {
      this.#chunks.push(chunk);
      this.#count += chunk.byteLength;
      for (const { count, go } of this.#waiting) if (this.#count >= count) go();
    }
    return Buffer.concat(this.#chunks);
  }
}

interface World extends AsyncDisposable {
  readonly store: ContentStore;
  /** As another process has it. */
  readonly other: ContentStore;
  follow(more?: Partial<FollowOptions>): Promise<Reader>;
}

async function world(): Promise<World> {
  const temp = await tempDir();
  const [store, other] = [new ContentStore({ root: temp.path }), new ContentStore({ root: temp.path })];
  await store.create();
  return {
    store,
    other,
    follow: async (more = {}) => new Reader(await store.follow(request, { ...opts, ...more })),
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

describe('content that grows', () => {
  it('is undefined where it is neither here nor being written', async () => {
    await using w = await world();
    assert.equal(await w.store.follow(request, opts), undefined);
    await using writer = await writerOf(w.other, 'other');
    assert.ok(writer);
    assert.equal(await w.store.follow(request, opts), undefined);
  });

  it('comes as it is written, all but the last byte before the commit', async () => {
    await using w = await world();
    await using writer = await writerOf(w.other);
    const reader = await w.follow();
    await write(writer, MIB);
    await reader.has(MIB);
    await write(writer, bytes.length);
    await reader.has(3 * MIB);
    assert.ok(reader.count < bytes.length);
    await writer.commit(opts);
    assert.ok((await reader.end).equals(bytes));
  });

  it('is held back by one byte even where all of it is on the disk', async () => {
    await using w = await world();
    const whole = bytes.subarray(0, MIB);
    const small = { ref: 'a', digest: digestOf(whole), size: MIB };
    const ingest = await w.other.ingest(small, opts);
    assert.ok(ingest.state === 'open');
    await using writer = ingest.writer;
    const reader = new Reader(await w.store.follow(small, opts));
    await writer.write(Buffer.from(whole)); // a block: it goes to the disk at once
    await reader.has(MIB - 1);
    assert.equal(reader.count, MIB - 1);
    await writer.commit(opts);
    assert.ok((await reader.end).equals(whole));
  });

  it('is read from the store where it is whole', async () => {
    await using w = await world();
    await using writer = await writerOf(w.other);
    await write(writer, bytes.length);
    await writer.commit(opts);
    assert.ok((await (await w.follow()).end).equals(bytes));
  });

  it('goes on when another writer takes over', async () => {
    await using w = await world();
    const before = await openFiles();
    const first = await writerOf(w.other);
    const reader = await w.follow();
    await write(first, 2 * MIB);
    await reader.has(2 * MIB);
    await first[Symbol.asyncDispose]();
    await using second = await writerOf(w.store);
    assert.equal(second.offset, 2 * MIB);
    await write(second, bytes.length);
    await reader.has(3 * MIB);
    await second.commit(opts);
    assert.ok((await reader.end).equals(bytes));
    assert.equal(await openFiles(), before);
  });

  it('goes on with what somebody else has committed', async () => {
    await using w = await world();
    await using first = await writerOf(w.other);
    const reader = await w.follow();
    await write(first, MIB);
    await reader.has(MIB);
    await using second = await writerOf(w.store, 'another ref');
    await write(second, bytes.length);
    await second.commit(opts);
    assert.ok((await reader.end).equals(bytes));
  });

  it('goes on when it is begun again with the same bytes', async () => {
    await using w = await world();
    const first = await writerOf(w.other);
    const reader = await w.follow();
    await write(first, 2 * MIB);
    await reader.has(2 * MIB);
    await first.discard();
    await using second = await writerOf(w.other);
    assert.equal(second.offset, 0);
    await write(second, bytes.length);
    await second.commit(opts);
    assert.ok((await reader.end).equals(bytes));
  });

  it('never ends well when what was handed out was wrong', async () => {
    await using w = await world();
    const first = await writerOf(w.other);
    const reader = await w.follow();
    await write(first, bytes.length, Buffer.alloc(bytes.length));
    await reader.has(3 * MIB);
    await assert.rejects(first.commit(opts), { code: 'DIGEST_MISMATCH' });
    await using second = await writerOf(w.other);
    await write(second, bytes.length);
    await second.commit(opts);
    await assert.rejects(reader.end, { code: 'DIGEST_MISMATCH' });
    assert.ok(reader.count < bytes.length);
  });

  it('is given up when nothing comes any more', async () => {
    await using w = await world();
    await using _writer = await writerOf(w.other);
    await assert.rejects((await w.follow({ patienceMs: 1 })).end, { code: 'TIMEOUT' });
  });

  it('is waited for as long as its reader knows that more will come', async () => {
    await using w = await world();
    await using writer = await writerOf(w.other);
    const looked = Promise.withResolvers<void>();
    let looks = 0;
    const isExpected = (): boolean => {
      looks += 1;
      if (looks === 3) looked.resolve();
      return true;
    };
    const reader = await w.follow({ patienceMs: 1, isExpected });
    await Promise.race([looked.promise, reader.end]);
    await write(writer, bytes.length);
    await writer.commit(opts);
    assert.ok((await reader.end).equals(bytes));
  });

  it('is given up when its writer has given it up', async () => {
    await using w = await world();
    const writer = await writerOf(w.other);
    const stream = await w.store.follow(request, { ...opts, patienceMs: 1 });
    await writer.discard();
    await assert.rejects(new Reader(stream).end, { code: 'NOT_FOUND' });
  });

  it('ends with an abort, and leaves no file open', async () => {
    await using w = await world();
    await using writer = await writerOf(w.other);
    await write(writer, 2 * MIB);
    const before = await openFiles();
    const stop = new AbortController();
    const readers = await Promise.all(Array.from({ length: 50 }, () => w.follow({ signal: stop.signal })));
    await Promise.all(readers.map((reader) => reader.has(MIB)));
    const unread = await w.store.follow(request, opts);
    assert.equal(await openFiles(), before + 51);
    await unread?.[Symbol.asyncDispose]();
    stop.abort(new Error('enough'));
    for (const reader of readers) await assert.rejects(reader.end, { message: 'enough' });
    assert.equal(await openFiles(), before);
  });
});
