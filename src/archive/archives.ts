/** Archives as sources and targets of a copy, under the names that oci/location.ts gives them. */
import type { CallOptions } from '../call.ts';
import { archiveOf, isArchive } from '../oci/location.ts';
import type { Reference } from '../oci/reference.ts';
import type { Fetcher, Pusher, Resolved, Resolver } from '../remote/ports.ts';
import type { ResolverEntry } from '../remote/resolvers.ts';
import { DirectoryFiles } from './files.ts';
import { DockerReader } from './docker-reader.ts';
import { DirectoryLayout } from './layout-directory.ts';
import { TarLayout } from './layout-tar.ts';
import { OciReader } from './oci-reader.ts';
import { DockerTarget } from './docker-target.ts';
import { OciTarget } from './oci-target.ts';
import type { ArchiveReader } from './reader.ts';
import { TarReader } from './tar-reader.ts';
import type { ArchiveTarget } from './target.ts';

export interface ArchiveOptions {
  /** Whether a tar file that exists may be replaced; false unless said. */
  readonly overwrite?: boolean;
}

/** The archives of one copy. Disposing them closes what is read, and drops what is written and not committed. */
export interface Archives extends AsyncDisposable {
  /** For a ResolverTable. */
  readonly entry: ResolverEntry;
  /** The names of the images in an archive, the first of each. @throws GantryError NOT_FOUND, MALFORMED, ... */
  names(repository: string, opts: CallOptions): Promise<readonly string[]>;
  /** Makes the archives appear that were written. To be called when all images have ended well. */
  commit(opts: CallOptions): Promise<void>;
}

export const openArchives = (options: ArchiveOptions = {}): Archives => new OpenArchives(options);

class OpenArchives implements Archives, Resolver {
  readonly entry: ResolverEntry = { matches: isArchive, resolver: this };
  readonly #options: ArchiveOptions;
  readonly #readers = new Map<string, Promise<ArchiveReader>>();
  readonly #targets = new Map<string, ArchiveTarget>();

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  async resolve(ref: Reference, opts: CallOptions): Promise<Resolved> {
    const reader = await this.#reader(ref.repository, opts);
    return { name: ref.name, desc: await reader.resolve(ref, opts) };
  }

  fetcher(repository: string): Fetcher {
    return {
      fetch: async (kind, desc, opts) => {
        const target = kind === 'manifest' ? this.#targets.get(repository) : undefined;
        if (target !== undefined && (await target.has(kind, desc, opts))) return target.fetchManifest(desc, opts);
        return (await this.#reader(repository, opts)).fetch(kind, desc, opts);
      },
    };
  }

  pusher(repository: string): Pusher {
    const target = this.#targets.get(repository) ?? openTarget(repository, this.#options);
    this.#targets.set(repository, target);
    return target;
  }

  async names(repository: string, opts: CallOptions): Promise<readonly string[]> {
    return (await this.#reader(repository, opts)).names(opts);
  }

  async commit(opts: CallOptions): Promise<void> {
    for (const target of this.#targets.values()) await target.commit(opts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const target of this.#targets.values()) await target[Symbol.asyncDispose]();
    for (const reading of this.#readers.values()) {
      const reader = await reading.catch(() => undefined);
      await reader?.[Symbol.asyncDispose]();
    }
  }

  /** One that could not be opened is tried anew. */
  async #reader(repository: string, opts: CallOptions): Promise<ArchiveReader> {
    const reading = this.#readers.get(repository) ?? openReader(repository, opts);
    this.#readers.set(repository, reading);
    try {
      return await reading;
    } catch (err) {
      if (this.#readers.get(repository) === reading) this.#readers.delete(repository);
      throw err;
    }
  }
}

async function openReader(repository: string, opts: CallOptions): Promise<ArchiveReader> {
  const { kind, path } = archiveOf(repository);
  if (kind === 'oci') return new OciReader(new DirectoryFiles(path));
  const tar = await TarReader.open(path, opts);
  return kind === 'oci-archive' ? new OciReader(tar) : new DockerReader(tar);
}

function openTarget(repository: string, { overwrite = false }: ArchiveOptions): ArchiveTarget {
  const { kind, path } = archiveOf(repository);
  if (kind === 'docker-archive') return new DockerTarget(path, { overwrite });
  return new OciTarget(kind === 'oci' ? new DirectoryLayout(path) : new TarLayout(path, { overwrite }));
}
