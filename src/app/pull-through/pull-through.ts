/**
 * A store that fetches what it lacks, by rules. Content is kept as a pull keeps it; what a tag means is asked again when the answer has
 * become old, and what is here is served when there is no answer.
 */
import type { CallOptions } from '../../call.ts';
import type { ImageNames, IngestManager } from '../../content/ports.ts';
import { isCode } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { PullThroughRule } from '../../mirror/pull-through/types.ts';
import { isRootType } from '../../oci/manifest.ts';
import { OCI_CONFIG, OCI_LAYER } from '../../oci/media-types.ts';
import { refKey } from '../../oci/ref-key.ts';
import { SharedCalls } from '../../registry/shared-calls.ts';
import type {
  BlobOptions,
  CacheStatus,
  ImageSource,
  OpenGrowing,
  Resolved,
  ServedBlob,
  ServedManifest,
} from '../../server/registry/source.ts';
import { KnownContent } from './known.ts';
import { type Origin, originOf } from './rules.ts';
import type { Transfer, Transfers } from './transfers.ts';
import { TagChecks, WITHOUT_MS } from './tag-checks.ts';
import { inFull, isFromThere, told } from './told.ts';
import type { Upstream } from './upstream.ts';

export interface PullThroughParts {
  readonly rules: readonly PullThroughRule[];
  /** What is here. */
  readonly here: ImageSource;
  readonly names: Pick<ImageNames, 'record'>;
  readonly ingests: Pick<IngestManager, 'active'>;
  readonly upstream: Upstream;
  readonly transfers: Transfers;
  /** Content is about to be looked at that no name may need yet. */
  readonly onUse: () => void;
  /** Told what went wrong, in full; clients are told less. */
  readonly log: (line: string) => void;
}

const STORED: CacheStatus = { kind: 'stored' };
const ELSEWHERE: CacheStatus = { kind: 'elsewhere' };

interface Deadline {
  /** On the clock of `performance.now`. */
  readonly until: number;
}

export class PullThrough implements ImageSource {
  readonly #parts: PullThroughParts;
  readonly #known = new KnownContent();
  readonly #tags: TagChecks;
  readonly #checks = new SharedCalls<Resolved | undefined>({ ttlMs: 0 });
  readonly #manifests = new SharedCalls<boolean>({ ttlMs: 0 });
  readonly #stats = new SharedCalls<Descriptor | undefined>({ ttlMs: 0 });
  #inUse = 0;

  constructor(parts: PullThroughParts) {
    this.#parts = parts;
    this.#tags = new TagChecks(parts);
  }

  /** Nothing is being fetched, and every name that is to come is there. */
  get isIdle(): boolean {
    return this.#inUse === 0 && this.#parts.transfers.count === 0;
  }

  async resolve(repository: string, tag: string, opts: CallOptions): Promise<Resolved | undefined> {
    const origin = this.#originOf(repository);
    const here = await this.#parts.here.resolve(repository, tag, opts);
    if (origin === undefined) return here;
    const name = `${repository}:${tag}`;
    if (here !== undefined && this.#tags.isFresh(name)) return here;
    const check = (each: CallOptions): Promise<Resolved | undefined> =>
      this.#using(() => this.#tags.check({ name, tag, origin, here }, each));
    return this.#telling(origin, opts, () => this.#checks.get(name, check, opts));
  }

  async manifest(repository: string, digest: Digest, opts: CallOptions): Promise<ServedManifest | undefined> {
    const origin = this.#originOf(repository);
    const here = await this.#parts.here.manifest(repository, digest, opts);
    if (origin === undefined) return here;
    if (here !== undefined) return this.#learned(repository, here);
    const fetch = (each: CallOptions): Promise<boolean> =>
      this.#using(() => this.#fetchByDigest(repository, digest, origin, each));
    const fetching = () => this.#manifests.get(`${repository}@${digest}`, fetch, opts);
    if (!(await this.#telling(origin, opts, fetching))) return undefined;
    const found = await this.#parts.here.manifest(repository, digest, opts);
    return found && { ...this.#learned(repository, found), status: STORED };
  }

  async blob(repository: string, digest: Digest, opts: BlobOptions): Promise<ServedBlob | undefined> {
    const origin = this.#originOf(repository);
    const here = await this.#parts.here.blob(repository, digest, opts);
    if (here !== undefined || origin === undefined) return here;
    return this.#telling(origin, opts, () => this.#blobFrom(origin, repository, digest, opts));
  }

  async #blobFrom(
    origin: Origin,
    repository: string,
    digest: Digest,
    opts: BlobOptions,
  ): Promise<ServedBlob | undefined> {
    const { upstream, transfers } = this.#parts;
    if (upstream.lacks({ origin, kind: 'blob', object: digest })) return undefined;
    const until = performance.now() + WITHOUT_MS;
    const known = opts.headOnly ? undefined : this.#known.get(repository, digest);
    const desc = known ?? (await this.#asked(origin, digest, until, opts));
    if (desc === undefined) return undefined;
    const transferOf = (): Transfer => transfers.of(upstream.blobNode(origin, desc));
    if (opts.headOnly) return this.#growing(origin, desc.size, transferOf, { status: ELSEWHERE, until });
    return this.#begin(origin, repository, transferOf(), { ...opts, until });
  }

  tags(repository: string, opts: CallOptions): Promise<readonly string[] | undefined> {
    return this.#parts.here.tags(repository, opts);
  }

  repositories(opts: CallOptions): Promise<readonly string[]> {
    return this.#parts.here.repositories(opts);
  }

  referrers(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]> {
    return this.#parts.here.referrers(repository, subject, opts);
  }

  /** What fails there is logged in full, and told to the client in brief. */
  async #telling<T>(origin: Origin, { signal }: CallOptions, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      if (signal.aborted || !isFromThere(err)) throw err;
      this.#parts.log(inFull(origin, err));
      throw told(origin, err);
    }
  }

  /** Keeps garbage collection away from what is fetched until a name needs it. */
  async #using<T>(work: () => Promise<T>): Promise<T> {
    this.#parts.onUse();
    this.#inUse += 1;
    try {
      return await work();
    } finally {
      this.#inUse -= 1;
    }
  }

  #originOf(repository: string): Origin | undefined {
    return originOf(this.#parts.rules, repository);
  }

  #learned(repository: string, found: ServedManifest): ServedManifest {
    this.#known.learn(repository, found.desc, found.bytes);
    return found;
  }

  /** Whether it is here now. */
  async #fetchByDigest(repository: string, digest: Digest, origin: Origin, opts: CallOptions): Promise<boolean> {
    const { upstream, names } = this.#parts;
    const asking = { ...opts, until: performance.now() + WITHOUT_MS };
    const said = this.#known.get(repository, digest);
    // What a manifest lists as a layer may be a manifest all the same.
    const known = said !== undefined && isRootType(said.mediaType) ? said : undefined;
    const desc = known ?? (await upstream.resolve(origin, digest, { ...asking, willFetch: true }));
    if (desc === undefined) return false;
    try {
      if ((await upstream.fetchManifest(origin, desc, asking)) === undefined) return false;
    } catch (err) {
      this.#learnFrom(err, repository, digest);
      throw err;
    }
    // What no manifest of a name leads to would be garbage.
    if (known === undefined) await names.record(`${repository}@${digest}`, desc, opts);
    return true;
  }

  /** What manifests say of it may be wrong: who comes next has the registry asked. */
  #learnFrom(err: unknown, repository: string, digest: Digest): void {
    if (isCode(err, 'SIZE_MISMATCH', 'DIGEST_MISMATCH')) this.#known.doubt(repository, digest);
  }

  async #begin(
    origin: Origin,
    repository: string,
    transfer: Transfer,
    opts: BlobOptions & Deadline,
  ): Promise<ServedBlob | undefined> {
    const { digest, size } = transfer.desc;
    this.#parts.onUse();
    transfer.done.catch((err: unknown) => this.#learnFrom(err, repository, digest));
    try {
      await transfer.begun(opts.until, opts);
    } catch (err) {
      opts.signal.throwIfAborted();
      if (!isCode(err, 'NOT_FOUND') || err.origin !== 'source') throw err;
      this.#parts.upstream.noteLack({ origin, kind: 'blob', object: digest });
      return undefined;
    }
    const whole = await this.#parts.here.blob(repository, digest, opts);
    if (whole !== undefined) return { ...whole, status: STORED };
    return this.#growing(origin, size, () => transfer, { status: STORED, until: opts.until });
  }

  /** @param size that of the transfer */
  #growing(
    origin: Origin,
    size: number,
    transferOf: () => Transfer,
    { status, until }: Deadline & { readonly status: CacheStatus },
  ): ServedBlob {
    const open: OpenGrowing = ({ isRest, ...opts }) =>
      this.#telling(origin, opts, async () => {
        const transfer = transferOf();
        // A part from the middle would be all that its client sees, and nothing told whether it is right.
        if (!isRest) await transfer.whole(until, opts);
        return transfer.open(opts);
      });
    return { kind: 'growing', size, status, open };
  }

  /**
   * What the registry itself says that it is; and where an earlier transfer has left a part of just that, or another process is fetching it, the
   * type that this goes by, so that it goes on.
   */
  async #asked(origin: Origin, digest: Digest, until: number, opts: BlobOptions): Promise<Descriptor | undefined> {
    const { upstream } = this.#parts;
    const stat = (each: CallOptions) => upstream.statBlob(origin, digest, { ...each, until });
    const desc = await this.#stats.get(`${origin.repository}@${digest}`, stat, opts);
    if (desc === undefined || opts.headOnly) return desc;
    for (const { ref, expected, total } of await this.#parts.ingests.active(opts)) {
      if (expected !== digest || total !== desc.size) continue;
      const mediaType = REF_TYPES.find((each) => refKey({ mediaType: each, digest }) === ref);
      if (mediaType !== undefined) return { ...desc, mediaType };
    }
    return desc;
  }
}

/** One type for each kind of content that the name of an ingest tells. */
const REF_TYPES = [OCI_LAYER, OCI_CONFIG, 'application/octet-stream'];
