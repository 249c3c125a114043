/**
 * A tar file that grows in a temporary file and appears under its name when it is whole. An entry is written at a place of its own,
 * and its header comes last: until then nothing says that it is there.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ByteStream, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { ifExists, quietly, saying, streamRange, syncDirectory, writeAt } from './disk.ts';
import { BLOCK, encodeHeader, headerSize, padded } from './tar-header.ts';

/** The place of an entry. */
export interface Region {
  readonly name: string;
  readonly size: number;
  /** Where its header is, and its content. Bytes. */
  readonly at: number;
  readonly content: number;
}

export interface TarWriterOptions {
  readonly overwrite: boolean;
}

export class TarWriter {
  readonly #path: string;
  readonly #temporary: string;
  readonly #file: FileHandle;
  readonly #overwrite: boolean;
  #end = 0;
  #unsealed = 0;

  private constructor(path: string, temporary: string, file: FileHandle, overwrite: boolean) {
    this.#path = path;
    this.#temporary = temporary;
    this.#file = file;
    this.#overwrite = overwrite;
  }

  /** @throws GantryError USAGE when the file exists, IO */
  static async create(path: string, options: TarWriterOptions): Promise<TarWriter> {
    await refuseExisting(path, options);
    const temporary = join(dirname(path), `.gantry-${randomUUID()}.partial`);
    const file = await saying(`cannot write ${path}`, 'target', () => open(temporary, 'wx+', 0o644));
    return new TarWriter(path, temporary, file, options.overwrite);
  }

  /** Keeps a place at the end. */
  reserve(name: string, size: number): Region {
    const at = this.#end;
    const content = at + headerSize(name);
    this.#end = content + padded(size);
    this.#unsealed += 1;
    return { name, size, at, content };
  }

  /** Where the content of an entry with a short name would begin, were it reserved now. */
  get nextContent(): number {
    return this.#end + BLOCK;
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    return this.#saying(() => writeAt(this.#file, bytes, position));
  }

  /** Says that the entry is there, when all its content is. */
  async seal({ name, size, at }: Region): Promise<void> {
    await this.write(encodeHeader(name, size), at);
    this.#unsealed -= 1;
  }

  async add(name: string, bytes: Uint8Array): Promise<Region> {
    const region = this.reserve(name, bytes.byteLength);
    await this.write(bytes, region.content);
    await this.seal(region);
    return region;
  }

  /** The content of an entry that was written. */
  stream({ content, size }: Region, opts: OpenOptions): ByteStream {
    const from = Math.min(opts.offset ?? 0, size);
    return streamRange({ file: this.#file, path: this.#path, from: content + from, to: content + size }, opts);
  }

  /** Forgets what was written behind the last place that was reserved. */
  trim(): Promise<void> {
    return this.#saying(() => this.#file.truncate(this.#end));
  }

  /** @throws GantryError USAGE when the file has come to exist, IO; INTERNAL when an entry was begun and has not ended */
  async finish(): Promise<void> {
    if (this.#unsealed > 0)
      throw new GantryError('INTERNAL', `${this.#path}: an entry has not been written to its end`);
    await this.#saying(async () => {
      await this.#file.truncate(this.#end + 2 * BLOCK); // two blocks of zeros are the end of an archive
      await this.#file.sync();
      await this.#file.close();
    });
    await refuseExisting(this.#path, { overwrite: this.#overwrite });
    await this.#saying(async () => {
      await rename(this.#temporary, this.#path);
      await syncDirectory(dirname(this.#path));
    });
  }

  async discard(): Promise<void> {
    await quietly(this.#file.close());
    await quietly(unlink(this.#temporary));
  }

  #saying<T>(work: () => Promise<T>): Promise<T> {
    return saying(`cannot write ${this.#path}`, 'target', work);
  }
}

async function refuseExisting(path: string, { overwrite }: TarWriterOptions): Promise<void> {
  const found = await saying(`cannot write ${path}`, 'target', () => ifExists(lstat(path)));
  if (found === undefined || (overwrite && found.isFile())) return;
  throw new GantryError('USAGE', `${path} exists already`, {
    origin: 'user',
    hint: 'an archive is never added to: name another file, or replace this one with --overwrite',
  });
}
