/** Lists: tags, repositories, referrers. */
import { descriptorToJson } from '../../oci/descriptor-json.ts';
import { OCI_INDEX } from '../../oci/media-types.ts';
import type { CallOptions } from '../../call.ts';
import { type Refusal, refusal } from './refusal.ts';
import { requestNameOf } from './repository-name.ts';
import type { CatalogAsked, Page, ReferrersAsked, TagsAsked } from './request.ts';
import type { ListSource, ReferrerSource } from './source.ts';

export interface Listed {
  readonly kind: 'listed';
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Entries of a page at most, whatever is asked for: what is left comes with the next one. */
const MAX_PAGE = 10_000;

const listed = (value: unknown, headers: Readonly<Record<string, string>>, type = 'application/json'): Listed => ({
  kind: 'listed',
  type,
  headers,
  body: JSON.stringify(value),
});

/** distribution-spec, "Listing Tags" */
export async function listTags(source: ListSource, asked: TagsAsked, opts: CallOptions): Promise<Listed | Refusal> {
  const { repository, name, page, namespace } = asked;
  const all = await source.tags(repository, opts);
  if (all === undefined) return refusal('NAME_UNKNOWN', 'this repository is not here');
  const { entries, next } = cut(all, page);
  const query = namespace === undefined ? {} : { ns: namespace };
  return listed({ name, tags: entries }, linkTo(`/v2/${name}/tags/list`, next, query));
}

/** What docker's registry has as the catalog; the distribution spec leaves it out. */
export async function listRepositories(source: ListSource, { page }: CatalogAsked, opts: CallOptions): Promise<Listed> {
  const { entries, next } = cut(requestNames(await source.repositories(opts)), page);
  return listed({ repositories: entries }, linkTo('/v2/_catalog', next, {}));
}

/** Of lists that were asked for before: of tens of thousands of names it takes a tenth of a second. */
const REQUEST_NAMES = new WeakMap<readonly string[], readonly string[]>();

function requestNames(repositories: readonly string[]): readonly string[] {
  let names = REQUEST_NAMES.get(repositories);
  if (names === undefined) {
    names = repositories
      .map(requestNameOf)
      .filter((name) => name !== undefined)
      .toSorted();
    REQUEST_NAMES.set(repositories, names);
  }
  return names;
}

/** distribution-spec, "Listing Referrers" */
export async function listReferrers(source: ReferrerSource, asked: ReferrersAsked, opts: CallOptions): Promise<Listed> {
  const { repository, digest, artifactType } = asked;
  const all = await source.referrers(repository, digest, opts);
  const wanted = artifactType === undefined ? all : all.filter((each) => each.artifactType === artifactType);
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: wanted.map(descriptorToJson) };
  return listed(index, artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }, OCI_INDEX);
}

interface Next {
  readonly n: number;
  readonly last: string;
}

function cut(all: readonly string[], { n = MAX_PAGE, last }: Page): { entries: readonly string[]; next?: Next } {
  const size = Math.min(n, MAX_PAGE);
  const from = last === undefined ? 0 : firstAfter(all, last);
  const entries = all.slice(from, from + size);
  const end = entries.at(-1);
  return end === undefined || from + size >= all.length ? { entries } : { entries, next: { n: size, last: end } };
}

/** The place of the first entry that comes after `last`, which need not be one itself. */
function firstAfter(sorted: readonly string[], last: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') <= last) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** RFC 8288 */
function linkTo(path: string, next: Next | undefined, more: Readonly<Record<string, string>>): Record<string, string> {
  if (next === undefined) return {};
  const query = new URLSearchParams({ ...more, n: String(next.n), last: next.last });
  return { link: `<${path}?${query.toString()}>; rel="next"` };
}
