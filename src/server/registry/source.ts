/**
 * Where the registry takes from what it serves. A repository is always named in full, `docker.io/library/redis`. What is not known is
 * undefined; errors are for what failed.
 */
import type { ByteStream, CallOptions, OpenOptions } from '../../call.ts';
import type { OpenFile } from '../../content/ports.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';

/** How an answer came about, for the header `Cache-Status` (RFC 9211). */
export type CacheStatus =
  /** It was here, and nobody else was asked, or it was found to be what it still is there. */
  | { readonly kind: 'hit' }
  /** It was not here: it is, or is being, fetched and kept. */
  | { readonly kind: 'stored' }
  /** It is not here, but there; its size was asked for, and nothing more. */
  | { readonly kind: 'elsewhere' }
  /** It was here, and may be something else by now where it comes from. `why` is for people, one line: `upstream answered 429`. */
  | { readonly kind: 'stale'; readonly why: string };

export interface Resolved {
  readonly desc: Descriptor;
  readonly status: CacheStatus;
}

export interface TagSource {
  /** What a tag of a repository means now. */
  resolve(repository: string, tag: string, opts: CallOptions): Promise<Resolved | undefined>;
}

export interface ServedManifest {
  /** Its media type is the one that it is sent as. */
  readonly desc: Descriptor;
  /** Those that the digest names. Shared: never to be changed. */
  readonly bytes: Buffer;
  readonly status: CacheStatus;
}

export interface ManifestSource {
  /** @throws GantryError DIGEST_MISMATCH, SIZE_MISMATCH when the bytes that are here are not those of the digest */
  manifest(repository: string, digest: Digest, opts: CallOptions): Promise<ServedManifest | undefined>;
}

export type ServedBlob =
  /** Whole, and open: whoever asked for it closes it. */
  | { readonly kind: 'file'; readonly file: OpenFile; readonly status: CacheStatus }
  /** On its way. Nothing is held until it is opened. */
  | { readonly kind: 'growing'; readonly size: number; readonly status: CacheStatus; open: OpenGrowing };

export interface OpenGrowingOptions extends OpenOptions {
  /** All of it will be sent, to the end. Of a part before that nothing would tell whether it is right: it waits until the blob is verified. */
  readonly isRest: boolean;
}

/**
 * Everything from `offset` to the end of the blob. It ends normally only once the whole blob was verified, and fails if it turns out to
 * be something else: then its client must not see a whole answer.
 */
export type OpenGrowing = (opts: OpenGrowingOptions) => Promise<ByteStream>;

export interface BlobOptions extends CallOptions {
  /** Only its size is asked for: nothing need be fetched for that. */
  readonly headOnly: boolean;
}

export interface BlobSource {
  blob(repository: string, digest: Digest, opts: BlobOptions): Promise<ServedBlob | undefined>;
}

export interface ListSource {
  /** Sorted by their bytes. */
  tags(repository: string, opts: CallOptions): Promise<readonly string[] | undefined>;
  /** Sorted by their bytes; the names in full. The same array as long as it says the same: what is made of it is kept by it. */
  repositories(opts: CallOptions): Promise<readonly string[]>;
}

export interface ReferrerSource {
  /** What says that it is about this content, each with its artifact type and annotations. */
  referrers(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]>;
}

/** All that a registry serves. */
export type ImageSource = TagSource & ManifestSource & BlobSource & ListSource & ReferrerSource;
