/** Names on disk: one record per name, and a mark for each change that index.json does not have yet. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { CallOptions } from '../call.ts';
import type { ImageRecord } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import { descriptorToJson, parseDescriptor } from '../oci/descriptor-json.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import {
  ifExists,
  linkOnce,
  namesIn,
  quietly,
  type StoreFs,
  takeAway,
  unlinkIfExists,
  writeDurable,
  writeFileAtomic,
  writeText,
} from './fs.ts';
import type { Layout } from './layout.ts';
import type { DirectorySync } from './sync-dirs.ts';

export interface NameRecord extends ImageRecord {
  /** What the name meant before, the latest last: an index.json that still says so is old, not news. */
  readonly earlier: readonly Digest[];
}

/** Announces a change before it is made: whoever writes index.json next takes it along, also after a kill. */
export interface NameMark {
  readonly path: string;
  readonly name: string;
  /** What the name will mean; null: nothing; absent: a kill has left the mark empty. */
  readonly digest: Digest | null | undefined;
}

export interface NameFilesParts {
  readonly fs: StoreFs;
  readonly layout: Layout;
  readonly directories: DirectorySync;
}

const MAX_EARLIER = 8;
/** Files that are read at a time when all are. */
const READ_AHEAD = 64;

export class NameFiles {
  readonly #parts: NameFilesParts;

  constructor(parts: NameFilesParts) {
    this.#parts = parts;
  }

  async read(name: string): Promise<NameRecord | undefined> {
    return this.#readFile(this.#parts.layout.nameRecord(name));
  }

  async readAll(opts: CallOptions): Promise<NameRecord[]> {
    return this.#each(await this.#files(this.#parts.layout.names), (path) => this.#readFile(path), opts);
  }

  async readSome(names: readonly string[], opts: CallOptions): Promise<NameRecord[]> {
    const paths = names.map((name) => this.#parts.layout.nameRecord(name));
    return this.#each(paths, (path) => this.#readFile(path), opts);
  }

  async write(name: string, desc: Descriptor, before: NameRecord | undefined): Promise<void> {
    const { fs, layout, directories } = this.#parts;
    await writeFileAtomic(fs, layout.nameRecord(name), recordText(name, desc, before), randomUUID());
    await directories.sync(layout.names);
  }

  /** Writes a name unless somebody has changed it since `before` was read: their change is the later one. */
  async replace(before: NameRecord, desc: Descriptor): Promise<void> {
    const { fs, layout, directories } = this.#parts;
    const path = layout.nameRecord(before.name);
    const unique = randomUUID();
    const fresh = `${path}.${unique}.tmp`;
    const aside = `${path}.${unique}.old`;
    await writeDurable(fs, fresh, recordText(before.name, desc, before));
    const isJudged = async (): Promise<boolean> => (await this.#readFile(aside))?.desc.digest === before.desc.digest;
    try {
      if (await takeAway(fs, path, aside, isJudged)) await linkOnce(fs, fresh, path);
    } finally {
      await quietly(fs.unlink(aside));
      await quietly(fs.unlink(fresh));
    }
    await directories.sync(layout.names);
  }

  async remove(name: string): Promise<void> {
    const { fs, layout, directories } = this.#parts;
    await unlinkIfExists(fs, layout.nameRecord(name));
    await directories.sync(layout.names);
  }

  /** The path of the mark. */
  async mark(name: string, digest: Digest | null): Promise<string> {
    const { fs, layout } = this.#parts;
    const path = join(layout.pendingNames, `${randomUUID()}.json`);
    const file = await fs.open(path, 'wx', 0o644);
    try {
      await writeText(file, JSON.stringify({ name, digest }));
    } catch (err) {
      await quietly(fs.unlink(path));
      throw err;
    } finally {
      await file.close();
    }
    return path;
  }

  async hasMarks(): Promise<boolean> {
    return (await this.#files(this.#parts.layout.pendingNames)).length > 0;
  }

  async marks(opts: CallOptions): Promise<NameMark[]> {
    const read = async (path: string): Promise<NameMark | undefined> => {
      const bytes = await ifExists(this.#parts.fs.readFile(path));
      return bytes === undefined ? undefined : parseMark(bytes.toString(), path);
    };
    return this.#each(await this.#files(this.#parts.layout.pendingNames), read, opts);
  }

  async #files(directory: string): Promise<string[]> {
    const entries = await namesIn(this.#parts.fs, directory);
    return entries.filter((each) => each.endsWith('.json')).map((each) => join(directory, each));
  }

  async #each<T>(
    paths: readonly string[],
    read: (path: string) => Promise<T | undefined>,
    opts: CallOptions,
  ): Promise<T[]> {
    const found: T[] = [];
    for (let i = 0; i < paths.length; i += READ_AHEAD) {
      opts.signal.throwIfAborted();
      const batch = paths.slice(i, i + READ_AHEAD).map(read);
      for (const each of await Promise.all(batch)) if (each !== undefined) found.push(each);
      await setImmediate(); // heartbeats must go on
    }
    return found;
  }

  async #readFile(path: string): Promise<NameRecord | undefined> {
    const bytes = await ifExists(this.#parts.fs.readFile(path));
    return bytes === undefined ? undefined : parseRecord(bytes, path);
  }
}

function recordText(name: string, desc: Descriptor, before: NameRecord | undefined): string {
  const known = before === undefined ? [] : [...before.earlier, before.desc.digest];
  const earlier = known.filter((digest) => digest !== desc.digest).slice(-MAX_EARLIER);
  return JSON.stringify({ name, descriptor: descriptorToJson(desc), earlier });
}

function parseRecord(bytes: Buffer, path: string): NameRecord {
  try {
    const value: { name: unknown; descriptor: unknown; earlier: unknown } = JSON.parse(bytes.toString());
    if (typeof value.name !== 'string') throw new Error('it has no name');
    const earlier = Array.isArray(value.earlier) ? value.earlier.filter(isDigest) : [];
    return { name: value.name, desc: parseDescriptor(value.descriptor, path), earlier };
  } catch (err) {
    throw new GantryError('MALFORMED', `${path} is not a name record`, {
      origin: 'store',
      cause: err,
      hint: 'delete the file and pull its image again',
    });
  }
}

function parseMark(text: string, path: string): NameMark {
  try {
    const { name, digest }: { name: unknown; digest: unknown } = JSON.parse(text);
    if (typeof name === 'string' && (digest === null || isDigest(digest))) return { path, name, digest };
  } catch {
    // being written, or left so by a kill
  }
  return { path, name: '', digest: undefined };
}
