/** What is about what: the manifests of a repository that have a `subject`, by it. All manifests that a name leads to are read for that. */
import { setImmediate } from 'node:timers/promises';
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { ManifestFiles } from './manifest-files.ts';
import type { Names, NameTable } from './name-table.ts';
import { type Facts, NOTHING, SubjectFacts } from './subject-facts.ts';

type Subjects = ReadonlyMap<string, ReadonlyMap<Digest, readonly Descriptor[]>>;

/** One at a time, for all who wait for it. */
interface Build {
  readonly names: Names;
  /** On the clock of `performance.now`. */
  readonly begunAt: number;
  readonly done: Promise<Subjects>;
  readonly stop: AbortController;
  waiting: number;
}

/** Manifests that are looked at: a bound on memory, some 200 bytes each. */
const MAX_MANIFESTS = 500_000;
/** Manifests between two chances for other requests. */
const TURN = 200;
/** What a name leads to and is not here (platforms that were not pulled, most often) is looked for again after this time. Milliseconds. */
const LOOK_AGAIN_MS = 60_000;
/** There may be many of them: at most this part of the time goes there. */
const SHARE = 1 / 10;
/** A client is answered before it gives up by itself. Milliseconds. */
const WAIT_MS = 25_000;

export class SubjectIndex {
  readonly #names: NameTable;
  readonly #facts: SubjectFacts;
  readonly #waitMs: number;
  #built: { readonly names: Names; readonly subjects: Subjects } | undefined;
  #running: Build | undefined;
  /** When to look for what was not here, on the clock of `performance.now`; the look may take several builds, of which the first were stopped. */
  #lookAgainAt = 0;
  #isLooking = false;
  #spentMs = 0;

  constructor(names: NameTable, manifests: ManifestFiles, { waitMs = WAIT_MS }: { readonly waitMs?: number } = {}) {
    this.#names = names;
    // Twice: those of before, which are still known, and those of now.
    this.#facts = new SubjectFacts(manifests, 2 * MAX_MANIFESTS);
    this.#waitMs = waitMs;
  }

  /** @throws GantryError TIMEOUT when it takes too long; what was read by then is remembered, so that it goes on with the next request */
  async referrers(repository: string, subject: Digest, { signal }: CallOptions): Promise<readonly Descriptor[]> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), this.#waitMs);
    try {
      const subjects = await this.#current(AbortSignal.any([signal, late.signal]));
      return subjects.get(repository)?.get(subject) ?? [];
    } catch (err) {
      if (!late.signal.aborted || signal.aborted) throw err;
      const message = 'reading the manifests of all names takes long; it goes on when it is asked for again';
      throw new GantryError('TIMEOUT', message, { origin: 'store', retryAfterMs: 1000 });
    } finally {
      clearTimeout(timer);
    }
  }

  /** As it was when it was asked for, or later. So whoever comes during a build may wait for one more, and never for a third. */
  async #current(signal: AbortSignal): Promise<Subjects> {
    const askedAt = performance.now();
    for (;;) {
      const names = await orGone(this.#names.read(), signal);
      const built = this.#built;
      if (built?.names === names && performance.now() < this.#lookAgainAt) return built.subjects;
      const build = (this.#running ??= this.#begin(names));
      const subjects = await this.#join(build, signal);
      if (build.names === names || build.begunAt >= askedAt) return subjects;
    }
  }

  /** Waits for it as long as `signal` lets it. A build that nobody waits for any more ends. */
  async #join(build: Build, signal: AbortSignal): Promise<Subjects> {
    build.waiting += 1;
    try {
      return await orGone(build.done, signal);
    } finally {
      build.waiting -= 1;
      if (build.waiting === 0) this.#end(build);
    }
  }

  #begin(names: Names): Build {
    if (!this.#isLooking && performance.now() >= this.#lookAgainAt) {
      this.#facts.forgetAbsent();
      this.#isLooking = true;
      this.#spentMs = 0;
    }
    const stop = new AbortController();
    const done = this.#build(names, { signal: stop.signal });
    done.catch(() => {}); // whoever waits for it still gets it
    return { names, begunAt: performance.now(), done, stop, waiting: 0 };
  }

  #end(build: Build): void {
    build.stop.abort();
    if (this.#running === build) this.#running = undefined;
  }

  async #build(names: Names, opts: CallOptions): Promise<Subjects> {
    const began = performance.now();
    const seen = new Set<Digest>();
    const subjects = new Map<string, Map<Digest, Descriptor[]>>();
    try {
      for (const [repository, { roots }] of names.byRepository) {
        const found = await this.#below(roots, seen, opts);
        if (found.size > 0) subjects.set(repository, found);
      }
    } finally {
      this.#spentMs += performance.now() - began;
    }
    this.#facts.keepOnly(seen);
    if (this.#isLooking) {
      this.#isLooking = false;
      this.#lookAgainAt = performance.now() + Math.max(LOOK_AGAIN_MS, this.#spentMs / SHARE);
    }
    this.#built = { names, subjects };
    return subjects;
  }

  /** @param seen manifests of all repositories so far; grows */
  async #below(roots: readonly Digest[], seen: Set<Digest>, opts: CallOptions): Promise<Map<Digest, Descriptor[]>> {
    const found = new Map<Digest, Descriptor[]>();
    const mine = new Set(roots);
    // A set goes on to what is added to it meanwhile.
    for (const digest of mine) {
      const { entries, subject, referrer } = await this.#look(digest, seen, opts);
      for (const entry of entries) mine.add(entry);
      if (subject === undefined || referrer === undefined) continue;
      const of = found.get(subject);
      if (of === undefined) found.set(subject, [referrer]);
      else of.push(referrer);
    }
    for (const list of found.values()) list.sort((a, b) => (a.digest < b.digest ? -1 : 1));
    return found;
  }

  async #look(digest: Digest, seen: Set<Digest>, opts: CallOptions): Promise<Facts> {
    if (!seen.has(digest)) {
      if (seen.size >= MAX_MANIFESTS) return NOTHING;
      seen.add(digest);
      if (seen.size % TURN === 0) await setImmediate();
    }
    opts.signal.throwIfAborted();
    return this.#facts.of(digest, opts);
  }
}

/** The work goes on without whoever waits for it. */
async function orGone<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: gone, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([work, gone]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
