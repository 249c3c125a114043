/**
 * Image names. The truth is one small file per name, so that recording costs the same with ten names or fifty thousand and
 * any number of processes may do it at once. index.json is made from these files for the other tools that read the layout,
 * under a lock; what those tools wrote is kept, and a name that they gave to something else since then is theirs.
 */
import type { CallOptions } from '../call.ts';
import type { ImageNames, ImageRecord } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { FileLock, FileLocks } from './file-lock.ts';
import { type FileInfo, ifExists, quietly, saying, unlinkIfExists, writeFileAtomic } from './fs.ts';
import { type IndexEntry, type IndexFile, indexText, namedEntry, readIndex } from './index-json.ts';
import { NameFiles, type NameFilesParts, type NameMark, type NameRecord } from './name-files.ts';

/** A mark whose change is not there is that of a writer which is at it, or was killed, or came second. */
const FORGET_MARK_AFTER_MS = 600_000;

export interface NamesParts extends NameFilesParts {
  readonly locks: FileLocks;
  /** Makes the store when it is not there yet. */
  create(): Promise<void>;
}

export class Names implements ImageNames {
  readonly #parts: NamesParts;
  readonly #files: NameFiles;
  /** index.json as it was last read: large, and rarely changed. */
  #read: { readonly version: string; readonly file: Promise<IndexFile> } | undefined;

  /** The same by name: to look through all of them for each name takes milliseconds where there are tens of thousands. */
  #byName:
    | {
        readonly entries: readonly IndexEntry[];
        readonly named: ReadonlyMap<string | undefined, readonly IndexEntry[]>;
      }
    | undefined;

  constructor(parts: NamesParts) {
    this.#parts = parts;
    this.#files = new NameFiles(parts);
  }

  record(name: string, desc: Descriptor, opts: CallOptions): Promise<void> {
    return saying(`cannot record ${name} in ${this.#parts.layout.root}`, async () => {
      opts.signal.throwIfAborted();
      await this.#parts.create();
      const before = await this.#files.read(name);
      if (before !== undefined && isSame(before.desc, desc) && (await this.#isCurrent(before, opts))) return;
      const mark = await this.#files.mark(name, desc.digest);
      try {
        await this.#files.write(name, desc, before);
      } catch (err) {
        await quietly(unlinkIfExists(this.#parts.fs, mark));
        throw err;
      }
    });
  }

  lookup(name: string, opts: CallOptions): Promise<ImageRecord | undefined> {
    return saying(`cannot look up ${name} in ${this.#parts.layout.root}`, async () => {
      opts.signal.throwIfAborted();
      const record = await this.#files.read(name);
      const marks = new Marks(await this.#files.marks(opts));
      const entries = await this.#indexed(name);
      return merge(record === undefined ? [] : [record], entries, marks).at(-1);
    });
  }

  /** Names of gantry and of other tools. An entry of theirs that has no name goes by its digest. */
  list(opts: CallOptions): Promise<ImageRecord[]> {
    return saying(`cannot list the images of ${this.#parts.layout.root}`, async () => {
      // In this order: whoever changes a name marks it first, and unmarks it when index.json has it.
      const records = await this.#files.readAll(opts);
      const marks = new Marks(await this.#files.marks(opts));
      const { entries } = await this.#index();
      return merge(records, entries, marks).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  async remove(name: string, opts: CallOptions): Promise<void> {
    const { layout } = this.#parts;
    if ((await this.lookup(name, opts)) === undefined) {
      throw new GantryError('NOT_FOUND', `no image ${name} in ${layout.root}`, { origin: 'user' });
    }
    await saying(`cannot remove ${name} from ${layout.root}`, async () => {
      await this.#files.mark(name, null);
      await this.#files.remove(name);
    });
    await this.publish(opts);
  }

  /** Brings index.json up to date with the names. Cheap when it is. */
  publish(opts: CallOptions): Promise<void> {
    const { fs, layout, locks } = this.#parts;
    return saying(`cannot write ${layout.index}`, async () => {
      if (!(await this.#isDue())) return;
      await using lock = await locks.acquire(layout.indexLock, opts);
      if (!(await this.#isDue())) return; // somebody else's rebuild took ours along
      const done = await this.#rebuild(lock, opts);
      for (const { path } of done) await unlinkIfExists(fs, path);
    });
  }

  /** Writes index.json. Gives the marks that it has taken along. */
  async #rebuild(lock: FileLock, opts: CallOptions): Promise<NameMark[]> {
    const { marks, records } = await this.#changes(opts);
    const known = new Map(records.map((record) => [record.name, record]));
    const done: NameMark[] = [];
    for (const mark of marks) {
      if (isDone(mark, known.get(mark.name)) || (await this.#isOld(mark))) done.push(mark);
    }
    const { rest, entries: before } = await this.#index();
    const judge = new Marks(marks);
    const entries: IndexEntry[] = [];
    const listed = new Set<string>();
    for (const entry of before) {
      const record = entry.name === undefined ? undefined : known.get(entry.name);
      const verdict = judge.of(entry, record);
      if (verdict === 'drop') continue;
      if (verdict === 'adopt' && record !== undefined && entry.desc !== undefined) {
        await this.#files.replace(record, entry.desc);
      }
      entries.push(entry);
      if (entry.name !== undefined) listed.add(entry.name);
    }
    for (const { name, desc } of records) if (!listed.has(name)) entries.push(namedEntry(name, desc));
    await this.#write({ rest, entries }, lock);
    return done;
  }

  /** The names that may differ from index.json. All of them, unless it is as gantry last wrote it. */
  async #changes(opts: CallOptions): Promise<{ marks: NameMark[]; records: NameRecord[] }> {
    const { fs, layout } = this.#parts;
    const written = await ifExists(fs.readFile(layout.indexVersion));
    if (written !== undefined && written.toString() === (await this.#version())) {
      const marks = await this.#files.marks(opts);
      const names = new Set(marks.map(({ name }) => name));
      return { marks, records: await this.#files.readSome([...names], opts) };
    }
    const records = await this.#files.readAll(opts);
    // After the records: so every record that we know and index.json does not has its mark among these.
    return { records, marks: await this.#files.marks(opts) };
  }

  async #write(file: IndexFile, lock: FileLock): Promise<void> {
    const { fs, layout, directories } = this.#parts;
    const info = await writeFileAtomic(fs, layout.index, indexText(file), lock.owner);
    await directories.sync(layout.root);
    const version = versionOf(info);
    this.#read = { version, file: Promise.resolve(file) };
    // Whoever has slept, and written over what its successor wrote, must not call that complete.
    if (await lock.isOurs()) await quietly(writeFileAtomic(fs, layout.indexVersion, version, lock.owner));
  }

  /** Something has changed, or somebody has deleted the file. */
  async #isDue(): Promise<boolean> {
    if (await this.#files.hasMarks()) return true;
    return (await this.#version()) === undefined && this.#parts.layout.exists(this.#parts.fs);
  }

  async #isOld({ path }: NameMark): Promise<boolean> {
    const info = await ifExists(this.#parts.fs.lstat(path));
    return info === undefined || Date.now() - info.mtime.getTime() > FORGET_MARK_AFTER_MS;
  }

  /** Whether index.json says the same, or will after the next rebuild. */
  async #isCurrent(record: NameRecord, opts: CallOptions): Promise<boolean> {
    const entries = await this.#indexed(record.name);
    if (entries.length > 0 && entries.every((entry) => entry.desc?.digest === record.desc.digest)) return true;
    const marks = await this.#files.marks(opts);
    return marks.some((mark) => mark.name === record.name && isDone(mark, record));
  }

  async #index(): Promise<IndexFile> {
    const { fs, layout } = this.#parts;
    const version = (await this.#version()) ?? '';
    if (this.#read?.version !== version) this.#read = { version, file: readIndex(fs, layout.index) };
    const { file } = this.#read;
    return file;
  }

  /** What index.json has of one name. */
  async #indexed(name: string): Promise<readonly IndexEntry[]> {
    const { entries } = await this.#index();
    if (this.#byName?.entries !== entries) {
      this.#byName = { entries, named: Map.groupBy(entries, (entry) => entry.name) };
    }
    return this.#byName.named.get(name) ?? [];
  }

  /** Changes with the file; undefined when there is none. */
  async #version(): Promise<string | undefined> {
    const info = await ifExists(this.#parts.fs.lstat(this.#parts.layout.index));
    return info === undefined || info.size === 0 ? undefined : versionOf(info);
  }
}

const versionOf = ({ ino, size, mtime }: FileInfo): string => `${ino}:${size}:${mtime.getTime()}`;

type Verdict =
  /** It stays as it is, for the name that it has. */
  | 'keep'
  /** The record of its name says something newer, or the name was removed. */
  | 'drop'
  /** Another tool gave the name to something else after we last wrote the file: so shall the record say. */
  | 'adopt';

/** Decides between index.json and the records, by the changes that are announced. */
class Marks {
  readonly #byName: Map<string, NameMark[]>;

  constructor(marks: readonly NameMark[]) {
    this.#byName = Map.groupBy(marks, (mark) => mark.name);
  }

  of({ name, desc }: IndexEntry, record: NameRecord | undefined): Verdict {
    const marks = name === undefined ? [] : (this.#byName.get(name) ?? []);
    if (record === undefined) return marks.some((mark) => mark.digest === null) ? 'drop' : 'keep';
    if (desc === undefined || desc.digest === record.desc.digest) return 'keep';
    if (record.earlier.includes(desc.digest)) return 'drop';
    if (marks.some((mark) => isDone(mark, record))) return 'drop';
    return 'adopt';
  }
}

const isDone = (mark: NameMark, record: NameRecord | undefined): boolean =>
  mark.digest !== undefined && mark.digest === (record?.desc.digest ?? null);

/** Names as index.json would say after a rebuild. */
function merge(records: readonly NameRecord[], entries: readonly IndexEntry[], marks: Marks): ImageRecord[] {
  const known = new Map(records.map((record) => [record.name, record]));
  const listed = new Set<string>();
  const merged: ImageRecord[] = [];
  for (const entry of entries) {
    const { name, desc } = entry;
    if (name === undefined || desc === undefined) continue;
    const record = known.get(name);
    const verdict = marks.of(entry, record);
    if (verdict === 'drop') continue;
    listed.add(name);
    // Of the same content the record knows more: what index.json says is annotated with the name.
    merged.push({ name, desc: record?.desc.digest === desc.digest ? record.desc : desc });
  }
  for (const { name, desc } of records) if (!listed.has(name)) merged.push({ name, desc });
  return merged;
}

const isSame = (a: Descriptor, b: Descriptor): boolean => a.digest === b.digest && a.mediaType === b.mediaType;
