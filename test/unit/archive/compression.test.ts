import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { unpacked } from '../../../src/archive/compression.ts';
import { zstdFrames } from '../../../src/archive/zstd-frames.ts';
import { GantryError } from '../../../src/errors.ts';
import { failureOf } from '../../support/clients.ts';
import { randomBytesOf } from '../../support/registry.ts';

const ONE = randomBytesOf('one', 300_000);
const TWO = Buffer.alloc(200_000, 'two ');

function skippable(bytes: number): Buffer {
  const frame = Buffer.alloc(8 + bytes, 0xff);
  frame.writeUInt32LE(0x184d2a5e, 0);
  frame.writeUInt32LE(bytes, 4);
  return frame;
}

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function joined(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const zstd = (bytes: Uint8Array, checksum = 1): Buffer => zstdCompressSync(bytes, { params: { 201: checksum } }); // ZSTD_c_checksumFlag

const CASES: readonly (readonly [what: string, packed: Buffer, plain: Buffer])[] = [
  ['plain', TWO, TWO],
  ['nothing', Buffer.alloc(0), Buffer.alloc(0)],
  ['three bytes', Buffer.from('abc'), Buffer.from('abc')],
  ['gzip', gzipSync(ONE), ONE],
  ['gzip of several members', Buffer.concat([gzipSync(ONE), gzipSync(TWO)]), Buffer.concat([ONE, TWO])],
  ['zstd', zstd(ONE), ONE],
  ['zstd of nothing', zstd(Buffer.alloc(0)), Buffer.alloc(0)],
  ['zstd without a checksum', zstd(TWO, 0), TWO],
  [
    'zstd of many frames, some to be skipped',
    Buffer.concat([skippable(0), zstd(ONE), zstd(TWO, 0), skippable(1000), zstd(Buffer.from('x')), skippable(5)]),
    Buffer.concat([ONE, TWO, Buffer.from('x')]),
  ],
];

for (const [what, packed, plain] of CASES) {
  test(`unpacks ${what}, however it is cut`, async () => {
    for (const size of [1, 7, 1000, 1 << 20]) {
      if (size < 1000 && packed.length > 10_000) continue; // seconds of nothing new
      const found = await joined(unpacked(chunksOf(packed, size), 'it'));
      assert.ok(found.equals(plain), `chunks of ${size}: ${found.length} bytes`);
    }
  });
}

test('zstd frames are cut where they end, and no byte is changed', async () => {
  const small = [zstd(Buffer.from('a')), skippable(3), zstd(Buffer.alloc(1000, 'b'), 0)];
  const all = Buffer.concat(small);
  for (const size of [1, 2, 3, 5, 1000]) {
    const ends = new Set<number>();
    let at = 0;
    for await (const chunk of zstdFrames(chunksOf(all, size))) {
      assert.ok(all.subarray(at, at + chunk.length).equals(chunk));
      at += chunk.length;
      ends.add(at);
    }
    assert.equal(at, all.length);
    let end = 0;
    for (const frame of small) assert.ok(ends.has((end += frame.length)));
  }
});

test('damaged data are an error that says so', async () => {
  const zeros = Buffer.alloc(100);
  const damaged = [
    gzipSync(ONE).subarray(0, -20),
    Buffer.concat([gzipSync(ONE), Buffer.from('more')]),
    zstd(ONE).subarray(0, -20),
    Buffer.concat([zstd(ONE), Buffer.from('more')]),
    Buffer.concat([gzipSync(ONE).subarray(0, 1000), zeros, gzipSync(ONE).subarray(1000)]),
  ];
  for (const bytes of damaged) {
    const err = await failureOf(joined(unpacked(chunksOf(bytes, 5000), 'layer 7')), 'MALFORMED');
    assert.match(err.message, /^layer 7: damaged (?:gzip|zstd) data/);
  }
});

test('an error of the source is what comes out', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield gzipSync(ONE).subarray(0, 5000);
    throw new GantryError('NETWORK', 'the connection broke');
  }
  const err = await failureOf(joined(unpacked(broken(), 'it')), 'NETWORK');
  assert.equal(err.message, 'the connection broke');
});

test('who stops early lets go of the source', async () => {
  for (const packed of [ONE, gzipSync(ONE), zstd(ONE)]) {
    let ended = false;
    async function* held(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* chunksOf(packed, 5000);
      } finally {
        ended = true;
      }
    }
    for await (const chunk of unpacked(held(), 'it')) if (chunk.length > 0) break;
    assert.ok(ended);
  }
});
