/** The ports of registries and of any other kind of remote. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
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

/** From a reference to a descriptor, and to what reads its repository. */
export interface Resolver {
  resolve(ref: Reference, opts: ResolveOptions): Promise<Resolved>;
  /** `repository` is `host[:port]/path`, as Reference.repository gives it. */
  fetcher(repository: string): Fetcher;
}
