import type { CallOptions } from '../../call.ts';
import type { FileProvider, ImageNames } from '../../content/ports.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { ManifestFiles } from './manifest-files.ts';
import { NameTable } from './name-table.ts';
import type { BlobOptions, ImageSource, Resolved, ServedBlob, ServedManifest } from './source.ts';
import { SubjectIndex } from './subjects.ts';

const HIT = { kind: 'hit' } as const;

export interface StoreImagesParts {
  readonly names: Pick<ImageNames, 'lookup' | 'list'>;
  readonly files: FileProvider;
}

/**
 * What a store has, as it is: it may be written to at the same time. Content is served whatever the repository that it is asked for in, since
 * a store does not record which it came from.
 */
export class StoreImages implements ImageSource {
  readonly #parts: StoreImagesParts;
  readonly #manifests: ManifestFiles;
  readonly #table: NameTable;
  readonly #subjects: SubjectIndex;

  constructor(parts: StoreImagesParts) {
    this.#parts = parts;
    this.#manifests = new ManifestFiles(parts.files);
    this.#table = new NameTable(parts.names);
    this.#subjects = new SubjectIndex(this.#table, this.#manifests);
  }

  async resolve(repository: string, tag: string, opts: CallOptions): Promise<Resolved | undefined> {
    const record = await this.#parts.names.lookup(`${repository}:${tag}`, opts);
    return record === undefined ? undefined : { desc: record.desc, status: HIT };
  }

  async manifest(_repository: string, digest: Digest, opts: CallOptions): Promise<ServedManifest | undefined> {
    const found = await this.#manifests.read(digest, opts);
    if (found === undefined) return undefined;
    const { bytes, manifest } = found;
    return { desc: { mediaType: manifest.mediaType, digest, size: bytes.length }, bytes, status: HIT };
  }

  async blob(_repository: string, digest: Digest, opts: BlobOptions): Promise<ServedBlob | undefined> {
    const file = await this.#parts.files.openFile(digest, opts);
    return file === undefined ? undefined : { kind: 'file', file, status: HIT };
  }

  async tags(repository: string): Promise<readonly string[] | undefined> {
    return (await this.#table.read()).byRepository.get(repository)?.tags;
  }

  async repositories(): Promise<readonly string[]> {
    return (await this.#table.read()).repositories;
  }

  referrers(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]> {
    return this.#subjects.referrers(repository, subject, opts);
  }
}
