/** Reads an OCI image layout (image-spec, image-layout.md), in a directory or in a tar file. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { ContentKind } from '../remote/ports.ts';
import { type ArchiveFiles, blobName, INDEX_FILE } from './files.ts';
import { firstNames, type ListedImage, listedImages, pickImage } from './image-list.ts';
import type { ArchiveReader } from './reader.ts';

export class OciReader implements ArchiveReader {
  readonly #files: ArchiveFiles & Partial<AsyncDisposable>;

  constructor(files: ArchiveFiles & Partial<AsyncDisposable>) {
    this.#files = files;
  }

  async resolve({ tag, digest }: Reference, opts: CallOptions): Promise<Descriptor> {
    const images = await this.#images(opts);
    if (digest === undefined) return pickImage(images, tag, this.#files.where);
    return images.find(({ image }) => image.digest === digest)?.image ?? this.#unlisted(digest, opts);
  }

  async names(opts: CallOptions): Promise<readonly string[]> {
    return firstNames(await this.#images(opts));
  }

  async #images(opts: CallOptions): Promise<ListedImage<Descriptor>[]> {
    const { where } = this.#files;
    const bytes = await this.#files.read(INDEX_FILE, { ...opts, limit: MAX_MANIFEST_BYTES });
    if (bytes !== undefined) return listedImages(bytes, `${where}: ${INDEX_FILE}`);
    throw new GantryError('NOT_FOUND', `${where} is no OCI image layout: it has no ${INDEX_FILE}`, {
      origin: 'source',
    });
  }

  /** A manifest that an index of the archive refers to. */
  async #unlisted(digest: Digest, opts: CallOptions): Promise<Descriptor> {
    const bytes = await this.#files.read(blobName(digest), { ...opts, limit: MAX_MANIFEST_BYTES });
    if (bytes === undefined) throw this.#missing(digest);
    const { mediaType } = parseManifest(bytes, { mediaType: '' }, `${this.#files.where}: ${digest}`);
    return { mediaType, digest, size: bytes.length };
  }

  async fetch(_kind: ContentKind, desc: Descriptor, opts: OpenOptions): Promise<ByteStream> {
    const stream = await this.#files.stream(blobName(desc.digest), opts);
    if (stream === undefined) throw this.#missing(desc.digest);
    return stream;
  }

  #missing(digest: Digest): GantryError {
    return new GantryError('NOT_FOUND', `${this.#files.where} has no ${digest}`, { origin: 'source', digest });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]?.();
  }
}
