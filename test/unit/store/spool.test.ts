import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ByteStream, OpenOptions } from '../../../src/call.ts';
import { GantryError } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_LAYER_GZIP } from '../../../src/oci/media-types.ts';
import type { ContentSource } from '../../../src/remote/ports.ts';
import { Spool } from '../../../src/store/spool.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'spool-test-'));
});
after(() => rm(dir, { recursive: true }));

const signal = new AbortController().signal;
const blob = (bytes: Uint8Array): Descriptor => ({
  mediaType: OCI_LAYER_GZIP,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});

/** A source that gives its next piece only when it is told to, and counts who opens it. */
class Pieces implements ContentSource {
  opened = 0;
  closed = 0;
  readonly #bytes: Uint8Array;
  readonly #gates: PromiseWithResolvers<undefined>[];

  constructor(bytes: Uint8Array, pieces: number) {
    this.#bytes = bytes;
    this.#gates = Array.from({ length: pieces }, () => Promise.withResolvers<undefined>());
  }

  give(piece: number): void {
    this.#gates[piece]?.resolve(undefined);
  }

  giveAll(): this {
    for (const gate of this.#gates) gate.resolve(undefined);
    return this;
  }

  async open({ signal: stop }: OpenOptions): Promise<ByteStream> {
    this.opened += 1;
    const chunks = this.#chunks(stop);
    return {
      [Symbol.asyncIterator]: () => chunks,
      [Symbol.asyncDispose]: async () => {
        this.closed += 1;
      },
    };
  }

  async *#chunks(stop: AbortSignal): AsyncGenerator<Uint8Array> {
    const each = Math.ceil(this.#bytes.byteLength / this.#gates.length);
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => undefined);
    stop.addEventListener('abort', () => aborted.reject(stop.reason), { once: true });
    for (const [i, gate] of this.#gates.entries()) {
      await Promise.race([gate.promise, aborted.promise]);
      yield this.#bytes.subarray(i * each, (i + 1) * each);
    }
  }
}

async function collect(stream: ByteStream): Promise<Buffer> {
  await using body = stream;
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('the source is read once, whoever reads when and from where', async () => {
  const bytes = randomBytes(1_000_000);
  const source = new Pieces(bytes, 4);
  await using spool = new Spool({ dir });
  const shared = spool.share(blob(bytes), source);
  const early = collect(await shared.open({ signal }));
  source.give(0);
  const slow = await shared.open({ signal });
  const first = await slow[Symbol.asyncIterator]().next();
  source.giveAll();
  assert.deepEqual(await early, bytes, 'a reader that stands still holds nobody up');
  assert.deepEqual(await collect(await shared.open({ signal, offset: 600_000 })), bytes.subarray(600_000));
  assert.ok(first.done !== true && first.value.byteLength > 0);
  const rest = await collect(slow);
  assert.equal(first.value.byteLength + rest.byteLength, bytes.byteLength);
  assert.equal(source.opened, 1);
  assert.deepEqual(await readdir(dir), [], 'the file has no name');
});

test('wrong bytes reach no reader whole, and the next one reads anew', async () => {
  const bytes = randomBytes(10_000);
  const wrong = Buffer.from(bytes);
  wrong[5] = (wrong[5] ?? 0) ^ 1;
  await using spool = new Spool({ dir });
  const desc = blob(bytes);
  const bad = await spool.share(desc, new Pieces(wrong, 2).giveAll()).open({ signal });
  await assert.rejects(collect(bad), { code: 'DIGEST_MISMATCH', origin: 'source' });
  const short = await spool.share(desc, new Pieces(bytes.subarray(1), 2).giveAll()).open({ signal });
  await assert.rejects(collect(short), { code: 'SIZE_MISMATCH' });
  const good = await spool.share(desc, new Pieces(bytes, 2).giveAll()).open({ signal });
  assert.deepEqual(await collect(good), bytes);
});

/** Fails when it is told to. */
class Failing implements ContentSource {
  readonly fail = Promise.withResolvers<never>();
  readonly #first: Uint8Array;

  constructor(first: Uint8Array) {
    this.#first = first;
    this.fail.promise.catch(() => undefined);
  }

  async open(): Promise<ByteStream> {
    const chunks = this.#chunks();
    return { [Symbol.asyncIterator]: () => chunks, [Symbol.asyncDispose]: async () => undefined };
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    if (this.#first.byteLength > 0) yield this.#first;
    yield await this.fail.promise;
  }
}

/** A source that can be read from anywhere. */
const wholeOf = (bytes: Uint8Array) => {
  const opened: number[] = [];
  const open = async ({ offset = 0 }: OpenOptions): Promise<ByteStream> => {
    opened.push(offset);
    return new Pieces(bytes.subarray(offset), 1).giveAll().open({ signal });
  };
  return { opened, open };
};

test('what fails at the source of one reader is read by the others from their own, from where they are', async () => {
  const bytes = randomBytes(1_000);
  for (const given of [0, 400]) {
    await using spool = new Spool({ dir });
    const [bad, good] = [new Failing(bytes.subarray(0, given)), wholeOf(bytes)];
    const first = await spool.share(blob(bytes), bad).open({ signal });
    const second = await spool.share(blob(bytes), good).open({ signal });
    const third = await spool.share(blob(bytes), good).open({ signal, offset: 900 });
    const head = given === 0 ? [] : [(await second[Symbol.asyncIterator]().next()).value ?? assert.fail()];
    const denied = new GantryError('DENIED', 'ordered', { origin: 'source' });
    bad.fail.reject(denied);
    await assert.rejects(collect(first), denied);
    assert.deepEqual(Buffer.concat([...head, await collect(second)]), bytes);
    assert.deepEqual(await collect(third), bytes.subarray(900));
    assert.deepEqual(good.opened, [given, 900]);
  }
});

test('wrong bytes of one source are no fault of another, which is read by itself from then on', async () => {
  const bytes = randomBytes(1_000);
  const wrong = Buffer.alloc(1_000);
  await using spool = new Spool({ dir });
  const bad = new Pieces(wrong, 2);
  const good = wholeOf(bytes);
  const streams = [
    await spool.share(blob(bytes), bad).open({ signal }),
    await spool.share(blob(bytes), good).open({ signal }),
  ];
  bad.give(0);
  for (const stream of streams) await stream[Symbol.asyncIterator]().next();
  bad.giveAll();
  for (const stream of streams) await assert.rejects(collect(stream), { code: 'DIGEST_MISMATCH' });
  const again = await spool.share(blob(bytes), bad).open({ signal });
  const right = await spool.share(blob(bytes), good).open({ signal });
  await Promise.all([
    assert.rejects(collect(again), { code: 'DIGEST_MISMATCH' }),
    collect(right).then((got) => assert.deepEqual(got, bytes)),
  ]);
});

test('what is said to be of another size is other content', async () => {
  const bytes = randomBytes(1_000);
  for (const size of [100, 2_000]) {
    await using spool = new Spool({ dir });
    const lie = await spool.share({ ...blob(bytes), size }, wholeOf(bytes)).open({ signal });
    const right = await spool.share(blob(bytes), wholeOf(bytes)).open({ signal });
    await Promise.all([
      assert.rejects(collect(lie), { code: 'SIZE_MISMATCH' }),
      collect(right).then((got) => assert.deepEqual(got, bytes)),
    ]);
  }
});

test('when nobody reads any more, nor does it', async () => {
  const bytes = randomBytes(10_000);
  const source = new Pieces(bytes, 2);
  await using spool = new Spool({ dir });
  const stream = await spool.share(blob(bytes), source).open({ signal });
  source.give(0);
  await stream[Symbol.asyncIterator]().next();
  await stream[Symbol.asyncDispose]();
  assert.equal(source.closed, 1);
});

test('a reader that is stopped leaves, and the others go on', async () => {
  const bytes = randomBytes(10_000);
  const source = new Pieces(bytes, 2);
  await using spool = new Spool({ dir });
  const shared = spool.share(blob(bytes), source);
  const stop = new AbortController();
  const stopped = collect(await shared.open({ signal: stop.signal }));
  const other = collect(await shared.open({ signal }));
  stop.abort(new Error('enough'));
  await assert.rejects(stopped, /enough/);
  source.giveAll();
  assert.deepEqual(await other, bytes);
});

test('what nobody reads makes room', async () => {
  await using spool = new Spool({ dir, keepBytes: 15_000 });
  const blobs = [randomBytes(10_000), randomBytes(10_000)];
  const sources = blobs.map((bytes) => new Pieces(bytes, 1).giveAll());
  for (const round of [0, 1]) {
    for (const [i, bytes] of blobs.entries()) {
      const source = sources[i] ?? assert.fail();
      assert.deepEqual(await collect(await spool.share(blob(bytes), source).open({ signal })), bytes, `${round} ${i}`);
    }
  }
  assert.deepEqual(
    sources.map(({ opened }) => opened),
    [2, 2],
  );
});

test('a directory that cannot be written is told', async () => {
  await using spool = new Spool({ dir: join(dir, 'absent') });
  const bytes = randomBytes(10);
  const stream = await spool.share(blob(bytes), new Pieces(bytes, 1).giveAll()).open({ signal });
  await assert.rejects(collect(stream), { code: 'IO', hint: /TMPDIR/ });
});
