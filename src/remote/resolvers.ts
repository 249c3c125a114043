import { GantryError } from '../errors.ts';
import type { Reference } from '../oci/reference.ts';
import type { Fetcher, Pusher, RepositoryLists, ResolveOptions, Resolved, Resolver } from './ports.ts';

export interface ResolverEntry {
  /** Whether it serves a repository, `host[:port]/path`. */
  matches(repository: string): boolean;
  readonly resolver: Resolver;
}

/** Picks the resolver of a repository: the first entry that matches, the latest registered first. */
export class ResolverTable implements Resolver {
  readonly #entries: ResolverEntry[] = [];

  /** Adds a kind of remote; what was registered before is asked after it. */
  register(entry: ResolverEntry): this {
    this.#entries.unshift(entry);
    return this;
  }

  resolve(ref: Reference, opts: ResolveOptions): Promise<Resolved> {
    return this.#pick(ref.repository).resolve(ref, opts);
  }

  fetcher(repository: string): Fetcher {
    return this.#pick(repository).fetcher(repository);
  }

  pusher(repository: string): Pusher {
    return this.#pick(repository).pusher(repository);
  }

  lists(repository: string): RepositoryLists | undefined {
    return this.#pick(repository).lists?.(repository);
  }

  #pick(repository: string): Resolver {
    const entry = this.#entries.find((each) => each.matches(repository));
    if (entry !== undefined) return entry.resolver;
    throw new GantryError('UNSUPPORTED', `nothing is registered for ${repository}`, { origin: 'user' });
  }
}
