/** Lists: tags, repositories, referrers. */
import type { Descriptor } from '../../oci/descriptor.ts';
import { descriptorToJson } from '../../oci/descriptor-json.ts';
import { MAX_MANIFEST_BYTES } from '../../oci/manifest.ts';
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

const listed = (value: unknown, headers: Readonly<Record<string, string>>): Listed => ({
  kind: 'listed',
  type: 'application/json',
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

/** distribution-spec, "Listing Referrers": the rest of a long list is behind a `Link`. */
export async function listReferrers(source: ReferrerSource, asked: ReferrersAsked, opts: CallOptions): Promise<Listed> {
  const { repository, name, digest, artifactType, last = '', namespace } = asked;
  const all = await source.referrers(repository, digest, opts);
  const isWanted = (each: Descriptor): boolean => artifactType === undefined || each.artifactType === artifactType;
  const { text, next } = indexOf(all.filter((each) => each.digest > last && isWanted(each)));
  const query = {
    ...(namespace === undefined ? {} : { ns: namespace }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
  const headers = {
    ...linkTo(`/v2/${name}/referrers/${digest}`, next, query),
    ...(artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }),
  };
  return { kind: 'listed', type: OCI_INDEX, headers, body: text };
}

/** An index of as many of them as a page takes. */
function indexOf(all: readonly Descriptor[]): { readonly text: string; readonly next: Next | undefined } {
  const around = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
  const entries: string[] = [];
  let bytes = around.length;
  for (const each of all.slice(0, MAX_PAGE)) {
    const entry = JSON.stringify(descriptorToJson(each));
    bytes += Buffer.byteLength(entry) + 1; // the comma
    if (bytes > MAX_MANIFEST_BYTES) break; // it is a manifest to those who read it
    entries.push(entry);
  }
  const end = all[entries.length - 1]?.digest;
  const isAll = end === undefined || entries.length === all.length;
  return { text: around.replace('[]', () => `[${entries.join(',')}]`), next: isAll ? undefined : { last: end } };
}

interface Next {
  readonly n?: number;
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
  const { n, last } = next;
  const query = new URLSearchParams({ ...more, ...(n === undefined ? {} : { n: String(n) }), last });
  return { link: `<${path}?${query.toString()}>; rel="next"` };
}
