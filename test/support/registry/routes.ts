import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { type Answer, answer, type Asked, json, ociError } from './answer.ts';
import type { Content } from './content.ts';
import type { Kind } from './log.ts';
import type { Named } from './server.ts';
import type { Repositories } from './storage.ts';

const KINDS: Record<string, Kind> = { manifests: 'manifest', blobs: 'blob', referrers: 'referrers' };

/** What a path of the distribution API names. Greedy: `a/blobs/b/manifests/x` is manifest x of `a/blobs/b`. */
export function describePath(path: string): Named {
  const none = { repo: undefined, object: undefined };
  if (path === '/v2' || path === '/v2/') return { kind: 'base', ...none };
  if (path === '/v2/_catalog') return { kind: 'catalog', ...none };
  if (path === '/token') return { kind: 'token', ...none };
  const tags = /^\/v2\/(.+)\/tags\/list$/.exec(path);
  if (tags) return { kind: 'tags', repo: tags[1], object: undefined };
  const upload = /^\/v2\/(.+)\/blobs\/uploads\/(.*)$/.exec(path);
  if (upload) return { kind: 'upload', repo: upload[1], object: upload[2] };
  const [, repo, collection = '', object] = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path) ?? [];
  const kind = KINDS[collection];
  return kind === undefined ? { kind: 'other', ...none } : { kind, repo, object: decodeURIComponent(object ?? '') };
}

/** One range of RFC 9110; undefined for what a server may ignore. */
export function parseRange(header: string, size: number): { start: number; end: number } | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
  if (first === undefined || last === undefined || first + last === '') return undefined;
  if (first === '') {
    const start = Math.max(0, size - Number(last));
    return start === size ? 'unsatisfiable' : { start, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(size, Number(last) + 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}

/** Content with Range, If-Range and a strong ETag. */
export function serveContent({ entry }: Asked, content: Content, etag: string): Answer {
  const made = answer(
    200,
    { 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes', etag: `"${etag}"` },
    content,
  );
  const condition = entry.headers['if-range'];
  if (entry.range === undefined || entry.method !== 'GET') return made;
  if (condition !== undefined && condition !== `"${etag}"`) return made;
  const range = parseRange(entry.range, content.size);
  if (range === 'unsatisfiable') return answer(416, { 'content-range': `bytes */${content.size}` });
  if (range === undefined) return made;
  made.status = 206;
  made.range = range;
  return made;
}

export interface ReadOptions {
  /** The most names on a page of tags or of the catalog. */
  readonly pageSize?: number;
  /** False: the referrers API answers 404, as registries of distribution-spec 1.0 do. */
  readonly referrersApi?: boolean;
}

function page(asked: Asked, names: readonly string[], most: number | undefined): { names: string[]; link?: string } {
  const query = asked.url.searchParams;
  const wanted = query.get('n');
  const n = Math.min(wanted === null ? Infinity : Number(wanted), most ?? Infinity);
  const last = query.get('last');
  const rest = last === null ? [...names] : names.filter((name) => name > last);
  const part = rest.slice(0, n);
  const end = part.at(-1);
  if (part.length === rest.length || end === undefined) return { names: part };
  const next = `${asked.url.pathname}?n=${n}&last=${encodeURIComponent(end)}`;
  return { names: part, link: `<${next}>; rel="next"` };
}

/** The read side of the distribution spec. */
export class ReadRoutes {
  readonly #stored: Repositories;
  readonly #options: ReadOptions;

  constructor(stored: Repositories, options: ReadOptions) {
    this.#stored = stored;
    this.#options = options;
  }

  serve(asked: Asked): Answer {
    const { entry } = asked;
    if (entry.method !== 'GET' && entry.method !== 'HEAD')
      return ociError(405, 'UNSUPPORTED', 'this registry is read-only');
    switch (entry.kind) {
      case 'base':
        return json(200, {});
      case 'catalog':
        return this.#catalog(asked);
      case 'manifest':
        return this.#manifest(asked);
      case 'blob':
        return this.#blob(asked);
      case 'tags':
        return this.#tags(asked);
      case 'referrers':
        return this.#referrers(asked);
      case 'upload':
      case 'token':
      case 'signed':
      case 'other':
        break;
    }
    return ociError(404, 'UNSUPPORTED', 'no such route');
  }

  #catalog(asked: Asked): Answer {
    const { names, link } = page(asked, this.#stored.names(), this.#options.pageSize);
    return json(200, { repositories: names }, link === undefined ? {} : { link });
  }

  #manifest({ entry }: Asked): Answer {
    const repo = this.#stored.get(entry.repo ?? '');
    if (repo === undefined) return ociError(404, 'NAME_UNKNOWN', 'repository name not known to registry');
    const wanted = entry.object ?? '';
    const digest = wanted.includes(':') ? wanted : repo.tags.get(wanted);
    const found = digest === undefined ? undefined : repo.manifests.get(digest);
    if (digest === undefined || found === undefined) {
      return ociError(404, 'MANIFEST_UNKNOWN', 'manifest unknown', { reference: wanted });
    }
    const names = { 'content-type': found.mediaType, 'docker-content-digest': digest, etag: `"${digest}"` };
    return answer(200, names, found.content);
  }

  #blob(asked: Asked): Answer {
    const { repo, object = '' } = asked.entry;
    const found = this.#stored.get(repo ?? '')?.blobs.get(object);
    if (found === undefined) return ociError(404, 'BLOB_UNKNOWN', 'blob unknown to registry', { digest: object });
    const made = serveContent(asked, found, object);
    if (made.status !== 416) made.headers.set('docker-content-digest', object);
    return made;
  }

  #tags(asked: Asked): Answer {
    const name = asked.entry.repo ?? '';
    const repo = this.#stored.get(name);
    if (repo === undefined) return ociError(404, 'NAME_UNKNOWN', 'repository name not known to registry', { name });
    const { names, link } = page(asked, [...repo.tags.keys()].toSorted(), this.#options.pageSize);
    return json(200, { name, tags: names }, link === undefined ? {} : { link });
  }

  #referrers({ entry, url }: Asked): Answer {
    if (this.#options.referrersApi === false)
      return answer(404, { 'content-type': 'text/plain' }, '404 page not found');
    const wanted = url.searchParams.get('artifactType');
    const all = this.#stored.referrers(entry.repo ?? '', entry.object ?? '');
    const manifests = wanted === null ? all : all.filter((desc) => desc.artifactType === wanted);
    const filtered = wanted === null ? {} : { 'oci-filters-applied': 'artifactType' };
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
    return json(200, index, { 'content-type': OCI_INDEX, ...filtered });
  }
}
