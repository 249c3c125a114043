/** What tags mean now. What is here is an answer where there is none, but not where the answer is that a tag is gone or not for us. */
import type { CallOptions } from '../../call.ts';
import type { ImageNames } from '../../content/ports.ts';
import type { Resolved } from '../../server/registry/source.ts';
import { Lapsing } from './lapsing.ts';
import type { Origin } from './rules.ts';
import { briefly, inFull, leavesOld, type Trouble } from './told.ts';
import type { Upstream } from './upstream.ts';

export interface TagChecksParts {
  readonly upstream: Upstream;
  readonly names: Pick<ImageNames, 'record'>;
  readonly log: (line: string) => void;
}

export interface TagAsked {
  /** In full: `docker.io/library/redis:7` */
  readonly name: string;
  readonly tag: string;
  readonly origin: Origin;
  /** What it means here. */
  readonly here: Resolved | undefined;
}

/** How long a client waits in all for what is to come from there: less than its connection may be idle. */
export const WITHOUT_MS = 25_000;
/** The same when something is here. */
const WITH_STALE_MS = 5_000;
/** A tag whose check has failed is not checked again for so long, in milliseconds: what it means now may cost a request each time. */
const FAILED_MS = 10_000;
/** Names; one that falls out is checked again. */
const MAX_CHECKED = 100_000;

export class TagChecks {
  readonly #parts: TagChecksParts;
  /** Names that were checked not long ago. */
  readonly #fresh = new Lapsing<true>(MAX_CHECKED);
  readonly #failed = new Lapsing<Trouble>(MAX_CHECKED);

  constructor(parts: TagChecksParts) {
    this.#parts = parts;
  }

  isFresh(name: string): boolean {
    return this.#fresh.get(name) === true;
  }

  async check(asked: TagAsked, opts: CallOptions): Promise<Resolved | undefined> {
    const { name, origin, here } = asked;
    const { upstream, log } = this.#parts;
    const trouble = here && (upstream.trouble(origin) ?? this.#failed.get(name));
    if (here !== undefined && trouble !== undefined) return stale(origin, here, trouble);
    try {
      const found = await this.#renew(asked, opts);
      if (found !== undefined) this.#fresh.set(name, true, origin.freshMs);
      return found;
    } catch (err) {
      if (here === undefined || opts.signal.aborted || !leavesOld(err)) throw err;
      log(inFull(origin, err));
      const { code, status, origin: whose } = err;
      this.#failed.set(name, { code, status, origin: whose }, FAILED_MS);
      return stale(origin, here, err);
    }
  }

  async #renew({ name, tag, origin, here }: TagAsked, opts: CallOptions): Promise<Resolved | undefined> {
    const { upstream, names } = this.#parts;
    const asking = { ...opts, until: performance.now() + (here === undefined ? WITHOUT_MS : WITH_STALE_MS) };
    // A tag may move between its HEAD and the GET of its manifest, and the registry forget the old one: such is resolved once more.
    for (const willFetch of [here === undefined, true]) {
      const desc = await upstream.resolve(origin, tag, { ...asking, willFetch });
      if (desc === undefined) return undefined;
      if (desc.digest === here?.desc.digest) return { desc: here.desc, status: { kind: 'hit' } };
      if ((await upstream.fetchManifest(origin, desc, asking)) === undefined) continue;
      await names.record(name, desc, opts);
      return { desc, status: { kind: 'stored' } };
    }
    return undefined;
  }
}

const stale = (origin: Origin, { desc }: Resolved, trouble: Trouble): Resolved => ({
  desc,
  status: { kind: 'stale', why: briefly(origin, trouble) },
});
