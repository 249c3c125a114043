/**
 * What a request asks for. Everything that comes from its path is checked against the grammars of the distribution spec before anything is
 * looked up; of percent-encoding only that of the colon is taken, which some clients use in digests.
 */
import { type Digest, isDigest } from '../../oci/digest.ts';
import { isMediaType } from '../../oci/descriptor-json.ts';
import { type Refusal, refusal } from './refusal.ts';
import { repositoryOf } from './repository-name.ts';

export interface Page {
  /** Entries wanted; absent: all, as far as a page goes. */
  readonly n: number | undefined;
  /** Only what comes after it. */
  readonly last: string | undefined;
}

interface InRepository {
  /** In full: `docker.io/library/redis`. */
  readonly repository: string;
  /** As it was asked for. */
  readonly name: string;
}

export interface TagsAsked extends InRepository {
  readonly kind: 'tags';
  readonly page: Page;
  readonly namespace: string | undefined;
}
export interface ManifestAsked extends InRepository {
  readonly kind: 'manifest';
  readonly reference: { readonly tag: string } | { readonly digest: Digest };
}
export interface BlobAsked extends InRepository {
  readonly kind: 'blob';
  readonly digest: Digest;
}
export interface ReferrersAsked extends InRepository {
  readonly kind: 'referrers';
  readonly digest: Digest;
  readonly artifactType: string | undefined;
  /** Only those after it. */
  readonly last: Digest | undefined;
  readonly namespace: string | undefined;
}
export interface CatalogAsked {
  readonly kind: 'catalog';
  readonly page: Page;
}

export type Asked =
  { readonly kind: 'base' } | CatalogAsked | TagsAsked | ManifestAsked | BlobAsked | ReferrersAsked | Refusal;

const ENCODED_COLON = /%3a/gi;
const TAG = /^\w[\w.-]{0,127}$/;
const COUNT = /^[0-9]{1,9}$/;
const MAX_LAST = 1024;
const ROUTE = /^\/v2\/(?<name>.+)\/(?:tags\/list|(?<noun>manifests|blobs|referrers)\/(?<object>[^/]*))$/;

/** @param target of the request line: `/v2/library/redis/manifests/7?ns=docker.io` */
export function readRequest(target: string): Asked {
  const mark = target.indexOf('?');
  const path = (mark < 0 ? target : target.slice(0, mark)).replaceAll(ENCODED_COLON, ':');
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  if (path === '/v2/_catalog') return pageOf(query, (page) => ({ kind: 'catalog', page }));

  const { name, noun, object = '' } = ROUTE.exec(path)?.groups ?? {};
  if (name === undefined) return refusal('UNSUPPORTED', 'this registry has no such path', { status: 404 });
  const namespaces = query.getAll('ns');
  const repository = namespaces.length > 1 ? undefined : repositoryOf(name, namespaces[0]);
  if (repository === undefined) return refusal('NAME_INVALID', 'not the name of a repository');
  const where = { repository, name };
  if (noun === undefined) return pageOf(query, (page) => ({ kind: 'tags', ...where, page, namespace: namespaces[0] }));
  if (isDigest(object)) return withDigest(noun, object, where, query);
  // A tag has no colon.
  if (noun !== 'manifests' || object.includes(':'))
    return refusal('DIGEST_INVALID', 'not a digest that is known here: sha256: or sha512: and lower-case hex digits');
  if (!TAG.test(object)) return refusal('TAG_INVALID', 'not a tag: letters, digits, "_", "." and "-", at most 128');
  return { kind: 'manifest', ...where, reference: { tag: object } };
}

function withDigest(noun: string, digest: Digest, where: InRepository, query: URLSearchParams): Asked {
  if (noun === 'manifests') return { kind: 'manifest', ...where, reference: { digest } };
  if (noun === 'blobs') return { kind: 'blob', ...where, digest };
  const artifactType = query.get('artifactType') ?? '';
  if (artifactType !== '' && !isMediaType(artifactType))
    return refusal('UNSUPPORTED', 'artifactType is not a media type', { status: 400 });
  const last = query.get('last') ?? '';
  if (last !== '' && !isDigest(last)) return refusal('DIGEST_INVALID', 'last is not a digest');
  return {
    kind: 'referrers',
    ...where,
    digest,
    artifactType: artifactType === '' ? undefined : artifactType,
    last: last === '' ? undefined : last,
    namespace: query.get('ns') ?? undefined,
  };
}

function pageOf<T extends Asked>(query: URLSearchParams, asked: (page: Page) => T): T | Refusal {
  const n = query.get('n') ?? '';
  const last = query.get('last') ?? '';
  if (n !== '' && !COUNT.test(n)) return refusal('PAGINATION_NUMBER_INVALID', 'n must be a whole number');
  if (last.length > MAX_LAST) return refusal('PAGINATION_NUMBER_INVALID', 'last is too long');
  return asked({ n: n === '' ? undefined : Number(n), last: last === '' ? undefined : last });
}
