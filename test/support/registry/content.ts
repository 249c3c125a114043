import { createCipheriv, createHash } from 'node:crypto';
import { type Digest, Digester } from '../../../src/oci/digest.ts';

/** Bytes that can be read from any place, as often as asked. `end` is exclusive. */
export interface Content {
  readonly size: number;
  bytes(start: number, end: number): Iterable<Uint8Array>;
}

const CHUNK = 256 * 1024;

/** Content that is in memory. */
export const inMemory = (data: Uint8Array | string): Content => {
  const all = typeof data === 'string' ? Buffer.from(data) : data;
  return {
    size: all.length,
    *bytes(start, end) {
      for (let at = start; at < end; at += CHUNK) yield all.subarray(at, Math.min(at + CHUNK, end));
    },
  };
};

export const asContent = (data: Content | Uint8Array | string): Content =>
  typeof data === 'string' || data instanceof Uint8Array ? inMemory(data) : data;

/** All of it in memory: for small content only. */
export const readAll = (content: Content): Buffer => Buffer.concat([...content.bytes(0, content.size)]);

/** AES in counter mode is a random generator that can start anywhere and runs at gigabytes a second. */
function* randomStream(seed: string, start: number, end: number): Generator<Uint8Array> {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  const counter = Buffer.alloc(16);
  counter.writeBigUInt64BE(BigInt(Math.floor(start / 16)), 8);
  const cipher = createCipheriv('aes-128-ctr', key, counter);
  cipher.update(Buffer.alloc(start % 16));
  const zeros = Buffer.alloc(CHUNK);
  for (let at = start; at < end; at += CHUNK) yield cipher.update(zeros.subarray(0, Math.min(CHUNK, end - at)));
}

/** The first `size` bytes of the random stream that `seed` names. */
export const randomBytesOf = (seed: string | number, size: number): Buffer =>
  Buffer.concat([...randomStream(String(seed), 0, size)]);

async function digestOfContent(content: Content): Promise<Digest> {
  const digester = new Digester();
  let since = 0;
  for (const chunk of content.bytes(0, content.size)) {
    digester.update(chunk);
    since += chunk.length;
    if (since < 32 * 1024 * 1024) continue;
    since = 0;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  return digester.digest();
}

/** A blob of any size that occupies no memory: its bytes are made when they are asked for. */
export class SyntheticBlob implements Content {
  readonly size: number;
  readonly digest: Digest;
  readonly #source: Content;

  private constructor(source: Content, digest: Digest) {
    this.#source = source;
    this.size = source.size;
    this.digest = digest;
  }

  /** Incompressible bytes. The digest takes one pass over them: about a second per gigabyte. */
  static async random(options: { seed: string | number; size: number }): Promise<SyntheticBlob> {
    const source: Content = {
      size: options.size,
      bytes: (start, end) => randomStream(String(options.seed), start, end),
    };
    return new SyntheticBlob(source, await digestOfContent(source));
  }

  /** `head`, as much of `fill` as needed, `tail`. */
  static async filled(options: { head: string; tail: string; fill?: string; size: number }): Promise<SyntheticBlob> {
    const source = filled(options);
    return new SyntheticBlob(source, await digestOfContent(source));
  }

  bytes(start: number, end: number): Iterable<Uint8Array> {
    return this.#source.bytes(start, end);
  }
}

/** `head`, as much of `fill` (one character) as makes `size` bytes, `tail`. */
export function filled(options: { head: string; tail: string; fill?: string; size: number }): Content {
  const head = Buffer.from(options.head);
  const tail = Buffer.from(options.tail);
  const tailAt = options.size - tail.length;
  const fill = Buffer.alloc(CHUNK, options.fill ?? ' ');
  return {
    size: options.size,
    *bytes(start, end) {
      let at = start;
      while (at < end) {
        const part =
          at < head.length
            ? head.subarray(at)
            : at >= tailAt
              ? tail.subarray(at - tailAt)
              : fill.subarray(0, Math.min(CHUNK, tailAt - at));
        const chunk = part.subarray(0, Math.min(part.length, end - at));
        yield chunk;
        at += chunk.length;
      }
    },
  };
}
