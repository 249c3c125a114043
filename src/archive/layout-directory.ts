import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { objectAt } from '../oci/fields.ts';
import { parseStrictJson } from '../oci/json.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import type { ContentSource, PushOptions } from '../remote/ports.ts';
import { errnoOf, ifExists, quietly, saying, syncDirectory, writeAt } from './disk.ts';
import { blobName, DirectoryFiles, INDEX_FILE, LAYOUT_FILE, LAYOUT_TEXT } from './files.ts';
import { listedImages } from './image-list.ts';
import { indexWith } from './index-document.ts';
import type { LayoutSink } from './oci-target.ts';
import { verified } from './verified.ts';

const never = new AbortController().signal;

/**
 * An image layout in a directory. What is whole there stays, also when another image fails; one process writes it at a time.
 * Blobs that are there already are trusted by their size.
 */
export class DirectoryLayout implements LayoutSink {
  readonly #path: string;
  readonly #files: DirectoryFiles;
  #created: Promise<void> | undefined;
  #toList: Descriptor[] = [];
  #listing: Promise<void> = Promise.resolve();
  /** The one that has not begun. */
  #nextListing: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#files = new DirectoryFiles(path);
  }

  async lookup(name: string, opts: CallOptions): Promise<Digest | undefined> {
    await this.#create();
    const bytes = await this.#files.read(INDEX_FILE, { signal: opts.signal, limit: MAX_MANIFEST_BYTES });
    const images = bytes === undefined ? [] : listedImages(bytes, join(this.#path, INDEX_FILE));
    return images.find(({ names }) => names.includes(name))?.image.digest;
  }

  async has({ digest, size }: Descriptor): Promise<boolean> {
    await this.#create();
    return (await this.#files.sizeOf(blobName(digest))) === size;
  }

  addBlob(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    return this.#write(blobName(desc.digest), verified(desc, source, opts));
  }

  addManifest({ digest }: Descriptor, bytes: Uint8Array): Promise<void> {
    return this.#write(blobName(digest), [bytes]);
  }

  /** What comes while the index is being written goes into the next one together. */
  async list(images: readonly Descriptor[]): Promise<void> {
    this.#toList.push(...images);
    this.#nextListing ??= this.#listing.then(() => this.#writeIndex());
    const mine = this.#nextListing;
    this.#listing = mine.catch(() => {}); // whoever wanted it is told
    await mine;
  }

  stream(digest: Digest, opts: OpenOptions): Promise<ByteStream | undefined> {
    return this.#files.stream(blobName(digest), opts);
  }

  async commit(): Promise<void> {
    await this.#create();
    await this.#listing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#listing;
  }

  #create(): Promise<void> {
    this.#created ??= saying(`cannot write ${this.#path}`, 'target', () => this.#makeLayout());
    return this.#created;
  }

  /** Somebody's home directory named by mistake must not be filled with blobs. */
  async #makeLayout(): Promise<void> {
    const entries = (await ifExists(readdir(this.#path).catch(notADirectory(this.#path)))) ?? [];
    if (entries.includes(LAYOUT_FILE)) return;
    if (entries.length > 0) {
      throw new GantryError('USAGE', `${this.#path} is neither empty nor an OCI image layout`, {
        origin: 'user',
        hint: 'name an empty or new directory',
      });
    }
    await mkdir(this.#path, { recursive: true });
    await this.#write(INDEX_FILE, [Buffer.from(indexWith({ schemaVersion: 2, mediaType: OCI_INDEX }, []))]);
    await this.#write(LAYOUT_FILE, [Buffer.from(LAYOUT_TEXT)]); // last: what has it is whole
  }

  async #writeIndex(): Promise<void> {
    const images = this.#toList;
    this.#toList = [];
    this.#nextListing = undefined;
    const path = join(this.#path, INDEX_FILE);
    const bytes = await this.#files.read(INDEX_FILE, { signal: never, limit: MAX_MANIFEST_BYTES });
    const document = bytes === undefined ? { schemaVersion: 2 } : objectAt(parseStrictJson(bytes, path), path);
    await this.#write(INDEX_FILE, [Buffer.from(indexWith(document, images, path))]);
  }

  /** A file appears whole and durable, or not at all. */
  async #write(name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const path = join(this.#path, name);
    const temporary = join(this.#path, `.gantry-${randomUUID()}.tmp`);
    const what = `cannot write ${path}`;
    const file = await saying(what, 'target', async () => {
      await mkdir(dirname(path), { recursive: true });
      return open(temporary, 'wx', 0o644);
    });
    try {
      let at = 0;
      for await (const chunk of chunks) {
        const position = at;
        await saying(what, 'target', () => writeAt(file, chunk, position));
        at += chunk.byteLength;
      }
      await saying(what, 'target', async () => {
        await file.sync();
        await file.close();
        await rename(temporary, path);
        await syncDirectory(dirname(path));
      });
    } catch (err) {
      await quietly(file.close());
      await quietly(unlink(temporary));
      throw err;
    }
  }
}

const notADirectory =
  (path: string) =>
  (err: unknown): never => {
    if (errnoOf(err) !== 'ENOTDIR') throw err;
    throw new GantryError('USAGE', `${path} is a file`, {
      origin: 'user',
      cause: err,
      hint: 'oci: is a directory; a tar file is oci-archive: or docker-archive:',
    });
  };
