/**
 * A store that fetches what it lacks, by rules. Content is kept as a pull keeps it; what a tag means is asked again when the answer has
 * become old, and what is here is served when there is no answer.
 */
import type { CallOptions } from '../../call.ts';
import type { ImageNames, IngestManager } from '../../content/ports.ts';
import { type GantryError, isCode } from '../../errors.ts';
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
import { isAway, type Upstream } from './upstream.ts';

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
}

const HIT: CacheStatus = { kind: 'hit' };
const STORED: CacheStatus = { kind: 'stored' };
const ELSEWHERE: CacheStatus = { kind: 'elsewhere' };
/** How long a client waits for an answer from there: less when something stale is here, and always less than its connection may be idle. */
const WITH_STALE_MS = 5_000;
const WITHOUT_MS = 25_000;
/** Names whose last check is remembered; one that falls out is checked again. */
const MAX_CHECKED = 100_000;

export class PullThrough implements ImageSource {
  readonly #parts: PullThroughParts;
  readonly #known = new KnownContent();
  /** When a name was last checked, on the clock of `performance.now`. */
  readonly #checkedAt = new Map<string, number>();
  readonly #checks = new SharedCalls<Resolved | undefined>({ ttlMs: 0 });
  readonly #manifests = new SharedCalls<boolean>({ ttlMs: 0 });
  #inUse = 0;

  constructor(parts: PullThroughParts) {
    this.#parts = parts;
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
    if (here !== undefined && this.#isFresh(name, origin)) return here;
    const check = (each: CallOptions): Promise<Resolved | undefined> =>
      this.#using(() => this.#check(name, tag, origin, here, each));
    return this.#checks.get(name, check, opts);
  }

  async manifest(repository: string, digest: Digest, opts: CallOptions): Promise<ServedManifest | undefined> {
    const origin = this.#originOf(repository);
    const here = await this.#parts.here.manifest(repository, digest, opts);
    if (origin === undefined) return here;
    if (here !== undefined) return this.#learned(repository, here);
    const fetch = (each: CallOptions): Promise<boolean> =>
      this.#using(() => this.#fetchByDigest(repository, digest, origin, each));
    if (!(await this.#manifests.get(`${repository}@${digest}`, fetch, opts))) return undefined;
    const found = await this.#parts.here.manifest(repository, digest, opts);
    return found && { ...this.#learned(repository, found), status: STORED };
  }

  async blob(repository: string, digest: Digest, opts: BlobOptions): Promise<ServedBlob | undefined> {
    const origin = this.#originOf(repository);
    const here = await this.#parts.here.blob(repository, digest, opts);
    if (here !== undefined || origin === undefined) return here;
    const { upstream, transfers } = this.#parts;
    const ask = (): Promise<Descriptor | undefined> =>
      upstream.statBlob(origin, digest, { ...opts, withinMs: WITHOUT_MS });
    const known = this.#known.get(repository, digest) ?? (await this.#unfinished(digest, opts));
    const desc = opts.headOnly ? await ask() : (known ?? (await ask()));
    if (desc === undefined) return undefined;
    const transferOf = (): Transfer => transfers.of(upstream.blobNode(origin, desc));
    return opts.headOnly ? growing(desc, transferOf, ELSEWHERE) : this.#begin(repository, desc, transferOf, opts);
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

  #isFresh(name: string, { freshMs }: Origin): boolean {
    const at = this.#checkedAt.get(name);
    return at !== undefined && performance.now() - at < freshMs;
  }

  #checked(name: string): void {
    this.#checkedAt.delete(name);
    this.#checkedAt.set(name, performance.now());
    const [oldest] = this.#checkedAt.keys();
    if (this.#checkedAt.size > MAX_CHECKED && oldest !== undefined) this.#checkedAt.delete(oldest);
  }

  #learned(repository: string, found: ServedManifest): ServedManifest {
    this.#known.learn(repository, found.desc, found.bytes);
    return found;
  }

  /** Asks what a tag means now. What is here is an answer where there is none, but not where the answer is that it is gone or not for us. */
  async #check(
    name: string,
    tag: string,
    origin: Origin,
    here: Resolved | undefined,
    opts: CallOptions,
  ): Promise<Resolved | undefined> {
    const trouble = here && this.#parts.upstream.trouble(origin);
    if (here !== undefined && trouble !== undefined) return stale(here, trouble);
    try {
      const found = await this.#renew(name, tag, origin, here, opts);
      if (found !== undefined) this.#checked(name);
      return found;
    } catch (err) {
      if (here === undefined || opts.signal.aborted || !isAway(err)) throw err;
      return stale(here, err);
    }
  }

  async #renew(
    name: string,
    tag: string,
    origin: Origin,
    here: Resolved | undefined,
    opts: CallOptions,
  ): Promise<Resolved | undefined> {
    const { upstream, names } = this.#parts;
    const asking = { ...opts, withinMs: here === undefined ? WITHOUT_MS : WITH_STALE_MS };
    // A tag may move between its HEAD and the GET of its manifest, and the registry forget the old one: such is resolved once more.
    for (const willFetch of [here === undefined, true]) {
      const desc = await upstream.resolve(origin, tag, { ...asking, willFetch });
      if (desc === undefined) return undefined;
      if (desc.digest === here?.desc.digest) return { desc: here.desc, status: HIT };
      if ((await upstream.fetchManifest(origin, desc, asking)) === undefined) continue;
      await names.record(name, desc, opts);
      return { desc, status: STORED };
    }
    return undefined;
  }

  /** Whether it is here now. */
  async #fetchByDigest(repository: string, digest: Digest, origin: Origin, opts: CallOptions): Promise<boolean> {
    const { upstream, names } = this.#parts;
    const asking = { ...opts, withinMs: WITHOUT_MS };
    const known = this.#known.get(repository, digest);
    if (known !== undefined && !isRootType(known.mediaType)) return false; // a layer or a config
    const desc = known ?? (await upstream.resolve(origin, digest, { ...asking, willFetch: true }));
    if (desc === undefined || (await upstream.fetchManifest(origin, desc, asking)) === undefined) return false;
    // What no manifest of a name leads to would be garbage.
    if (known === undefined) await names.record(`${repository}@${digest}`, desc, opts);
    return true;
  }

  async #begin(
    repository: string,
    desc: Descriptor,
    transferOf: () => Transfer,
    opts: BlobOptions,
  ): Promise<ServedBlob | undefined> {
    this.#parts.onUse();
    const transfer = transferOf();
    try {
      await transfer.begun(WITHOUT_MS, opts);
    } catch (err) {
      opts.signal.throwIfAborted();
      if (isCode(err, 'NOT_FOUND') && err.origin === 'source') return undefined;
      throw err;
    }
    const whole = await this.#parts.here.blob(repository, desc.digest, opts);
    return whole === undefined ? growing(desc, () => transfer, STORED) : { ...whole, status: STORED };
  }

  /** What an earlier transfer has left, or another process is fetching: that is what goes on. */
  async #unfinished(digest: Digest, opts: CallOptions): Promise<Descriptor | undefined> {
    for (const { ref, expected, total: size } of await this.#parts.ingests.active(opts)) {
      if (expected !== digest || size === undefined) continue;
      const mediaType = REF_TYPES.find((each) => refKey({ mediaType: each, digest }) === ref);
      if (mediaType !== undefined) return { mediaType, digest, size };
    }
    return undefined;
  }
}

/** One type for each kind of content that the name of an ingest tells. */
const REF_TYPES = [OCI_LAYER, OCI_CONFIG, 'application/octet-stream'];

const stale = ({ desc }: Resolved, { message }: GantryError): Resolved => ({
  desc,
  status: { kind: 'stale', why: message.slice(0, 200) },
});

function growing({ size }: Descriptor, transferOf: () => Transfer, status: CacheStatus): ServedBlob {
  const open: OpenGrowing = async ({ isRest, ...opts }) => {
    const transfer = transferOf();
    // A part from the middle would be all that its client sees, and nothing told whether it is right.
    if (!isRest) await transfer.whole(WITHOUT_MS, opts);
    return transfer.open(opts);
  };
  return { kind: 'growing', size, status, open };
}
