/** What a registry lists as attached to a manifest, and which tags look as if they were. */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { digestTagStem } from '../oci/attached.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { parseRepository, withObject } from '../oci/reference.ts';
import type { RepositoryLists } from '../remote/ports.ts';
import { nextQuery } from './pages.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';
import { findReference, type ResolveParts } from './resolve.ts';
import { SharedCalls } from './shared-calls.ts';
import { listTags } from './tags.ts';

const MAX_REFERRERS = 1000;
const MAX_PAGES = 100;
/** A registry may learn it, and a worker lives long. */
const ABSENT_MS = 3600_000;
/** After so many repositories without a list of referrers, and none with one, the registry is taken to have none. */
const SEVERAL = 3;
/** As long as most runs; a tag that comes meanwhile is found by the next one. */
const TAGS_MS = 300_000;

/** By their stems. */
type DigestTags = Map<string, string[]>;

function gather(tags: readonly string[], found: DigestTags): void {
  for (const tag of tags) {
    const stem = digestTagStem(tag);
    if (stem === undefined) continue;
    const known = found.get(stem);
    if (known === undefined) found.set(stem, [tag]);
    else known.push(tag);
  }
}

/** What was learned about the lists of referrers of a registry. */
class ListHabits {
  /** Repositories for which it has said that there is no such list, and until when that is believed; the oldest first. */
  readonly #absentUntil = new Map<string, number>();
  #hasAny = false;

  /** Whether a repository need not be asked for. */
  isAbsent(repository: string): boolean {
    for (const [name, until] of this.#absentUntil) {
      if (performance.now() < until) break;
      this.#absentUntil.delete(name);
    }
    return this.#absentUntil.has(repository) || (!this.#hasAny && this.#absentUntil.size >= SEVERAL);
  }

  noteList(): void {
    this.#hasAny = true;
  }

  noteAbsence(repository: string): void {
    this.#absentUntil.delete(repository);
    this.#absentUntil.set(repository, performance.now() + ABSENT_MS);
  }
}

/** The lists of all repositories, and what was learned about their registries. */
export class AttachedLists {
  readonly #parts: ResolveParts;
  readonly #tags = new SharedCalls<DigestTags>({ ttlMs: TAGS_MS });
  /** By registry. */
  readonly #habits = new Map<string, ListHabits>();

  constructor(parts: ResolveParts) {
    this.#parts = parts;
  }

  of(repository: string): RepositoryLists {
    const place = parseRepository(repository);
    return {
      find: (tag, opts) => findReference(this.#parts, withObject(place, tag), opts),
      digestTags: (opts) => this.#tags.get(repository, (shared) => this.#digestTags(repository, shared), opts),
      referrers: (digest, opts) => this.#referrers(repository, digest, opts),
    };
  }

  /** All tags of a repository, page by page. Those that are made of digests are kept for who asks next. */
  async *tags(repository: string, opts: CallOptions): AsyncGenerator<string[]> {
    const found: DigestTags = new Map();
    for await (const page of listTags(this.#parts.client, repository, opts)) {
      gather(page, found);
      yield page;
    }
    this.#tags.know(repository, found);
  }

  async #digestTags(repository: string, opts: CallOptions): Promise<DigestTags> {
    const found: DigestTags = new Map();
    for await (const page of listTags(this.#parts.client, repository, opts)) gather(page, found);
    return found;
  }

  async #referrers(repository: string, digest: Digest, opts: CallOptions): Promise<Descriptor[] | undefined> {
    const { registry } = parseRepository(repository);
    const habits = this.#habits.get(registry) ?? new ListHabits();
    this.#habits.set(registry, habits);
    if (habits.isAbsent(repository)) return undefined;
    try {
      const listed = await listReferrers(this.#parts.client, repository, digest, opts);
      habits.noteList();
      return listed;
    } catch (err) {
      if (!isAbsent(err)) throw err;
      if (!UNKNOWN_THERE.test(err.message)) habits.noteAbsence(repository);
      return undefined;
    }
  }
}

/**
 * A registry that lists referrers does so for any digest, with an empty list where there are none: then 404 says that it does not. Some
 * say it otherwise, and some from where they have redirected to, which counts as trouble there.
 */
const isAbsent = (err: unknown): err is GantryError => err instanceof GantryError && ABSENT.has(err.status ?? 0);

const ABSENT: ReadonlySet<number> = new Set([400, 404, 405, 406, 501]);

/** As answerError tells what a registry has said: it has understood the question, and may know the repository, or the digest, later. */
const UNKNOWN_THERE = /: (?:NAME|MANIFEST)_UNKNOWN\b/;

/**
 * The manifests whose subject is `digest` (distribution-spec, "Listing Referrers"). Of a Link only the query is used: one to another host
 * would take our token there.
 */
async function listReferrers(
  client: RegistryRequests,
  repository: string,
  digest: Digest,
  opts: CallOptions,
): Promise<Descriptor[]> {
  const what = `the referrers of ${digest} in ${repository}`;
  const seen = new Set<string>();
  const found: Descriptor[] = [];
  for (let query: string | undefined = ''; query !== undefined;) {
    if (seen.has(query)) throw malformed(`${what}: the pages go round in a circle`);
    seen.add(query);
    const { response, bytes } = await client.read(
      requestFor(repository, digest, query, what),
      MAX_MANIFEST_BYTES,
      opts,
    );
    const index = parseManifest(bytes, { mediaType: response.header('content-type') ?? '' }, what);
    if (index.kind !== 'index') throw malformed(`${what}: the answer is no index`);
    found.push(...index.manifests);
    if (found.length > MAX_REFERRERS || seen.size >= MAX_PAGES) throw tooMany(what, digest);
    query = nextQuery(response.header('link'));
  }
  return found;
}

function requestFor(repository: string, digest: Digest, query: string, what: string): RegistryRequest {
  const { registry, path } = parseRepository(repository);
  const object = `referrers/${digest}${query === '' ? '' : `?${query}`}`;
  const place = { registry, path, object, capability: 'resolve' } as const;
  return { method: 'GET', ...place, headers: { accept: OCI_INDEX }, expect: [200], what, digest };
}

const malformed = (message: string): GantryError => new GantryError('MALFORMED', message, { origin: 'source' });

const tooMany = (what: string, digest: Digest): GantryError =>
  new GantryError('TOO_LARGE', `${what}: more than ${MAX_REFERRERS} entries, or ${MAX_PAGES} pages`, {
    origin: 'source',
    digest,
    hint: 'copy the image without its referrers',
  });
