import { createCipheriv, createHash } from 'node:crypto';
import { createGzip } from 'node:zlib';
import { digestOf, parseDigest, type Digest } from '../src/oci/digest.ts';
import { Random } from './random.ts';

/** A layer to make: the same spec always gives the same bytes (with one build of zlib). */
export interface LayerSpec {
  readonly id: string;
  /** Bytes of content in the tar, before compression; the tar is a little larger. */
  readonly bytes: number;
  /** `files`: many files that compress as real ones do; `random`: one file that does not compress. */
  readonly content: 'files' | 'random';
}

export interface BuiltLayer {
  readonly digest: Digest;
  readonly size: number;
  readonly diffId: Digest;
  readonly tarBytes: number;
}

const BLOCK = 512;
const CHUNK = 256 * 1024;
const POOL = 4 * 1024 * 1024;
const MTIME = 1_700_000_000;

interface Pools {
  readonly words: readonly string[];
  readonly text: Buffer;
  readonly binary: Buffer;
  readonly noise: Buffer;
}

function makeWords(random: Random): string[] {
  const parts = ['ba', 'con', 'de', 'er', 'fi', 'gra', 'in', 'lo', 'mem', 'nu', 'or', 'pro', 're', 'st', 'ti', 'ver'];
  return Array.from({ length: 3000 }, () =>
    Array.from({ length: random.between(1, 4) }, () => parts[random.between(0, parts.length - 1)]).join(''),
  );
}

/** Words with the skew of a language, in lines. Compresses about threefold. */
function makeText(random: Random, words: readonly string[]): Buffer {
  const out: string[] = [];
  for (let length = 0; length < POOL;) {
    const word = words[Math.floor(words.length * random.unit() ** 2.5)] ?? '';
    const end = random.unit();
    const text = word + (end < 0.1 ? '\n' : end < 0.2 ? ` = ${random.bits() % 100_000};\n` : ' ');
    out.push(text);
    length += text.length;
  }
  return Buffer.from(out.join('')).subarray(0, POOL);
}

/** Records of eight bytes, as in tables and machine code: few leading bytes, some offsets, zeros. Compresses about twofold. */
function makeBinary(random: Random): Buffer {
  const out = Buffer.alloc(POOL);
  for (let at = 0; at < POOL; at += 8) {
    const bits = random.bits();
    out[at] = 0x40 + (bits & 0x0f);
    out[at + 1] = (bits >>> 4) & 0x07;
    out.writeUInt16LE((bits >>> 8) & 0xffff, at + 2);
    out[at + 4] = bits >>> 24;
  }
  return out;
}

/** `bytes` of seeded noise, in chunks: a stream cipher over zeros, at the speed of memory. */
function* noise(seed: string, bytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let left = bytes; left > 0; left -= CHUNK) yield cipher.update(left < CHUNK ? zeros.subarray(0, left) : zeros);
}

let pools: Pools | undefined;

function poolsOf(): Pools {
  if (pools) return pools;
  const random = new Random('pools');
  const words = makeWords(random);
  pools = {
    words,
    text: makeText(random, words),
    binary: makeBinary(random),
    noise: Buffer.concat([...noise('pool', POOL)]),
  };
  return pools;
}

/** One ustar header. Names are ours, so they are short and plain. */
function header(name: string, size: number, kind: 'file' | 'directory'): Buffer {
  const out = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    out.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  out.write(name, 0, 100, 'latin1');
  octal(kind === 'file' ? 0o644 : 0o755, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(MTIME, 136, 12);
  out.fill(0x20, 148, 156);
  out.write(kind === 'file' ? '0' : '5', 156, 'latin1');
  out.write('ustar\u000000', 257, 'latin1');
  let sum = 0;
  for (const byte of out) sum += byte;
  octal(sum, 148, 7);
  return out;
}

const padding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);

/** The content of one file: slices of one of the pools, so that making it costs no more than copying it. */
function* fileContent(random: Random, size: number): Generator<Buffer> {
  const { text, binary, noise } = poolsOf();
  const dice = random.unit();
  const pool = dice < 0.6 ? text : dice < 0.9 ? binary : noise;
  for (let left = size; left > 0;) {
    const length = Math.min(left, random.between(2048, 16_384));
    const at = random.between(0, POOL - length);
    yield pool.subarray(at, at + length);
    left -= length;
  }
}

function* manyFiles(spec: LayerSpec): Generator<Buffer> {
  const random = new Random(spec.id);
  const { words } = poolsOf();
  const word = (): string => words[random.between(0, words.length - 1)] ?? 'x';
  let directory = '';
  for (let left = spec.bytes, count = 0; left > 0; count++) {
    if (count % 24 === 0) {
      directory = `usr/share/${word()}-${count}`;
      yield header(`${directory}/`, 0, 'directory');
    }
    const size = Math.min(left, random.logBetween(200, Math.max(400, Math.min(spec.bytes / 4, 4_000_000))));
    yield header(`${directory}/${word()}-${count}.dat`, size, 'file');
    yield* fileContent(random, size);
    yield padding(size);
    left -= size;
  }
}

function* oneFile(spec: LayerSpec): Generator<Buffer> {
  yield header('noise.bin', spec.bytes, 'file');
  yield* noise(spec.id, spec.bytes);
  yield padding(spec.bytes);
}

function* tar(spec: LayerSpec): Generator<Buffer> {
  yield* spec.content === 'files' ? manyFiles(spec) : oneFile(spec);
  yield Buffer.alloc(2 * BLOCK);
}

/** Gathers small pieces, so that the streams behind are not called for every header. */
function* inChunks(pieces: Iterable<Buffer>): Generator<Buffer> {
  let gathered: Buffer[] = [];
  let length = 0;
  for (const piece of pieces) {
    gathered.push(piece);
    length += piece.length;
    if (length < CHUNK) continue;
    yield Buffer.concat(gathered, length);
    gathered = [];
    length = 0;
  }
  yield Buffer.concat(gathered, length);
}

/**
 * The compressed bytes of a layer as a stream, never whole in memory. `built` may be called when the stream has ended.
 * Noise is stored, not deflated: it would only cost time.
 */
export function layerStream(spec: LayerSpec): { stream: AsyncIterable<Buffer>; built: () => BuiltLayer } {
  const plainHash = createHash('sha256');
  const hash = createHash('sha256');
  let tarBytes = 0;
  let size = 0;
  async function* run(): AsyncGenerator<Buffer> {
    const gzip = createGzip({ level: spec.content === 'files' ? 6 : 0, chunkSize: CHUNK });
    const feed = async (): Promise<void> => {
      for (const chunk of inChunks(tar(spec))) {
        plainHash.update(chunk);
        tarBytes += chunk.length;
        if (!gzip.write(chunk)) await new Promise((resolve) => gzip.once('drain', resolve));
      }
      gzip.end();
    };
    const fed = feed();
    fed.catch((err: unknown) => gzip.destroy(err instanceof Error ? err : new Error(String(err))));
    for await (const chunk of gzip as AsyncIterable<Buffer>) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
    await fed;
  }
  const built = (): BuiltLayer => ({
    digest: parseDigest(`sha256:${hash.digest('hex')}`),
    size,
    diffId: parseDigest(`sha256:${plainHash.digest('hex')}`),
    tarBytes,
  });
  return { stream: run(), built };
}

/** A digest of a plan: a corpus is reused only for the same one. */
export const planDigest = (plan: unknown): Digest => digestOf(JSON.stringify(plan));
