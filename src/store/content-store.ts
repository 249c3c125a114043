import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type ByteStream, type CallOptions, lockBackoffMs, type OpenOptions, sleep } from '../call.ts';
import type {
  Collected,
  Collector,
  CollectOptions,
  ContentInfo,
  ContentManager,
  FollowOptions,
  FollowRequest,
  GrowingProvider,
  Ingest,
  Ingester,
  IngestManager,
  IngestRequest,
  IngestStatus,
  InfoProvider,
  Mark,
  OpenFile,
  Provider,
} from '../content/ports.ts';
import { GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, type Digest, Digester, isDigest } from '../oci/digest.ts';
import { openBlob, openBlobFile } from './blob-stream.ts';
import { collect, deleteBlob, healTrash } from './collect.ts';
import { takeDamaged } from './damaged.ts';
import { FileLocks } from './file-lock.ts';
import { ifExists, namesIn, saying, type StoreFs } from './fs.ts';
import { followGrowing } from './growing.ts';
import { Ingests } from './ingests.ts';
import { Layout } from './layout.ts';
import { Names } from './names.ts';
import { localFs } from './node-fs.ts';
import { Session, type SessionParts } from './session.ts';
import { DirectorySync } from './sync-dirs.ts';

export interface ContentStoreOptions {
  /** The directory of the OCI image layout. It is made at the first write. */
  readonly root: string;
  /** How long a lock may go without a heartbeat before others take its work over, in milliseconds. */
  readonly staleLockMs?: number;
  readonly fs?: StoreFs;
}

const DEFAULT_STALE_LOCK_MS = 10_000;
/** Files that are looked at side by side. */
const LOOK_AHEAD = 32;

/**
 * Blobs by digest, unfinished writes and image names in an OCI image layout on disk. Any number of processes may use one
 * directory at the same time, also over a network file system.
 */
export class ContentStore
  implements Provider, GrowingProvider, InfoProvider, Ingester, IngestManager, ContentManager, Collector
{
  readonly names: Names;
  readonly #layout: Layout;
  readonly #fs: StoreFs;
  readonly #locks: FileLocks;
  readonly #ingests: Ingests;
  #created: Promise<void> | undefined;
  #id: string | undefined;
  readonly #sessions = new Set<Session>();

  constructor(options: ContentStoreOptions) {
    this.#fs = options.fs ?? localFs;
    this.#layout = new Layout(options.root);
    this.#locks = new FileLocks(this.#fs, { staleMs: options.staleLockMs ?? DEFAULT_STALE_LOCK_MS });
    const directories = new DirectorySync(this.#fs);
    const parts = { fs: this.#fs, layout: this.#layout, locks: this.#locks, directories };
    this.#ingests = new Ingests(parts);
    this.names = new Names({ ...parts, create: () => this.create() });
  }

  get root(): string {
    return this.#layout.root;
  }

  /** Whether the directory is a store already. @throws GantryError USAGE when it cannot be one */
  exists(): Promise<boolean> {
    return this.#layout.exists(this.#fs);
  }

  /** Makes the directory a store. Writes do so by themselves. @throws GantryError USAGE, IO */
  create(): Promise<void> {
    this.#created ??= this.#layout.create(this.#fs).catch((err: unknown) => {
      this.#created = undefined;
      throw err;
    });
    return this.#created;
  }

  /** What tells this store from any other, wherever it is mounted. */
  async id(): Promise<string> {
    await this.create();
    const read = (): Promise<Buffer> => this.#fs.readFile(this.#layout.id);
    this.#id ??= (await saying(`cannot read ${this.#layout.id}`, read)).toString().trim();
    return this.#id;
  }

  /**
   * Protects what is ingested from now on, or found to be here, from other processes' garbage collection until the answer
   * is disposed; by then a name should need it.
   */
  async protect(opts: CallOptions): Promise<AsyncDisposable> {
    opts.signal.throwIfAborted();
    await this.create();
    const session = await saying(`cannot write to the store ${this.root}`, async () => {
      await healTrash(this.#parts());
      return Session.start(this.#parts());
    });
    this.#sessions.add(session);
    return {
      [Symbol.asyncDispose]: async () => {
        this.#sessions.delete(session);
        await session[Symbol.asyncDispose]();
      },
    };
  }

  stat(digest: Digest, opts: CallOptions): Promise<ContentInfo | undefined> {
    return saying(`cannot look at ${this.#layout.blob(digest)}`, async () => {
      opts.signal.throwIfAborted();
      await this.#claim(digest);
      return this.#look(digest);
    });
  }

  open(desc: Pick<Descriptor, 'digest' | 'size'>, opts: OpenOptions): Promise<ByteStream> {
    return openBlob(this.#parts(), desc.digest, opts);
  }

  async follow(request: FollowRequest, opts: FollowOptions): Promise<ByteStream | undefined> {
    opts.signal.throwIfAborted();
    await this.#claim(request.digest);
    return followGrowing(this.#parts(), request, opts);
  }

  openFile(digest: Digest, opts: CallOptions): Promise<OpenFile | undefined> {
    return openBlobFile(this.#parts(), digest, opts);
  }

  /** The file of a blob. @throws GantryError NOT_FOUND */
  async path(digest: Digest, opts: CallOptions): Promise<string> {
    if ((await this.stat(digest, opts)) === undefined) throw notFound(digest, this.root);
    return this.#layout.blob(digest);
  }

  async ingest(request: IngestRequest, opts: CallOptions): Promise<Ingest> {
    opts.signal.throwIfAborted();
    await this.create();
    return saying(`cannot write to the store ${this.root}`, async () => {
      if (request.digest !== undefined) await this.#claim(request.digest);
      const find = (): Promise<ContentInfo | undefined> => this.#present(request, opts);
      const info = await find();
      return info === undefined ? this.#ingests.start(request, find, opts) : { state: 'present', info };
    });
  }

  /** Like `ingest`, but waits while somebody else writes. */
  async ingestWaiting(request: IngestRequest, opts: CallOptions): Promise<Exclude<Ingest, { state: 'busy' }>> {
    for (let attempt = 0; ; attempt += 1) {
      const ingest = await this.ingest(request, opts);
      if (ingest.state !== 'busy') return ingest;
      await sleep(lockBackoffMs(attempt), opts.signal);
    }
  }

  active(opts: CallOptions): Promise<IngestStatus[]> {
    return saying(`cannot list the ingests of ${this.root}`, () => this.#ingests.list(opts));
  }

  async abort(ref: string, opts: CallOptions): Promise<void> {
    const found = await saying(`cannot abort the ingest ${ref}`, () => this.#ingests.abort(ref, opts));
    if (found) return;
    throw new GantryError('NOT_FOUND', `no ingest ${JSON.stringify(ref)} in ${this.root}`, { origin: 'user' });
  }

  async *walk(opts: CallOptions): AsyncGenerator<ContentInfo> {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const directory = join(this.#layout.blobs, algorithm);
      const entries = await saying(`cannot list ${directory}`, () => namesIn(this.#fs, directory));
      const digests = entries.map((entry) => `${algorithm}:${entry}`).filter(isDigest);
      digests.sort();
      for (let i = 0; i < digests.length; i += LOOK_AHEAD) {
        opts.signal.throwIfAborted();
        await setImmediate(); // heartbeats must go on
        const batch = digests.slice(i, i + LOOK_AHEAD).map((digest) => this.#look(digest));
        for (const info of await saying(`cannot list ${directory}`, () => Promise.all(batch))) {
          if (info !== undefined) yield info;
        }
      }
    }
  }

  /** @throws GantryError NOT_FOUND, IN_USE while a running pull relies on it */
  async delete(digest: Digest, opts: CallOptions): Promise<void> {
    const found = await saying(`cannot delete ${digest}`, async () => {
      if ((await this.#look(digest)) === undefined) return false;
      return deleteBlob(this.#parts(), digest, opts);
    });
    if (!found) throw notFound(digest, this.root);
  }

  /** Reads a blob again and compares it with its digest. @throws GantryError NOT_FOUND */
  async isIntact(digest: Digest, opts: CallOptions): Promise<boolean> {
    const digester = new Digester(algorithmOf(digest));
    await using bytes = await this.open({ digest, size: 0 }, opts);
    for await (const chunk of bytes) digester.update(chunk);
    return digester.digest() === digest;
  }

  /** Takes content that turned out to be wrong out of the way; the bytes are kept for a look under gantry/damaged. */
  quarantine(digest: Digest): Promise<void> {
    return saying(`cannot move ${digest} aside`, () => takeDamaged(this.#parts(), digest));
  }

  collect(mark: Mark, opts: CollectOptions): Promise<Collected> {
    const walk = (each: CallOptions): AsyncIterable<ContentInfo> => this.walk(each);
    const parts = { ...this.#parts(), ingests: this.#ingests, provider: this, walk };
    return saying(`cannot collect garbage in ${this.root}`, async () => {
      await this.create();
      return collect(parts, mark, opts);
    });
  }

  async #claim(digest: Digest): Promise<void> {
    for (const session of this.#sessions) await session.claim(digest);
  }

  async #look(digest: Digest): Promise<ContentInfo | undefined> {
    const stat = await ifExists(this.#fs.lstat(this.#layout.blob(digest)));
    return stat?.isFile() === true ? { digest, size: stat.size, createdAt: stat.mtime } : undefined;
  }

  /** A blob is trusted when it is a file of the right size; anything else in its place is moved aside and fetched again. */
  async #present({ digest, size }: IngestRequest, opts: CallOptions): Promise<ContentInfo | undefined> {
    if (digest === undefined) return undefined;
    const stat = await ifExists(this.#fs.lstat(this.#layout.blob(digest)));
    if (stat === undefined) return undefined;
    if (stat.isFile() && (size === undefined || stat.size === size)) {
      return { digest, size: stat.size, createdAt: stat.mtime };
    }
    // Somebody is wrong about the size: the file, or a descriptor that must not cost other images their good content.
    if (stat.isFile() && (await this.#isIntactIfThere(digest, opts))) {
      throw new GantryError('SIZE_MISMATCH', `${digest} has ${stat.size} bytes, its descriptor says ${size ?? '?'}`, {
        origin: 'source',
        digest,
      });
    }
    await this.quarantine(digest);
    return undefined;
  }

  async #isIntactIfThere(digest: Digest, opts: CallOptions): Promise<boolean> {
    try {
      return await this.isIntact(digest, opts);
    } catch (err) {
      if (isCode(err, 'NOT_FOUND')) return false; // moved aside meanwhile by somebody who saw the same
      throw err;
    }
  }

  #parts(): SessionParts {
    return { fs: this.#fs, layout: this.#layout, locks: this.#locks };
  }
}

const notFound = (digest: Digest, root: string): GantryError =>
  new GantryError('NOT_FOUND', `${digest} is not in ${root}`, { origin: 'user', digest });
