import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { ByteStream, OpenOptions } from '../../../src/call.ts';
import { fill } from '../../../src/content/fill.ts';
import type { ContentWriter, Provider } from '../../../src/content/ports.ts';
import { readContent } from '../../../src/content/read.ts';
import { digestOf } from '../../../src/oci/digest.ts';

const opts = { signal: new AbortController().signal };

/** A stream of these chunks that counts how often it was given up or ended. */
class Chunks implements ByteStream {
  readonly #chunks: readonly string[];
  disposed = 0;
  given = 0;

  constructor(...chunks: string[]) {
    this.#chunks = chunks;
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (const chunk of this.#chunks) {
      this.given += 1;
      yield Buffer.from(chunk);
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed += 1;
  }
}

const providerOf = (body: ByteStream): Provider => ({ open: async (_desc, _opts: OpenOptions) => body });

describe('reading content whole', () => {
  const desc = { digest: digestOf('hello'), size: 5 };
  const reading = (body: ByteStream, limit = 10): Promise<Buffer> =>
    readContent(providerOf(body), desc, { ...opts, limit });

  it('gives the bytes and lets go of the stream', async () => {
    const body = new Chunks('he', '', 'llo');
    assert.equal((await reading(body)).toString(), 'hello');
    assert.equal(body.disposed, 1);
  });

  it('refuses what is longer, shorter or other than its descriptor, and what is beyond the limit', async () => {
    for (const [chunks, code] of [
      [['hell'], 'SIZE_MISMATCH'],
      [['hello', '!'], 'SIZE_MISMATCH'],
      [['hallo'], 'DIGEST_MISMATCH'],
      [['hello', 'hello', '!', 'never'], 'TOO_LARGE'],
    ] as const) {
      const body = new Chunks(...chunks);
      await assert.rejects(reading(body), { code, digest: desc.digest });
      assert.equal(body.disposed, 1);
      assert.ok(body.given < 4, 'it stops at the limit');
    }
  });

  it('does not even open what is too large', async () => {
    const provider: Provider = { open: () => assert.fail('opened') };
    await assert.rejects(readContent(provider, desc, { ...opts, limit: 4 }), { code: 'TOO_LARGE' });
  });
});

describe('filling a writer', () => {
  class Sink implements ContentWriter {
    offset = 0;
    #waiting = 0;
    write(chunk: Uint8Array): void | Promise<void> {
      assert.equal(this.#waiting, 0, 'it did not wait');
      this.offset += chunk.byteLength;
      if (this.offset > 1_000_000) throw new Error('too much');
      if (this.offset % 2 === 0) return undefined;
      this.#waiting += 1;
      return setImmediate().then(() => {
        this.#waiting -= 1;
      });
    }
    commit(): never {
      throw new Error('not asked for');
    }
    async discard(): Promise<void> {}
    async [Symbol.asyncDispose](): Promise<void> {}
  }

  it('waits where the writer asks for it, and tells now and then how far it is', async () => {
    const seen: number[] = [];
    const piece = 'x'.repeat(99_999);
    await fill(new Sink(), new Chunks(...Array.from({ length: 9 }, () => piece)), (offset) => seen.push(offset));
    assert.equal(seen.at(-1), 9 * 99_999);
    assert.ok(seen.length >= 2 && seen.length < 9, seen.join(' '));
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  });

  it('stops at what the writer refuses', async () => {
    const body = new Chunks('ab', 'x'.repeat(1_000_000), 'never');
    await assert.rejects(fill(new Sink(), body), /too much/);
    assert.equal(body.given, 2);
  });
});
