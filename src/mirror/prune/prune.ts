/** Prunes target repositories: looks, remembers, and deletes what left its source long enough ago. */
import type { CallOptions } from '../../call.ts';
import { asGantryError, type GantryError, messageOf } from '../../errors.ts';
import { goneTags, isPruned, tooMany } from './gone.ts';
import { dueInMs, isSame, type Present, remembered } from './grace.ts';
import { type DigestTag, digestTagsOf } from './digest-tags.ts';
import type {
  Gone,
  PruneClaim,
  PrunedState,
  PrunedTag,
  PruneMemory,
  PrunePorts,
  PruneResult,
  PruneTarget,
  SourceTags,
} from './types.ts';

export interface PruneParts {
  readonly ports: PrunePorts;
  /** Undefined: nothing is remembered, so nothing with days of grace is ever deleted. */
  readonly memory: PruneMemory | undefined;
  /** Only tells: deletes nothing and remembers nothing. */
  readonly isDryRun: boolean;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface PruneCallOptions extends CallOptions {
  readonly onResult?: (result: PruneResult) => void;
}

/** Repositories at a time, and requests at a time for each of them. */
const REPOSITORIES = 4;
const LOOKUPS = 8;

/** What is refused or fails for one repository is its result, and stops no other. Repositories that no rule prunes are left out. */
export async function prune(
  parts: PruneParts,
  targets: readonly PruneTarget[],
  opts: PruneCallOptions,
): Promise<readonly PruneResult[]> {
  const wanted = targets.filter(({ claims }) => isPruned(claims));
  return inParallel(REPOSITORIES, wanted, async (target) => {
    opts.signal.throwIfAborted();
    const result = await pruneOne(parts, target, opts);
    opts.onResult?.(result);
    return result;
  });
}

async function pruneOne(parts: PruneParts, target: PruneTarget, opts: CallOptions): Promise<PruneResult> {
  const { repository, claims } = target;
  const rules = claims.filter(({ rule }) => rule.prune.mode !== 'off').map(({ rule }) => rule.id);
  const result = (more: Partial<PruneResult>): PruneResult => ({
    repository,
    rules,
    tags: [],
    refused: undefined,
    error: undefined,
    ...more,
  });
  try {
    return result(await new Repository(parts, target).prune(opts));
  } catch (err) {
    opts.signal.throwIfAborted();
    return result({ error: asGantryError(err) });
  }
}

/** A tag that left the source, and what follows from when. */
interface Judged extends Present {
  readonly since: number;
  readonly dueInMs: number | undefined;
}

interface Deleting {
  readonly targetTags: readonly string[];
  readonly digestTags: readonly string[];
  readonly judged: readonly Judged[];
  readonly due: readonly Judged[];
  /** What is remembered. */
  readonly after: ReadonlyMap<string, Gone>;
}

class Repository {
  readonly #parts: PruneParts;
  readonly #name: string;
  readonly #claims: readonly PruneClaim[];
  readonly #keepsDigestTags: boolean;
  readonly #nowMs: number;

  constructor(parts: PruneParts, { repository, claims, keepsDigestTags = false }: PruneTarget) {
    this.#keepsDigestTags = keepsDigestTags;
    this.#parts = parts;
    this.#name = repository;
    this.#claims = claims;
    this.#nowMs = (parts.now ?? Date.now)();
  }

  async prune(opts: CallOptions): Promise<Partial<PruneResult>> {
    const { memory, isDryRun, ports } = this.#parts;
    const targetTags = await ports.tags(this.#name, opts);
    const gone = goneTags(targetTags, this.#claims);
    if (gone.state === 'refused') return { refused: gone.why };
    const found = await inParallel(LOOKUPS, gone.tags, async (tag): Promise<Present[]> => {
      const digest = await ports.lookup(this.#name, tag.tag, opts);
      return digest === undefined ? [] : [{ ...tag, digest }];
    });
    const present = found.flat();
    const before = (await memory?.read(this.#name, opts)) ?? new Map<string, Gone>();
    const after = remembered(present, before, this.#nowMs);
    if (!isDryRun && !isSame(before, after)) await memory?.write(this.#name, after, opts);

    const judged = present.map((tag): Judged => {
      const since = after.get(tag.tag)?.since ?? this.#nowMs;
      return { ...tag, since, dueInMs: dueInMs(tag, since, { ms: this.#nowMs, remembers: memory !== undefined }) };
    });
    const due = judged.filter((tag) => tag.dueInMs === 0);
    const tooManyWhy = tooMany(new Set(due.map(({ tag }) => tag)), targetTags, this.#claims);
    if (tooManyWhy !== undefined || due.length === 0) return this.#looked(judged, tooManyWhy);
    // The lists are from before the copying, which may have taken hours.
    const fresh = goneTags(targetTags, await this.#askedAgain(opts));
    if (fresh.state === 'refused') return this.#looked(judged, fresh.why);
    const stillGone = new Set(fresh.tags.map(({ tag }) => tag));
    const left = judged.filter(({ tag }) => stillGone.has(tag));
    if (isDryRun) return this.#looked(left, undefined);
    const digestTags = this.#keepsDigestTags ? [] : fresh.digestTags;
    const ready = due.filter(({ tag }) => stillGone.has(tag));
    return this.#deleteAll({ targetTags, digestTags, judged: left, due: ready, after }, opts);
  }

  #looked(judged: readonly Judged[], refused: string | undefined): Partial<PruneResult> {
    return { refused, tags: judged.map((tag) => this.#told(tag, stateOf(tag, refused))) };
  }

  /** The claims with what their sources say now, each asked once. What was listed before counts as there, too. */
  async #askedAgain(opts: CallOptions): Promise<PruneClaim[]> {
    const sources = new Set(this.#claims.flatMap(({ listed, source }) => ('unknown' in listed ? [] : source)));
    const answers = await inParallel(
      1,
      [...sources],
      async (source) => [source, await this.#listed(source, opts)] as const,
    );
    const now = new Map(answers);
    return this.#claims.map((claim) => ({ ...claim, listed: together(claim.listed, now.get(claim.source)) }));
  }

  async #listed(source: string, opts: CallOptions): Promise<SourceTags> {
    try {
      return { tags: await this.#parts.ports.sourceTags(source, opts) };
    } catch (err) {
      opts.signal.throwIfAborted();
      return { unknown: messageOf(err) };
    }
  }

  async #deleteAll(
    { targetTags, digestTags, judged, due, after }: Deleting,
    opts: CallOptions,
  ): Promise<Partial<PruneResult>> {
    // Asked before: what a tag led to is not to be found out when it is gone.
    const led = digestTags.length === 0 ? [] : await this.#contents(due, opts);
    const deleted = await this.#deleteTags(due, opts);
    const left = new Map([...after].filter(([tag]) => deleted.get(tag)?.state !== 'deleted'));
    if (left.size !== after.size) await this.#parts.memory?.write(this.#name, left, opts);
    const tags = judged.map((tag) => deleted.get(tag.tag) ?? this.#told(tag, stateOf(tag, undefined)));
    const names = new Set([...deleted.values()].flatMap(({ tag, state }) => (state === 'deleted' ? [tag] : [])));
    const below = new Set(led.filter(({ tag }) => names.has(tag)).flatMap(({ digests }) => digests));
    const others = targetTags.filter((tag) => !names.has(tag) && !digestTags.includes(tag));
    try {
      const attached = await this.#deleteDigestTags(digestTagsOf(below, digestTags), others, opts);
      return { tags: [...tags, ...attached] };
    } catch (err) {
      opts.signal.throwIfAborted();
      return { tags, error: asGantryError(err) };
    }
  }

  #contents(tags: readonly { readonly tag: string }[], opts: CallOptions) {
    return inParallel(LOOKUPS, tags, async ({ tag }) => ({
      tag,
      digests: await this.#parts.ports.contents(this.#name, tag, opts),
    }));
  }

  /** One after the other: what a registry does not offer is found out once. */
  async #deleteTags(due: readonly Judged[], opts: CallOptions): Promise<ReadonlyMap<string, PrunedTag>> {
    const told = new Map<string, PrunedTag>();
    for (const tag of due) told.set(tag.tag, await this.#delete(tag, opts));
    return told;
  }

  async #delete(tag: Judged, opts: CallOptions): Promise<PrunedTag> {
    const { ports } = this.#parts;
    try {
      // Somebody may have written it since it was listed.
      const now = await ports.lookup(this.#name, tag.tag, opts);
      if (now !== undefined && now !== tag.digest) return this.#told(tag, 'changed');
      const removal = await ports.remove(this.#name, tag.tag, opts);
      return this.#told(tag, removal.state === 'unsupported' ? 'unsupported' : 'deleted');
    } catch (err) {
      opts.signal.throwIfAborted();
      return this.#told(tag, 'failed', asGantryError(err));
    }
  }

  /** Signatures and the like of what was deleted, where no other tag leads to what they belong to. */
  async #deleteDigestTags(
    named: readonly DigestTag[],
    others: readonly string[],
    opts: CallOptions,
  ): Promise<PrunedTag[]> {
    if (named.length === 0) return [];
    const kept = await this.#contents(
      others.map((tag) => ({ tag })),
      opts,
    );
    const needed = new Set(kept.flatMap(({ digests }) => digests));
    const told: PrunedTag[] = [];
    for (const { tag } of named.filter(({ of }) => !needed.has(of))) {
      const digest = await this.#parts.ports.lookup(this.#name, tag, opts);
      if (digest === undefined) continue;
      told.push(await this.#delete({ tag, digest, mayDelete: true, graceMs: 0, since: this.#nowMs, dueInMs: 0 }, opts));
    }
    return told;
  }

  #told(tag: Judged, state: PrunedState, error?: GantryError): PrunedTag {
    const goneMs = Math.max(0, this.#nowMs - tag.since);
    return { tag: tag.tag, digest: tag.digest, state, goneMs, dueInMs: tag.dueInMs, error };
  }
}

/** An empty list stays empty, which says that nothing is known. */
function together(before: SourceTags, now: SourceTags | undefined): SourceTags {
  if ('unknown' in before || now === undefined) return before;
  if ('unknown' in now || now.tags.length === 0) return now;
  return { tags: [...new Set([...before.tags, ...now.tags])] };
}

function stateOf({ dueInMs: due }: Judged, refused: string | undefined): PrunedState {
  if (due === undefined) return 'reported';
  return due > 0 ? 'waiting' : refused === undefined ? 'due' : 'reported';
}

/** In the order of the items. The first failure ends it; what was started is waited for. */
async function inParallel<T, R>(width: number, items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Map<number, R>();
  const next = items.entries();
  const lane = async (): Promise<void> => {
    for (const [at, item] of next) results.set(at, await work(item));
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, lane));
  for (const each of lanes) if (each.status === 'rejected') throw each.reason;
  return items.flatMap((_item, at) => {
    const result = results.get(at);
    return result === undefined ? [] : [result];
  });
}
