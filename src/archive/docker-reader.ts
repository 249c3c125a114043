/**
 * Reads what `docker save` writes: a manifest.json that lists images, their configs and their layers by file name. Digests are
 * not told there, so they are computed, once for each layer, and a manifest of Docker's schema 2 is made from them.
 */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import { MAX_CONFIG_BYTES, parseImageConfig } from '../oci/config.ts';
import { descriptorToJson } from '../oci/descriptor-json.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, Digester, digestOf } from '../oci/digest.ts';
import { field, FieldNames, isStringList, malformed, objectAt } from '../oci/fields.ts';
import { parseStrictJson } from '../oci/json.ts';
import { MAX_CHILDREN, MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_LAYER_GZIP,
  DOCKER_LAYER_ZSTD,
  DOCKER_MANIFEST,
} from '../oci/media-types.ts';
import type { Reference } from '../oci/reference.ts';
import { showText } from '../oci/show.ts';
import type { ContentKind } from '../remote/ports.ts';
import { compressionOf } from './compression.ts';
import type { ArchiveFiles } from './files.ts';
import { firstNames, type ListedImage, pickImage } from './image-list.ts';
import { streamBytes } from './memory.ts';
import type { ArchiveReader } from './reader.ts';

export const DOCKER_INDEX_FILE = 'manifest.json';

const LAYER_TYPES = { none: DOCKER_LAYER, gzip: DOCKER_LAYER_GZIP, zstd: DOCKER_LAYER_ZSTD } as const;

const FIELDS = new FieldNames('Config', 'RepoTags', 'Layers');

/** An entry of manifest.json: names of files in the archive. */
interface SavedImage {
  readonly config: string;
  readonly layers: readonly string[];
}

export class DockerReader implements ArchiveReader {
  readonly #files: ArchiveFiles & AsyncDisposable;
  readonly #layers = new Map<string, Promise<Descriptor>>();
  /** Where what was resolved is: the name of a file, or the bytes of a manifest. */
  readonly #content = new Map<Digest, string | Buffer>();

  constructor(files: ArchiveFiles & AsyncDisposable) {
    this.#files = files;
  }

  async resolve(ref: Reference, opts: CallOptions): Promise<Descriptor> {
    const image = pickImage(await this.#images(opts), ref.tag, this.#files.where);
    const manifest = await this.#manifestOf(image, opts);
    const desc = { mediaType: DOCKER_MANIFEST, digest: digestOf(manifest), size: manifest.length };
    this.#content.set(desc.digest, manifest);
    return desc;
  }

  async names(opts: CallOptions): Promise<readonly string[]> {
    return firstNames(await this.#images(opts));
  }

  async #images(opts: CallOptions): Promise<ListedImage<SavedImage>[]> {
    const { where } = this.#files;
    const bytes = await this.#files.read(DOCKER_INDEX_FILE, { ...opts, limit: MAX_MANIFEST_BYTES });
    if (bytes !== undefined) return savedImages(bytes, `${where}: ${DOCKER_INDEX_FILE}`);
    throw new GantryError('NOT_FOUND', `${where} is no docker archive: it has no ${DOCKER_INDEX_FILE}`, {
      origin: 'source',
      hint: 'it must come from docker 1.10 or later; an OCI layout in a tar file is oci-archive:FILE',
    });
  }

  async fetch(_kind: ContentKind, { digest }: Descriptor, opts: OpenOptions): Promise<ByteStream> {
    const content = this.#content.get(digest);
    if (Buffer.isBuffer(content)) return streamBytes(content.subarray(opts.offset ?? 0));
    const stream = content === undefined ? undefined : await this.#files.stream(content, opts);
    if (stream !== undefined) return stream;
    throw new GantryError('NOT_FOUND', `${this.#files.where} has no ${digest}`, { origin: 'source', digest });
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#files[Symbol.asyncDispose]();
  }

  async #manifestOf(image: SavedImage, opts: CallOptions): Promise<Buffer> {
    const bytes = await this.#files.read(image.config, { ...opts, limit: MAX_CONFIG_BYTES });
    if (bytes === undefined) throw this.#missing(image.config);
    const { diffIds } = parseImageConfig(bytes, `${this.#files.where}: ${image.config}`);
    if (diffIds.length !== image.layers.length) {
      const counts = `${image.layers.length} layers, and its config tells of ${diffIds.length}`;
      throw malformed(this.#files.where, `the image with the config ${showText(image.config)} has ${counts}`);
    }
    const config: Descriptor = { mediaType: DOCKER_CONFIG, digest: digestOf(bytes), size: bytes.length };
    this.#content.set(config.digest, image.config);
    const layers: Descriptor[] = [];
    for (const [i, name] of image.layers.entries()) {
      const layer = await this.#layer(name, opts);
      this.#checkLayer(name, layer, diffIds[i]);
      layers.push(layer);
    }
    const document = { schemaVersion: 2, mediaType: DOCKER_MANIFEST, config: descriptorToJson(config) };
    return Buffer.from(JSON.stringify({ ...document, layers: layers.map(descriptorToJson) }));
  }

  /** Found out here, where the file can be named, and not by whoever starts a container. */
  #checkLayer(name: string, { mediaType, digest }: Descriptor, diffId: Digest | undefined): void {
    if (mediaType !== DOCKER_LAYER || diffId === undefined || !diffId.startsWith('sha256:') || digest === diffId)
      return;
    throw new GantryError(
      'DIGEST_MISMATCH',
      `${this.#files.where}: ${showText(name)} has bytes that are ${digest}, and should be ${diffId}`,
      { origin: 'source', digest: diffId },
    );
  }

  /** Hashes a layer once, however many images have it. One that was given up by somebody else is begun again. */
  async #layer(name: string, opts: CallOptions): Promise<Descriptor> {
    for (;;) {
      opts.signal.throwIfAborted();
      const running = this.#layers.get(name);
      if (running === undefined) break;
      try {
        return await running;
      } catch (err) {
        if (!isGivenUp(err)) throw err;
        if (this.#layers.get(name) === running) this.#layers.delete(name);
      }
    }
    const hashing = this.#hash(name, opts);
    this.#layers.set(name, hashing);
    return hashing;
  }

  async #hash(name: string, opts: CallOptions): Promise<Descriptor> {
    const stream = await this.#files.stream(name, opts);
    if (stream === undefined) throw this.#missing(name);
    const digester = new Digester();
    let size = 0;
    let mediaType: string | undefined;
    await using body = stream;
    for await (const chunk of body) {
      mediaType ??= LAYER_TYPES[compressionOf(chunk)];
      size += chunk.byteLength;
      digester.update(chunk);
    }
    const digest = digester.digest();
    this.#content.set(digest, name);
    return { mediaType: mediaType ?? DOCKER_LAYER, digest, size };
  }

  #missing(name: string): GantryError {
    return malformed(this.#files.where, `${DOCKER_INDEX_FILE} names ${showText(name)}, which is not in the archive`);
  }
}

const isGivenUp = (err: unknown): boolean =>
  isCode(err, 'CANCELLED') || (err instanceof Error && err.name === 'AbortError');

function savedImages(bytes: Uint8Array, where: string): ListedImage<SavedImage>[] {
  const document = parseStrictJson(bytes, where);
  if (!Array.isArray(document)) throw malformed(where, 'must be a list of images');
  return document.map((value: unknown, i) => {
    const at = `${where}: ${i}`;
    const object = objectAt(value, at, FIELDS);
    const config = field(object, 'Config');
    const layers = field(object, 'Layers') ?? [];
    const names = field(object, 'RepoTags') ?? [];
    if (typeof config !== 'string') throw malformed(`${at}.Config`, 'must be the name of a file');
    if (!isStringList(layers) || layers.length > MAX_CHILDREN) {
      throw malformed(`${at}.Layers`, `must be a list of at most ${MAX_CHILDREN} names of files`);
    }
    if (!isStringList(names)) throw malformed(`${at}.RepoTags`, 'must be a list of names');
    return { names, id: `${config} ${layers.join(' ')}`, image: { config, layers } };
  });
}
