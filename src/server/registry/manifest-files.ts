/** Manifests of a store, verified: what is served as a manifest is parsed by others, who may not compare it with its digest. */
import type { CallOptions } from '../../call.ts';
import type { FileProvider, OpenFile } from '../../content/ports.ts';
import { GantryError, isCode } from '../../errors.ts';
import { algorithmOf, type Digest, digestOf } from '../../oci/digest.ts';
import { type Manifest, MAX_MANIFEST_BYTES, parseManifest } from '../../oci/manifest.ts';

export interface ManifestFile {
  readonly bytes: Buffer;
  readonly manifest: Manifest;
}

/** Bytes of manifests that are kept in memory. */
const MAX_KEPT = 32 << 20;
/** Digests of what is no manifest that are remembered: to find that out may take half a second of a processor. */
const MAX_NONE = 10_000;

export class ManifestFiles {
  readonly #files: FileProvider;
  /** The one that was used last comes last. */
  readonly #kept = new Map<Digest, ManifestFile>();
  #keptBytes = 0;
  /** What is no manifest, and will be none; the oldest comes first. */
  readonly #none = new Set<Digest>();

  constructor(files: FileProvider) {
    this.#files = files;
  }

  /**
   * Undefined for what is not here, and for what is no manifest.
   * @throws GantryError DIGEST_MISMATCH, SIZE_MISMATCH when a file does not have the bytes that its name says
   */
  async read(digest: Digest, opts: CallOptions): Promise<ManifestFile | undefined> {
    const kept = this.#kept.get(digest);
    this.#forget(digest);
    const found = await this.readOnce(digest, opts, kept);
    if (found !== undefined) this.#keep(digest, found);
    return found;
  }

  /** The same for those who need a manifest once: it does not push others out of the memory. */
  async readOnce(digest: Digest, opts: CallOptions, kept?: ManifestFile): Promise<ManifestFile | undefined> {
    const file = await this.#files.openFile(digest, opts);
    if (file === undefined) return undefined;
    try {
      if (file.size > MAX_MANIFEST_BYTES || this.#none.has(digest)) return undefined;
      return kept?.bytes.length === file.size ? kept : this.#parse(digest, await readAll(file, digest));
    } finally {
      await file.close();
    }
  }

  #parse(digest: Digest, bytes: Buffer): ManifestFile | undefined {
    if (this.#none.has(digest)) return undefined; // found out for another request, while this one read
    const found = parsed(digest, bytes);
    if (found !== undefined) return found;
    this.#none.add(digest);
    for (const oldest of this.#none) {
      if (this.#none.size <= MAX_NONE) break;
      this.#none.delete(oldest);
    }
    return undefined;
  }

  #forget(digest: Digest): void {
    this.#keptBytes -= this.#kept.get(digest)?.bytes.length ?? 0;
    this.#kept.delete(digest);
  }

  #keep(digest: Digest, found: ManifestFile): void {
    this.#forget(digest); // another request may have read it meanwhile
    this.#kept.set(digest, found);
    this.#keptBytes += found.bytes.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#keptBytes <= MAX_KEPT) return;
      this.#forget(oldest);
    }
  }
}

async function readAll(file: OpenFile, digest: Digest): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(file.size);
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
    if (bytesRead === 0) {
      const message = `${digest} became shorter while it was read`;
      throw new GantryError('SIZE_MISMATCH', message, { origin: 'store', digest });
    }
    at += bytesRead;
  }
  return bytes;
}

function parsed(digest: Digest, bytes: Buffer): ManifestFile | undefined {
  const got = digestOf(bytes, algorithmOf(digest));
  if (got !== digest) {
    throw new GantryError('DIGEST_MISMATCH', `${digest} has bytes that are ${got}`, {
      origin: 'store',
      digest,
      hint: '`gantry verify` moves it aside, and the next pull of its image fetches it again',
    });
  }
  try {
    return { bytes, manifest: parseManifest(bytes, { mediaType: '' }, `manifest ${digest}`) };
  } catch (err) {
    if (isCode(err, 'MALFORMED', 'UNSUPPORTED', 'TOO_LARGE')) return undefined; // a layer or a config, most likely
    throw err;
  }
}
