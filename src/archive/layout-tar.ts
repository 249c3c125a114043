import type { ByteStream, OpenOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import type { ContentSource, PushOptions } from '../remote/ports.ts';
import { blobName, INDEX_FILE, LAYOUT_FILE, LAYOUT_TEXT } from './files.ts';
import { REF_NAME } from './image-list.ts';
import { indexWith } from './index-document.ts';
import type { LayoutSink } from './oci-target.ts';
import { type Region, TarWriter, type TarWriterOptions } from './tar-writer.ts';
import { verified } from './verified.ts';

/** An image layout in a tar file. Sizes are known, so any number of blobs are written at once, each to its place. */
export class TarLayout implements LayoutSink {
  readonly #path: string;
  readonly #options: TarWriterOptions;
  readonly #regions = new Map<Digest, Region>();
  readonly #whole = new Map<Digest, Region>();
  readonly #listed: Descriptor[] = [];
  #opened: Promise<TarWriter> | undefined;

  constructor(path: string, options: TarWriterOptions) {
    this.#path = path;
    this.#options = options;
  }

  async lookup(name: string): Promise<Digest | undefined> {
    await this.#tar(); // a file that must not be overwritten is told before anything is transferred
    return this.#listed.findLast(({ annotations }) => annotations?.[REF_NAME] === name)?.digest;
  }

  async has({ digest }: Descriptor): Promise<boolean> {
    await this.#tar();
    return this.#whole.has(digest);
  }

  async addBlob(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    const tar = await this.#tar();
    // A second attempt writes the same place.
    const region = this.#regions.get(desc.digest) ?? tar.reserve(blobName(desc.digest), desc.size);
    this.#regions.set(desc.digest, region);
    let at = region.content;
    for await (const chunk of verified(desc, source, opts)) {
      await tar.write(chunk, at);
      at += chunk.byteLength;
    }
    await tar.seal(region);
    this.#whole.set(desc.digest, region);
  }

  async addManifest({ digest }: Descriptor, bytes: Uint8Array): Promise<void> {
    const tar = await this.#tar();
    this.#whole.set(digest, await tar.add(blobName(digest), bytes));
  }

  list(images: readonly Descriptor[]): Promise<void> {
    this.#listed.push(...images);
    return Promise.resolve();
  }

  async stream(digest: Digest, opts: OpenOptions): Promise<ByteStream | undefined> {
    const region = this.#whole.get(digest);
    return region === undefined ? undefined : (await this.#tar()).stream(region, opts);
  }

  async commit(): Promise<void> {
    const tar = await this.#tar();
    const index = Buffer.from(indexWith({ schemaVersion: 2, mediaType: OCI_INDEX }, this.#listed));
    await tar.add(LAYOUT_FILE, Buffer.from(LAYOUT_TEXT));
    await tar.add(INDEX_FILE, index);
    await tar.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const tar = await this.#opened?.catch(() => undefined);
    await tar?.discard();
  }

  #tar(): Promise<TarWriter> {
    this.#opened ??= TarWriter.create(this.#path, this.#options);
    return this.#opened;
  }
}
