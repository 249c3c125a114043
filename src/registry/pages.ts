/** Lists that a registry sends page by page. */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { parseStrictJson } from '../oci/json.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';

const PAGE_SIZE = 1000;
const MAX_PAGE_BYTES = 16 << 20;
/** Ten million entries. */
const MAX_PAGES = 10_000;

export interface PagedList {
  readonly registry: string;
  /** Empty for the registry as a whole. */
  readonly path: string;
  /** `tags/list` */
  readonly object: string;
  /** For messages, as a noun phrase. */
  readonly what: string;
  /** The field of the answer that has the entries. */
  readonly field: string;
  /** Whether an entry is one. */
  readonly accepts: (entry: string) => boolean;
  /** For messages: `tag`. */
  readonly noun: string;
}

/**
 * Follows Link (RFC 8288; distribution-spec, "Listing Tags"). Only its query is used: a Link to another host would take our token there,
 * and one to itself would never end.
 * @throws GantryError MALFORMED, TOO_LARGE, NOT_FOUND, ...
 */
export async function* listPages(
  client: RegistryRequests,
  list: PagedList,
  opts: ListOptions,
): AsyncGenerator<string[]> {
  const { isOwn = false } = opts;
  const seen = new Set<string>();
  let query = `n=${PAGE_SIZE}`;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    if (seen.has(query)) throw malformed(`${list.what}: the pages go round in a circle`);
    seen.add(query);
    const { response, bytes } = await client.read({ ...requestFor(list, query), isOwn }, MAX_PAGE_BYTES, opts);
    yield entriesOf(bytes, list);
    const link = response.header('link');
    const next = nextQuery(link);
    // A list that is cut short unnoticed would be taken for all that there is.
    if (next === undefined && NEXT.test(link ?? ''))
      throw malformed(`${list.what}: the next page cannot be found in its Link`);
    if (next === undefined) return;
    query = next;
  }
  throw new GantryError('TOO_LARGE', `${list.what} do not end after ${MAX_PAGES} pages`, { origin: 'source' });
}

const requestFor = ({ registry, path, object, what }: PagedList, query: string): RegistryRequest => ({
  method: 'GET',
  registry,
  path,
  object: `${object}?${query}`,
  capability: 'resolve',
  headers: {},
  expect: [200],
  what,
});

function entriesOf(bytes: Uint8Array, { what, field, accepts, noun }: PagedList): string[] {
  const document = parseStrictJson(bytes, what);
  const fields = typeof document === 'object' && document !== null ? new Map(Object.entries(document)) : new Map();
  // An empty list is written as null by Go: a repository whose last tag was deleted has `"tags": null`.
  const entries: unknown = fields.has(field) ? (fields.get(field) ?? []) : undefined;
  if (!Array.isArray(entries)) throw malformed(`${what}: no list of ${field} in the answer`);
  return entries.map((entry: unknown) => {
    if (typeof entry === 'string' && accepts(entry)) return entry;
    throw malformed(`${what}: ${JSON.stringify(entry)?.slice(0, 160)} is not a ${noun}`);
  });
}

export interface ListOptions extends CallOptions {
  /** Only the registry itself is asked, no mirror of it. */
  readonly isOwn?: boolean;
}

const NEXT = /\brel\s*=\s*["']?[^"';,]*\bnext\b/i;

/** The query of `<...>; rel="next"` (RFC 8288). */
export function nextQuery(link: string | undefined): string | undefined {
  const [, target] = /<([^>]{1,4096})>\s*;[^,]*\brel="?next"?/i.exec(link ?? '') ?? [];
  if (target === undefined) return undefined;
  const at = target.indexOf('?');
  return at < 0 ? undefined : target.slice(at + 1);
}

const malformed = (message: string): GantryError => new GantryError('MALFORMED', message, { origin: 'source' });
