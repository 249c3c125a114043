/** Where the frames of a zstd file end (RFC 8878, section 3.1). */

const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const DICTIONARY_BYTES = [0, 1, 2, 4] as const;

/** What the next few bytes are. Between them stands what is passed over. */
type Part = 'magic' | 'skippable' | 'descriptor' | 'block' | 'foreign';

const PART_BYTES: Readonly<Record<Part, number>> = {
  magic: 4,
  skippable: 4,
  descriptor: 1,
  block: 3,
  foreign: Infinity,
};

class FrameWalk {
  #part: Part = 'magic';
  #head: number[] = [];
  /** Bytes to pass over before the next part. */
  #skip = 0;
  #checksum = false;

  /** Answers where the first frame that ends in these bytes ends, or undefined when none does. */
  next(bytes: Uint8Array, from: number): number | undefined {
    for (let at = from; at < bytes.length;) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, bytes.length - at);
        this.#skip -= passed;
        at += passed;
      } else {
        this.#head.push(bytes[at] ?? 0);
        at += 1;
        if (this.#head.length < PART_BYTES[this.#part]) continue;
        this.#read(this.#head.reduceRight((value, byte) => value * 256 + byte, 0));
        this.#head = [];
      }
      if (this.#skip === 0 && this.#part === 'magic') return at;
    }
    return undefined;
  }

  #read(value: number): void {
    switch (this.#part) {
      case 'magic':
        this.#part = value === ZSTD_MAGIC ? 'descriptor' : 'foreign';
        if (value >= SKIPPABLE_MAGIC && value <= SKIPPABLE_MAGIC + 15) this.#part = 'skippable';
        if (this.#part === 'foreign') this.#skip = Infinity; // the decoder will say what is wrong
        return;
      case 'skippable':
        this.#skip = value;
        this.#part = 'magic';
        return;
      case 'descriptor':
        this.#skip = restOfFrameHeader(value);
        this.#checksum = (value & 4) !== 0;
        this.#part = 'block';
        return;
      case 'block':
        this.#block(value);
        return;
      case 'foreign':
    }
  }

  /** Three bytes: is it the last one, its type (1 is one byte that is repeated), its size. */
  #block(value: number): void {
    this.#skip = ((value >> 1) & 3) === 1 ? 1 : value >> 3;
    if ((value & 1) === 0) return;
    if (this.#checksum) this.#skip += 4;
    this.#part = 'magic';
  }
}

/** Window descriptor, dictionary id and content size, each where the descriptor says so. */
function restOfFrameHeader(descriptor: number): number {
  const single = (descriptor & 0x20) !== 0;
  const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  return (single ? 0 : 1) + (DICTIONARY_BYTES[descriptor & 3] ?? 0) + contentSize;
}

/**
 * The same bytes, cut so that a frame ends where a chunk ends: node's decoder drops what comes after the end of a frame in one
 * chunk, and layers made in parallel or for lazy pulling have many frames.
 */
export async function* zstdFrames(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const walk = new FrameWalk();
  for await (const chunk of body) {
    let from = 0;
    for (let end = walk.next(chunk, 0); end !== undefined; end = walk.next(chunk, end)) {
      yield chunk.subarray(from, end);
      from = end;
    }
    if (from < chunk.length) yield chunk.subarray(from);
  }
}
