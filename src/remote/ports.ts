/** The ports of registries and of any other kind of remote. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Reference } from '../oci/reference.ts';

export interface Resolved {
  /** The canonical name, `docker.io/library/redis:7`. */
  readonly name: string;
  readonly desc: Descriptor;
}

/** Which side of a registry's API serves the content: it has one URL for manifests and one for blobs. */
export type ContentKind = 'manifest' | 'blob';

/** Reads content of one repository. The stream resumes by itself; what it yields is not verified. */
export interface Fetcher {
  /** @throws GantryError NOT_FOUND, UNAUTHORIZED, DENIED, RATE_LIMITED, UPSTREAM, NETWORK, TIMEOUT, ... */
  fetch(kind: ContentKind, desc: Descriptor, opts: OpenOptions): Promise<ByteStream>;
}

export interface ResolveOptions extends CallOptions {
  /**
   * The content is not here and will be fetched next: a remote that can send it along should, instead of only telling what it is.
   * That is one request less.
   */
  readonly willFetch?: boolean;
}

/** Content that can be opened again: a retry, a 401 and a redirect all need the bytes a second time. */
export interface ContentSource {
  open(opts: OpenOptions): Promise<ByteStream>;
}

export interface PushOptions extends CallOptions {
  /** Told how many bytes of the content are on their way, or there. */
  readonly onProgress?: (offset: number) => void;
}

/** Writes content to one repository. All of it is idempotent: what is there already is success. */
export interface Pusher {
  /** What a tag means here, by asking; undefined when there is no such tag. */
  lookup(tag: string, opts: CallOptions): Promise<Digest | undefined>;
  /** Whether the repository has the content, by asking it. */
  has(kind: ContentKind, desc: Descriptor, opts: CallOptions): Promise<boolean>;
  /**
   * Makes a blob appear here that the same registry has in the repository `from`. False: the registry does not do that, and nothing
   * has changed.
   */
  mount(desc: Descriptor, from: string, opts: CallOptions): Promise<boolean>;
  /** Sends a blob. @throws GantryError DIGEST_MISMATCH, SIZE_MISMATCH (nothing is kept there), DENIED, TOO_LARGE, ... */
  push(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void>;
  /**
   * Puts a manifest, byte for byte: under a tag, or by its digest where none is given.
   * @throws GantryError NOT_FOUND with origin `target` when something that it refers to is not there
   */
  putManifest(desc: Descriptor, bytes: Uint8Array, opts: CallOptions & { readonly tag?: string }): Promise<void>;
}

/** What a repository tells about what hangs on its manifests. */
export interface RepositoryLists {
  /** What a tag means, by asking; undefined when there is no such tag. */
  find(tag: string, opts: CallOptions): Promise<Descriptor | undefined>;
  /** The tags that are made of digests (see oci/attached.ts), by their stems: all are listed once, for all that ask in the next minutes. */
  digestTags(opts: CallOptions): Promise<ReadonlyMap<string, readonly string[]>>;
  /**
   * The manifests that have this one as their `subject`; undefined when the registry keeps no such list.
   * @throws GantryError TOO_LARGE, MALFORMED, ...
   */
  referrers(digest: Digest, opts: CallOptions): Promise<readonly Descriptor[] | undefined>;
}

/** From a reference to a descriptor, and to what reads and writes its repository. */
export interface Resolver {
  resolve(ref: Reference, opts: ResolveOptions): Promise<Resolved>;
  /** `repository` is `host[:port]/path`, as Reference.repository gives it. */
  fetcher(repository: string): Fetcher;
  pusher(repository: string): Pusher;
  /** Undefined, or left out, where nothing is listed, as in archives. */
  lists?(repository: string): RepositoryLists | undefined;
}
