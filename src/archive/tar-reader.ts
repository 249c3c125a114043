/** A tar file as a table of what is where, made from its headers alone: content is read where it stands. */
import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { malformed } from '../oci/fields.ts';
import { showText } from '../oci/show.ts';
import { openFile, quietly, type Range, readRange, streamRange } from './disk.ts';
import type { ArchiveFiles } from './files.ts';
import { BLOCK, decodeHeader, decodePax, type Overrides, padded, sparse, type TarHeader } from './tar-header.ts';

/** Headers; an archive of a thousand images has some ten thousand. */
const MAX_ENTRIES = 100_000;
/** Bytes of one PAX header or long name. */
const MAX_META_BYTES = 1 << 20;
const MAX_LINKS = 16;
const WINDOW_BYTES = 8 << 10;

type Entry =
  | { readonly kind: 'file'; readonly at: number; readonly size: number }
  | { readonly kind: 'link'; readonly target: string };

/** What a file starts with that is no tar file yet. */
const COMPRESSED: readonly (readonly [magic: string, program: string])[] = [
  ['1f8b', 'gunzip'],
  ['28b52ffd', 'unzstd'],
  ['fd377a585a00', 'unxz'],
  ['425a68', 'bunzip2'],
];

const tooLarge = (message: string): GantryError => new GantryError('TOO_LARGE', message, { origin: 'source' });

export class TarReader implements ArchiveFiles, AsyncDisposable {
  readonly where: string;
  readonly #file: FileHandle;
  readonly #entries: ReadonlyMap<string, Entry>;

  private constructor(path: string, file: FileHandle, entries: ReadonlyMap<string, Entry>) {
    this.where = path;
    this.#file = file;
    this.#entries = entries;
  }

  /** @throws GantryError NOT_FOUND, MALFORMED, UNSUPPORTED for a compressed one, TOO_LARGE, IO */
  static async open(path: string, opts: CallOptions): Promise<TarReader> {
    const opened = await openFile(path);
    if (opened === undefined) throw new GantryError('NOT_FOUND', `there is no file ${path}`, { origin: 'source' });
    try {
      return new TarReader(path, opened.file, await new Headers(path, opened).read(opts));
    } catch (err) {
      await quietly(opened.file.close());
      throw err;
    }
  }

  stream(name: string, opts: OpenOptions): Promise<ByteStream | undefined> {
    const range = this.#range(name, opts.offset ?? 0);
    return Promise.resolve(range === undefined ? undefined : streamRange(range, opts));
  }

  async read(name: string, opts: CallOptions & { readonly limit: number }): Promise<Buffer | undefined> {
    const range = this.#range(name, 0);
    if (range === undefined) return undefined;
    const size = range.to - range.from;
    if (size <= opts.limit) return readRange(range, opts);
    throw tooLarge(`${this.where}: ${showText(name)} has ${size} bytes, at most ${opts.limit} are read`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }

  #range(name: string, offset: number): Range | undefined {
    const found = this.#find(name);
    if (found === undefined) return undefined;
    const to = found.at + found.size;
    return { file: this.#file, path: this.where, from: Math.min(found.at + offset, to), to };
  }

  /** Follows links, which older versions of docker write for a layer that two images share. Never out of the archive. */
  #find(name: string): { at: number; size: number } | undefined {
    let wanted = name;
    for (let hops = 0; hops <= MAX_LINKS; hops += 1) {
      const entry = this.#entries.get(wanted);
      if (entry === undefined) return undefined;
      if (entry.kind === 'file') return entry;
      wanted = entry.target;
    }
    throw malformed(this.where, `${showText(name)} is a link that leads to no file`);
  }
}

/** One pass over the headers. */
class Headers {
  readonly #where: string;
  readonly #file: FileHandle;
  readonly #size: number;
  readonly #entries = new Map<string, Entry>();
  #overrides: Overrides = {};
  /** What was read last: of small entries many headers come with one read. */
  #window: { readonly at: number; readonly bytes: Buffer } = { at: 0, bytes: Buffer.alloc(0) };

  constructor(where: string, { file, size }: { file: FileHandle; size: number }) {
    this.#where = where;
    this.#file = file;
    this.#size = size;
  }

  async read(opts: CallOptions): Promise<ReadonlyMap<string, Entry>> {
    await this.#refuseCompressed(opts);
    let at = 0;
    for (let count = 0; at < this.#size; count += 1) {
      if (count >= MAX_ENTRIES) throw tooLarge(`${this.#where}: more than ${MAX_ENTRIES} entries`);
      const block = await this.#bytes(at, BLOCK, opts);
      if (isZero(block)) {
        await this.#checkEnd(at + BLOCK, opts);
        break;
      }
      at = await this.#take(decodeHeader(block, `${this.#where}: at byte ${at}`), at, opts);
    }
    return this.#entries;
  }

  async #refuseCompressed(opts: CallOptions): Promise<void> {
    const start = await readRange(this.#part(0, Math.min(this.#size, 8)), opts);
    const found = COMPRESSED.find(([magic]) => start.toString('hex').startsWith(magic));
    if (found === undefined) return;
    throw new GantryError('UNSUPPORTED', `${this.#where} is compressed`, {
      origin: 'source',
      hint: `unpack it first: ${found[1]} < FILE > FILE.tar`,
    });
  }

  #part(from: number, to: number): Range {
    return { file: this.#file, path: this.#where, from, to };
  }

  async #bytes(at: number, length: number, opts: CallOptions): Promise<Buffer> {
    const end = at + length;
    if (end > this.#size) {
      const missing = `at byte ${at} ${length} bytes should follow, there are ${this.#size - at}`;
      throw malformed(this.#where, `it is cut off: ${missing}`);
    }
    if (at < this.#window.at || end > this.#window.at + this.#window.bytes.length) {
      const to = Math.min(this.#size, Math.max(end, at + WINDOW_BYTES));
      this.#window = { at, bytes: await readRange(this.#part(at, to), opts) };
    }
    return this.#window.bytes.subarray(at - this.#window.at, end - this.#window.at);
  }

  /** The archive ends with two blocks of zeros. Readers differ in what they do after a single one. */
  async #checkEnd(at: number, opts: CallOptions): Promise<void> {
    if (at >= this.#size || isZero(await this.#bytes(at, BLOCK, opts))) return;
    throw malformed(this.#where, `at byte ${at} something follows the end of the archive`);
  }

  /** Answers where the next header is. */
  async #take(header: TarHeader, at: number, opts: CallOptions): Promise<number> {
    const from = at + BLOCK;
    const where = `${this.#where}: at byte ${at}`;
    if ('xgLK'.includes(header.type)) {
      if (header.size > MAX_META_BYTES) {
        throw tooLarge(`${where}: a header of ${header.size} bytes, at most ${MAX_META_BYTES} are read`);
      }
      this.#override(header.type, await this.#bytes(from, header.size, opts), where);
      return from + padded(header.size);
    }
    const { name = header.name, link = header.link, size = header.size } = this.#overrides;
    this.#overrides = {};
    if (from + size > this.#size) {
      throw malformed(
        this.#where,
        `it is cut off: ${showText(name)} should have ${size} bytes, there are ${this.#size - from}`,
      );
    }
    this.#add({ name, link, size, type: header.type }, from, where);
    return from + padded(size);
  }

  #override(type: string, bytes: Buffer, where: string): void {
    if (type === 'x') return decodePax(bytes, this.#overrides, where);
    const text = bytes.toString().replace(/\0.*$/s, '');
    if (type === 'L') this.#overrides.name = text;
    if (type === 'K') this.#overrides.link = text;
    if (type !== 'g') return;
    const global: Overrides = {};
    decodePax(bytes, global, where);
    // One name or size for all entries that follow makes no archive that two readers read alike.
    if (Object.keys(global).length > 0) throw malformed(where, 'a global PAX header that sets a path or size');
  }

  #add(header: TarHeader, at: number, where: string): void {
    const { type, size } = header;
    if (type === 'S') throw sparse(where);
    const name = cleanName(header.name, where);
    if (type === '1' || type === '2' || type === '5') {
      // Some readers skip these bytes, others take them for the next header.
      if (size > 0) throw malformed(where, `${showText(name)} is a link or directory with a size`);
      if (type === '5') return;
    }
    if (type === '0' && !header.name.endsWith('/')) this.#put(name, { kind: 'file', at, size }, where);
    if (type === '1' || type === '2') this.#put(name, { kind: 'link', target: linkTarget(name, header) }, where);
  }

  /** Of two entries of one name some readers take the first and others the last. */
  #put(name: string, entry: Entry, where: string): void {
    if (this.#entries.has(name)) throw malformed(where, `${showText(name)} is in the archive twice`);
    this.#entries.set(name, entry);
  }
}

const isZero = (block: Uint8Array): boolean => block.every((byte) => byte === 0);

/** `./index.json` and `index.json` are the same. @throws GantryError MALFORMED */
function cleanName(name: string, where: string): string {
  if (name === '' || name.includes('\0') || name.startsWith('/') || name.split('/').includes('..')) {
    throw malformed(where, `an entry with the name ${showText(name)}`);
  }
  return name.replace(/^(?:\.\/+)+/, '').replace(/\/+$/, '');
}

/** The name of the entry that a link means. One that leads outside is the name of none. */
const linkTarget = (name: string, { type, link }: TarHeader): string =>
  posix.normalize(type === '1' ? link : posix.join(posix.dirname(name), link));
