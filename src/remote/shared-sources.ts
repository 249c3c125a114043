import type { Descriptor } from '../oci/descriptor.ts';
import type { ContentSource, Resolver } from './ports.ts';

/** Lets several readers of some content have it by one reading of its source. */
export interface SourceSharing {
  share(desc: Descriptor, source: ContentSource): ContentSource;
}

/** A resolver that reads the blobs of some repositories once, however many ask for them. */
export const withSharedSources = (
  resolver: Resolver,
  sharing: SourceSharing,
  isShared: (repository: string) => boolean,
): Resolver => ({
  resolve: (ref, opts) => resolver.resolve(ref, opts),
  pusher: (repository) => resolver.pusher(repository),
  lists: (repository) => resolver.lists?.(repository),
  fetcher: (repository) => {
    const fetcher = resolver.fetcher(repository);
    if (!isShared(repository)) return fetcher;
    return {
      fetch: (kind, desc, opts) => {
        if (kind === 'manifest') return fetcher.fetch(kind, desc, opts);
        return sharing.share(desc, { open: (each) => fetcher.fetch(kind, desc, each) }).open(opts);
      },
    };
  },
});
