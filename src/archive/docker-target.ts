/**
 * Writes what `docker load` of any age reads: configs, layers without compression, and a manifest.json that lists the images. How large
 * a layer is when unpacked is known at its end only, so one is written at a time.
 */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { MAX_CONFIG_BYTES, parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, Digester, hexOf } from '../oci/digest.ts';
import { type ImageIndex, type ImageManifest, type Manifest, parseManifest } from '../oci/manifest.ts';
import { isConfigType, isLayerType } from '../oci/media-types.ts';
import { showText } from '../oci/show.ts';
import type { ContentKind, ContentSource, PushOptions } from '../remote/ports.ts';
import { unpacked } from './compression.ts';
import { DOCKER_INDEX_FILE } from './docker-reader.ts';
import { streamBytes } from './memory.ts';
import { Once } from './once.ts';
import { Queue } from './queue.ts';
import { TarWriter, type TarWriterOptions } from './tar-writer.ts';
import type { ArchiveTarget } from './target.ts';
import { checkBytes, verified } from './verified.ts';

/** An image of manifest.json. */
interface Saved {
  readonly Config: string;
  readonly RepoTags: string[];
  readonly Layers: readonly string[];
}

const layerFile = (diffId: Digest): string => `${hexOf(diffId)}.tar`;
const configFile = (digest: Digest): string => `${hexOf(digest)}.json`;

export class DockerTarget implements ArchiveTarget {
  readonly #path: string;
  readonly #options: TarWriterOptions;
  readonly #once = new Once();
  readonly #queue = new Queue();
  /** Digest of a config -> what its layers are when unpacked. */
  readonly #configs = new Map<Digest, readonly Digest[]>();
  /** Digest of a layer as it came -> what it is when unpacked. */
  readonly #layers = new Map<Digest, Digest>();
  readonly #files = new Set<string>();
  readonly #images = new Map<Digest, Saved>();
  /** Of images, and of indexes that stand for one of them. */
  readonly #manifests = new Map<Digest, Buffer>();
  #opened: Promise<TarWriter> | undefined;

  constructor(path: string, options: TarWriterOptions) {
    this.#path = path;
    this.#options = options;
  }

  async lookup(tag: string): Promise<Digest | undefined> {
    await this.#tar(); // a file that must not be overwritten is told before anything is transferred
    for (const [digest, { RepoTags }] of this.#images) if (RepoTags.includes(tag)) return digest;
    return undefined;
  }

  async has(kind: ContentKind, { digest }: Descriptor): Promise<boolean> {
    await this.#tar();
    return kind === 'manifest' ? this.#manifests.has(digest) : this.#configs.has(digest) || this.#layers.has(digest);
  }

  mount(): Promise<boolean> {
    return Promise.resolve(false);
  }

  push(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    return this.#once.run(desc.digest, async () => {
      if (await this.has('blob', desc)) return;
      await this.#queue.run(() =>
        isConfigType(desc.mediaType) ? this.#addConfig(desc, source, opts) : this.#addLayer(desc, source, opts),
      );
    });
  }

  async putManifest(desc: Descriptor, bytes: Uint8Array, opts: CallOptions & { readonly tag?: string }): Promise<void> {
    opts.signal.throwIfAborted();
    checkBytes(desc, bytes);
    const saved = this.#savedOf(desc, parseManifest(bytes, desc, `manifest ${desc.digest}`));
    if (opts.tag !== undefined) {
      for (const { RepoTags } of this.#images.values()) remove(RepoTags, opts.tag);
      saved.RepoTags.push(opts.tag);
    }
    this.#images.set(desc.digest, saved);
    this.#manifests.set(desc.digest, Buffer.from(bytes));
  }

  async fetchManifest({ digest }: Descriptor, opts: OpenOptions): Promise<ByteStream> {
    const bytes = this.#manifests.get(digest);
    if (bytes !== undefined) return streamBytes(bytes.subarray(opts.offset ?? 0));
    throw new GantryError('NOT_FOUND', `${digest} is not in the archive`, { origin: 'target', digest });
  }

  async commit(opts: CallOptions): Promise<void> {
    opts.signal.throwIfAborted();
    const tar = await this.#tar();
    await tar.add(DOCKER_INDEX_FILE, Buffer.from(JSON.stringify([...new Set(this.#images.values())])));
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

  async #addConfig(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    if (desc.size > MAX_CONFIG_BYTES) {
      throw new GantryError(
        'TOO_LARGE',
        `config ${desc.digest} has ${desc.size} bytes, at most ${MAX_CONFIG_BYTES} are read`,
        {
          origin: 'source',
          digest: desc.digest,
        },
      );
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of verified(desc, source, opts)) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const { diffIds } = parseImageConfig(bytes, `config ${desc.digest}`);
    await (await this.#tar()).add(configFile(desc.digest), bytes);
    this.#configs.set(desc.digest, diffIds);
  }

  async #addLayer(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    if (!isLayerType(desc.mediaType)) {
      throw new GantryError(
        'UNSUPPORTED',
        `${desc.digest} is ${showText(desc.mediaType)}, which no docker archive holds`,
        {
          origin: 'user',
          digest: desc.digest,
          hint: 'copy it to oci-archive:FILE',
        },
      );
    }
    const tar = await this.#tar();
    try {
      const { diffId, size } = await this.#writeLayer(tar, desc, source, opts);
      // Two that were compressed differently may be one when unpacked; then the file is there.
      if (!this.#files.has(layerFile(diffId))) await tar.seal(tar.reserve(layerFile(diffId), size));
      this.#files.add(layerFile(diffId));
      this.#layers.set(desc.digest, diffId);
    } finally {
      await tar.trim();
    }
  }

  /** At the end of the file, where nothing says yet that it is there. */
  async #writeLayer(
    tar: TarWriter,
    desc: Descriptor,
    source: ContentSource,
    opts: PushOptions,
  ): Promise<{ diffId: Digest; size: number }> {
    const digester = new Digester();
    const start = tar.nextContent;
    let size = 0;
    for await (const chunk of unpacked(verified(desc, source, opts), `layer ${desc.digest}`)) {
      digester.update(chunk);
      await tar.write(chunk, start + size);
      size += chunk.byteLength;
    }
    return { diffId: digester.digest(), size };
  }

  #savedOf(desc: Descriptor, manifest: Manifest): Saved {
    const known = this.#images.get(desc.digest);
    if (known !== undefined) return known;
    return manifest.kind === 'index' ? this.#chosenOf(desc, manifest) : this.#newImage(desc, manifest);
  }

  /** An index of which one platform was copied goes for that. */
  #chosenOf(desc: Descriptor, { manifests }: ImageIndex): Saved {
    const here = new Set(
      manifests.map(({ digest }) => this.#images.get(digest)).filter((image) => image !== undefined),
    );
    const [chosen, ...others] = here;
    if (chosen !== undefined && others.length === 0) return chosen;
    throw new GantryError(
      'UNSUPPORTED',
      `${desc.digest} is an index, and a docker archive holds images of one platform`,
      {
        origin: 'user',
        digest: desc.digest,
        hint: 'choose one with --platform, or copy to oci-archive:FILE',
      },
    );
  }

  #newImage(desc: Descriptor, manifest: ImageManifest): Saved {
    const diffIds = this.#configs.get(manifest.config.digest);
    if (diffIds === undefined) throw missing(desc, manifest.config);
    if (diffIds.length !== manifest.layers.length) throw differs(desc, `${diffIds.length} layers`);
    const layers = manifest.layers.map((layer, i) => {
      const diffId = this.#layers.get(layer.digest);
      if (diffId === undefined) throw missing(desc, layer);
      const expected = diffIds[i];
      if (expected?.startsWith('sha256:') === true && expected !== diffId) throw differs(desc, `a layer ${expected}`);
      return layerFile(diffId);
    });
    return { Config: configFile(manifest.config.digest), RepoTags: [], Layers: layers };
  }
}

function remove(list: string[], item: string): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

const missing = (of: Descriptor, { digest }: Descriptor): GantryError =>
  new GantryError('NOT_FOUND', `manifest ${of.digest} needs ${digest}, which is not in the archive`, {
    origin: 'target',
    digest,
  });

const differs = ({ digest }: Descriptor, what: string): GantryError =>
  new GantryError('MALFORMED', `manifest ${digest}: its config tells of ${what}, which it does not have`, {
    origin: 'source',
    digest,
  });
