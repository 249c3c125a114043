/**
 * Where things are in a store: an OCI image layout (image-spec, image-layout.md), and beside it `ingest/` for unfinished
 * writes and `gantry/` for what only gantry reads.
 */
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { GantryError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import { ifExists, isErrno, linkOnce, namesIn, quietly, storeError, type StoreFs, writeDurable } from './fs.ts';

const OWN_ENTRIES: ReadonlySet<string> = new Set([
  'oci-layout',
  'index.json',
  'blobs',
  'ingest',
  'gantry',
  'lost+found', // a file system of its own
]);
const LAYOUT_TEXT = '{"imageLayoutVersion":"1.0.0"}';

/** A name of any text that is safe as a file name. */
const fileKey = (text: string): string => createHash('sha256').update(text).digest('hex');

export class Layout {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get marker(): string {
    return join(this.root, 'oci-layout');
  }
  get index(): string {
    return join(this.root, 'index.json');
  }
  get blobs(): string {
    return join(this.root, 'blobs');
  }
  get ingests(): string {
    return join(this.root, 'ingest');
  }
  get own(): string {
    return join(this.root, 'gantry');
  }
  get id(): string {
    return join(this.own, 'id');
  }
  get names(): string {
    return join(this.own, 'names');
  }
  get pendingNames(): string {
    return join(this.own, 'names-pending');
  }
  get sessions(): string {
    return join(this.own, 'sessions');
  }
  /** Which index.json gantry last wrote. */
  get indexVersion(): string {
    return join(this.own, 'index.version');
  }
  get trash(): string {
    return join(this.own, 'trash');
  }
  /** `directory` is one below `trash`: each collection has its own. */
  trashed(directory: string, digest: Digest): string {
    return join(directory, digest.replace(':', '-'));
  }
  get damaged(): string {
    return join(this.own, 'damaged');
  }
  get indexLock(): string {
    return join(this.own, 'index.lock');
  }
  get collectLock(): string {
    return join(this.own, 'gc.lock');
  }

  blobDirectory(digest: Digest): string {
    return join(this.blobs, algorithmOf(digest));
  }
  blob(digest: Digest): string {
    return join(this.blobDirectory(digest), hexOf(digest));
  }
  ingestLock(ref: string): string {
    return join(this.ingests, `${fileKey(ref)}.lock`);
  }
  /** Each owner writes a file of its own, so that a writer that was taken over cannot touch what its successor verified. */
  ingestData(ref: string, owner: string): string {
    return join(this.ingests, `${fileKey(ref)}.${owner}.part`);
  }
  nameRecord(name: string): string {
    return join(this.names, `${fileKey(name)}.json`);
  }

  /** Makes the directory a store. Anybody may do so at the same time. */
  async create(fs: StoreFs): Promise<void> {
    try {
      await this.#refuseForeign(fs);
      for (const algorithm of ['sha256', 'sha512']) await fs.mkdir(join(this.blobs, algorithm), { recursive: true });
      for (const dir of [this.ingests, this.names, this.pendingNames, this.sessions]) {
        await fs.mkdir(dir, { recursive: true });
      }
      if ((await ifExists(fs.lstat(this.id))) === undefined) await this.#createOnce(fs, this.id, randomUUID());
      if ((await ifExists(fs.lstat(this.marker))) !== undefined) return;
      await this.#createOnce(fs, this.index, '{"schemaVersion":2,"manifests":[]}');
      await this.#createOnce(fs, this.marker, LAYOUT_TEXT); // last: a directory with the marker is whole
    } catch (err) {
      if (isErrno(err, 'ENOTDIR', 'EEXIST')) throw notADirectory(this.root, err);
      throw storeError(err, `cannot create the store ${this.root}`);
    }
  }

  /** Whether it is a store already. @throws GantryError USAGE when the path cannot be one */
  async exists(fs: StoreFs): Promise<boolean> {
    try {
      return (await ifExists(fs.lstat(this.marker))) !== undefined;
    } catch (err) {
      if (isErrno(err, 'ENOTDIR')) throw notADirectory(this.root, err);
      throw storeError(err, `cannot open the store ${this.root}`);
    }
  }

  /** Somebody's home directory named by mistake must not be filled with blobs. */
  async #refuseForeign(fs: StoreFs): Promise<void> {
    const entries = await namesIn(fs, this.root);
    const foreign = entries.filter((entry) => !OWN_ENTRIES.has(entry) && !/\.(?:tmp|new)$/.test(entry));
    if (entries.includes('oci-layout') || foreign.length === 0) return;
    throw new GantryError(
      'USAGE',
      `${this.root} is neither empty nor an OCI image layout: it has ${JSON.stringify(foreign[0])}`,
      {
        origin: 'user',
        hint: 'name an empty or new directory with --store',
      },
    );
  }

  /** A link is made only where there is nothing yet, so the first of several writers wins. */
  async #createOnce(fs: StoreFs, path: string, text: string): Promise<void> {
    const temporary = `${path}.${randomUUID()}.new`;
    await writeDurable(fs, temporary, text);
    try {
      await linkOnce(fs, temporary, path);
    } finally {
      await quietly(fs.unlink(temporary));
    }
  }
}

const notADirectory = (root: string, cause: unknown): GantryError =>
  new GantryError('USAGE', `the store ${root}, or a part of it, is not a directory`, {
    origin: 'user',
    cause,
    hint: 'name a directory with --store or GANTRY_STORE',
  });
