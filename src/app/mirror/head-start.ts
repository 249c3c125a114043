/**
 * The first images of a run are asked about while the rest is still being listed. A run with nothing to do is mostly waiting: for
 * lists first, then for HEADs. Each question is asked once: the run takes the answers.
 */
import type { CallOptions } from '../../call.ts';
import type { PlannedImage } from '../../mirror/plan/types.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Pusher, Resolved, Resolver } from '../../remote/ports.ts';

/** A longer run has no use for it, and memory is bounded. */
const MAX_IMAGES = 256;

export class HeadStart {
  readonly #resolver: Resolver;
  readonly #opts: CallOptions;
  readonly #lookups = new Map<string, Promise<Digest | undefined>>();
  readonly #resolved = new Map<string, Promise<Resolved>>();
  /** Sources, by their names: of several targets one has asked for all. */
  readonly #asked = new Set<string>();

  constructor(resolver: Resolver, opts: CallOptions) {
    this.#resolver = resolver;
    this.#opts = { signal: opts.signal };
  }

  /** Asks what an image's tag means at the target, and where it means something, at the source. */
  begin(images: readonly PlannedImage[]): void {
    for (const { rule, source, target, tag, isImmutable } of images) {
      // A rule with a rate limit waits for its turn.
      if (this.#lookups.size >= MAX_IMAGES || isImmutable || tag === undefined || rule.rateLimit !== undefined)
        continue;
      const key = `${target}:${tag}`;
      if (this.#lookups.has(key)) continue;
      const lookup = this.#resolver.pusher(target).lookup(tag, this.#opts);
      this.#lookups.set(key, lookup);
      lookup.then(
        (there) => {
          if (there === undefined || this.#asked.has(source.name)) return;
          this.#asked.add(source.name);
          const resolved = this.#resolver.resolve(source, this.#opts);
          resolved.catch(() => undefined); // whoever takes it is told
          this.#resolved.set(source.name, resolved);
        },
        () => undefined,
      );
    }
  }

  /** The same resolver; what was asked is not asked again, once. */
  through(resolver: Resolver): Resolver {
    return {
      resolve: (ref, opts) => take(this.#resolved, ref.name) ?? resolver.resolve(ref, opts),
      fetcher: (repository) => resolver.fetcher(repository),
      pusher: (repository) => this.#asking(repository, resolver.pusher(repository)),
      lists: (repository) => resolver.lists?.(repository),
    };
  }

  #asking(repository: string, pusher: Pusher): Pusher {
    return {
      lookup: (tag, opts) => take(this.#lookups, `${repository}:${tag}`) ?? pusher.lookup(tag, opts),
      has: (kind, desc, opts) => pusher.has(kind, desc, opts),
      mount: (desc, from, opts) => pusher.mount(desc, from, opts),
      push: (desc, source, opts) => pusher.push(desc, source, opts),
      putManifest: (desc, bytes, opts) => pusher.putManifest(desc, bytes, opts),
    };
  }
}

function take<T>(answers: Map<string, T>, key: string): T | undefined {
  const answer = answers.get(key);
  answers.delete(key);
  return answer;
}
