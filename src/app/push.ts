/** A store as the source of copies. */
import { GantryError } from '../errors.ts';
import type { Resolver } from '../remote/ports.ts';
import type { ContentStore } from '../store/content-store.ts';

/** Reads from a store, by the names that images have there, and writes to where `targets` leads. */
export const fromStore = (store: ContentStore, targets: Resolver): Resolver => ({
  async resolve(ref, opts) {
    const record = await store.names.lookup(ref.name, opts);
    if (record !== undefined) return { name: ref.name, desc: record.desc };
    throw new GantryError('NOT_FOUND', `there is no image ${ref.name} in the store`, {
      origin: 'user',
      hint: '`gantry images` lists those that are there',
    });
  },
  fetcher: () => ({ fetch: (_kind, desc, opts) => store.open(desc, opts) }),
  pusher: (repository) => targets.pusher(repository),
});
