/** Writes an OCI image layout. Where the files go is the business of a sink: a directory or a tar file. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isNonDistributable } from '../oci/media-types.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { ContentKind, ContentSource, PushOptions } from '../remote/ports.ts';
import { canonicalName, CONTAINERD_NAME, REF_NAME } from './image-list.ts';
import { Once } from './once.ts';
import type { ArchiveTarget } from './target.ts';
import { checkBytes } from './verified.ts';

export interface LayoutSink extends AsyncDisposable {
  /** What a name means there. */
  lookup(name: string, opts: CallOptions): Promise<Digest | undefined>;
  has(desc: Descriptor): Promise<boolean>;
  /** Takes a blob, verified. @throws GantryError DIGEST_MISMATCH, SIZE_MISMATCH (nothing is kept), NO_SPACE, IO */
  addBlob(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void>;
  /** Takes a manifest whose bytes were checked. */
  addManifest(desc: Descriptor, bytes: Uint8Array): Promise<void>;
  /** Notes images for index.json; all that belongs to them is there. */
  list(images: readonly Descriptor[]): Promise<void>;
  /** A blob or manifest that is there. */
  stream(digest: Digest, opts: OpenOptions): Promise<ByteStream | undefined>;
  commit(): Promise<void>;
}

export class OciTarget implements ArchiveTarget {
  readonly #sink: LayoutSink;
  readonly #once = new Once();
  /** Manifests without a name, so far. Those that no other refers to are images, too, and are listed without a name. */
  readonly #unnamed = new Map<Digest, Descriptor>();
  readonly #children = new Set<Digest>();

  constructor(sink: LayoutSink) {
    this.#sink = sink;
  }

  lookup(tag: string, opts: CallOptions): Promise<Digest | undefined> {
    return this.#sink.lookup(tag, opts);
  }

  has(_kind: ContentKind, desc: Descriptor): Promise<boolean> {
    return this.#sink.has(desc);
  }

  /** What is in an archive has no other place there. */
  mount(): Promise<boolean> {
    return Promise.resolve(false);
  }

  push(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    return this.#once.run(desc.digest, async () => {
      if (!(await this.#sink.has(desc))) await this.#sink.addBlob(desc, source, opts);
    });
  }

  async putManifest(desc: Descriptor, bytes: Uint8Array, opts: CallOptions & { readonly tag?: string }): Promise<void> {
    opts.signal.throwIfAborted();
    checkBytes(desc, bytes);
    await this.#checkChildren(desc, bytes);
    await this.#once.run(desc.digest, async () => {
      if (!(await this.#sink.has(desc))) await this.#sink.addManifest(desc, bytes);
    });
    const { mediaType, digest, size } = desc;
    if (opts.tag === undefined) this.#unnamed.set(digest, { mediaType, digest, size });
    else await this.#sink.list([{ mediaType, digest, size, annotations: annotationsOf(opts.tag) }]);
  }

  async fetchManifest({ digest }: Descriptor, opts: OpenOptions): Promise<ByteStream> {
    const stream = await this.#sink.stream(digest, opts);
    if (stream !== undefined) return stream;
    throw new GantryError('NOT_FOUND', `${digest} is not in the archive`, { origin: 'target', digest });
  }

  async commit(opts: CallOptions): Promise<void> {
    opts.signal.throwIfAborted();
    await this.#sink.list([...this.#unnamed.values()].filter(({ digest }) => !this.#children.has(digest)));
    await this.#sink.commit();
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#sink[Symbol.asyncDispose]();
  }

  /** Of an index entries may be missing: a copy of some platforms keeps its digest. */
  async #checkChildren(desc: Descriptor, bytes: Uint8Array): Promise<void> {
    const manifest = parseManifest(bytes, desc, `manifest ${desc.digest}`);
    if (manifest.kind === 'index') {
      for (const { digest } of manifest.manifests) this.#children.add(digest);
      return;
    }
    for (const child of [manifest.config, ...manifest.layers]) {
      if (isNonDistributable(child.mediaType) || (await this.#sink.has(child))) continue;
      throw new GantryError('NOT_FOUND', `manifest ${desc.digest} needs ${child.digest}, which is not in the archive`, {
        origin: 'target',
        digest: child.digest,
      });
    }
  }
}

/** The name as it was given; where it is a whole reference, also in the field in which containerd looks for one. */
const annotationsOf = (tag: string): Record<string, string> => ({
  [REF_NAME]: tag,
  ...(canonicalName(tag) === tag ? { [CONTAINERD_NAME]: tag } : {}),
});
