import type { CallOptions } from '../../call.ts';
import type { Resolved, Resolver } from '../../remote/ports.ts';

/**
 * Asks what a reference means once, however many targets it goes to: that is fewer requests, and all of them get the same image. For one
 * pass over a run: the next one has to ask again.
 */
export function sharedResolver(resolver: Resolver, { signal }: CallOptions): Resolver {
  const known = new Map<string, Promise<Resolved>>();
  return {
    resolve: (ref, { willFetch = false }) => {
      const found = known.get(ref.name) ?? resolver.resolve(ref, { signal, willFetch });
      known.set(ref.name, found);
      return found;
    },
    fetcher: (repository) => resolver.fetcher(repository),
    pusher: (repository) => resolver.pusher(repository),
    lists: (repository) => resolver.lists?.(repository),
  };
}
