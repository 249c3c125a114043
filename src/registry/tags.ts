import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { parseStrictJson } from '../oci/json.ts';
import { parseRepository } from '../oci/reference.ts';
import type { RegistryRequests } from './requests.ts';

const PAGE_SIZE = 1000;
const MAX_PAGE_BYTES = 16 << 20;
/** Ten million tags. */
const MAX_PAGES = 10_000;
const TAG = /^\w[\w.-]{0,127}$/;

/**
 * Lists tags (distribution-spec, "Listing Tags"), following Link. Only its query is used: a Link to another host would take
 * our token there, and one to itself would never end.
 */
export async function* listTags(
  client: RegistryRequests,
  repository: string,
  opts: CallOptions,
): AsyncGenerator<string[]> {
  const { registry, path } = parseRepository(repository);
  const what = `the tags of ${repository}`;
  const seen = new Set<string>();
  let query = `n=${PAGE_SIZE}`;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    if (seen.has(query)) throw malformed(`${what}: the pages go round in a circle`);
    seen.add(query);
    const object = `tags/list?${query}`;
    const request = {
      method: 'GET',
      registry,
      path,
      object,
      capability: 'resolve',
      headers: {},
      expect: [200],
      what,
    } as const;
    const { response, bytes } = await client.read(request, MAX_PAGE_BYTES, opts);
    yield parseTags(bytes, what);
    const next = nextQuery(response.header('link'));
    if (next === undefined) return;
    query = next;
  }
  throw new GantryError('TOO_LARGE', `${what} do not end after ${MAX_PAGES} pages`, { origin: 'source' });
}

function parseTags(bytes: Uint8Array, what: string): string[] {
  const document = parseStrictJson(bytes, what);
  // A repository whose last tag was deleted has `"tags": null`.
  const tags: unknown =
    typeof document === 'object' && document !== null && 'tags' in document ? (document.tags ?? []) : undefined;
  if (!Array.isArray(tags)) throw malformed(`${what}: no list of tags in the answer`);
  return tags.map((tag: unknown) => {
    if (typeof tag === 'string' && TAG.test(tag)) return tag;
    throw malformed(`${what}: ${JSON.stringify(tag)?.slice(0, 160)} is not a tag`);
  });
}

/** The query of `<...>; rel="next"` (RFC 8288). */
function nextQuery(link: string | undefined): string | undefined {
  const [, target] = /<([^>]{1,4096})>\s*;[^,]*\brel="?next"?/i.exec(link ?? '') ?? [];
  if (target === undefined) return undefined;
  const at = target.indexOf('?');
  return at < 0 ? undefined : target.slice(at + 1);
}

const malformed = (message: string): GantryError => new GantryError('MALFORMED', message, { origin: 'source' });
