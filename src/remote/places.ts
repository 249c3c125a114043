import type { CallOptions } from '../call.ts';
import type { Digest } from '../oci/digest.ts';
import { registryOf } from '../oci/location.ts';

/** Where a blob is believed to be, seen from one repository. */
export interface Place {
  readonly isHere: boolean;
  /** Another repository of the same registry. */
  readonly elsewhere: string | undefined;
}

/**
 * What is believed about the blobs of registries that are written to. It saves requests and transfers, is shared by all that write
 * there, and may be wrong: whoever finds that out tells it. A repository goes by `host[:port]/path`, a registry by `host[:port]`.
 */
export interface BlobPlaces {
  find(repository: string, digests: readonly Digest[], opts: CallOptions): Promise<readonly Place[]>;
  add(repository: string, digests: readonly Digest[], opts: CallOptions): Promise<void>;
  forget(repository: string, digests: readonly Digest[], opts: CallOptions): Promise<void>;
  /** Whether the repository has refused a blob that its registry has elsewhere, or some others of that registry have; see MAX_REFUSING. */
  refusesMounts(repository: string, opts: CallOptions): Promise<boolean>;
  setRefusesMounts(repository: string, opts: CallOptions): Promise<void>;
}

/** One repository may be closed to others. When so many take no mounts, it is the registry that does not do that. */
export const MAX_REFUSING = 3;

/** Blobs of some ten thousand images; what falls out is asked for again. */
const MAX_BLOBS = 200_000;
/** A base layer may be in hundreds of repositories. */
const MAX_REPOSITORIES = 32;

/** For one process. */
export class LocalPlaces implements BlobPlaces {
  /** By registry and digest; the latest last, in both. */
  readonly #places = new Map<string, string[]>();
  /** Repositories, by registry. */
  readonly #refusing = new Map<string, Set<string>>();

  async find(repository: string, digests: readonly Digest[]): Promise<readonly Place[]> {
    return digests.map((digest) => {
      const known = this.#places.get(placeKey(repository, digest)) ?? [];
      return { isHere: known.includes(repository), elsewhere: known.findLast((each) => each !== repository) };
    });
  }

  async add(repository: string, digests: readonly Digest[]): Promise<void> {
    for (const digest of digests) {
      const known = this.#without(repository, digest);
      this.#places.set(placeKey(repository, digest), [...known.slice(1 - MAX_REPOSITORIES), repository]);
    }
    for (const key of this.#places.keys()) {
      if (this.#places.size <= MAX_BLOBS) break;
      this.#places.delete(key); // the oldest goes first: a Map keeps the order of insertion
    }
  }

  async forget(repository: string, digests: readonly Digest[]): Promise<void> {
    for (const digest of digests) {
      const known = this.#without(repository, digest);
      if (known.length > 0) this.#places.set(placeKey(repository, digest), known);
    }
  }

  async refusesMounts(repository: string): Promise<boolean> {
    const refusing = this.#refusing.get(registryOf(repository)) ?? new Set();
    return refusing.has(repository) || refusing.size >= MAX_REFUSING;
  }

  async setRefusesMounts(repository: string): Promise<void> {
    const registry = registryOf(repository);
    this.#refusing.set(registry, (this.#refusing.get(registry) ?? new Set()).add(repository));
  }

  #without(repository: string, digest: Digest): string[] {
    const key = placeKey(repository, digest);
    const known = this.#places.get(key) ?? [];
    this.#places.delete(key);
    return known.filter((each) => each !== repository);
  }
}

/** Names a blob of a registry, by any of its repositories. */
export const placeKey = (repository: string, digest: Digest): string => `${registryOf(repository)} ${digest}`;
