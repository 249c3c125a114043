import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { type Answer, answer, type Asked, json, ociError } from './answer.ts';
import type { Content } from './content.ts';
import type { Kind } from './log.ts';
import type { Repositories } from './storage.ts';

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
  /** The most entries on a page of tags, of the catalog or of referrers. */
  readonly pageSize?: number;
  /** False: the referrers API answers 404, as registries of distribution-spec 1.0 do. */
  readonly referrersApi?: boolean;
  /** False: 404 for the catalog. */
  readonly catalog?: boolean;
}

/** A part of a list that is sorted by `key`, and the Link to the rest. */
function page<T>(
  asked: Asked,
  all: readonly T[],
  key: (entry: T) => string,
  most = Infinity,
): { part: readonly T[]; link: Record<string, string> } {
  const query = asked.url.searchParams;
  const n = Math.min(Number(query.get('n') ?? Infinity), most);
  const last = query.get('last');
  const rest = last === null ? all : all.filter((entry) => key(entry) > last);
  const part = rest.slice(0, n);
  const end = part.at(-1);
  if (part.length === rest.length || end === undefined) return { part, link: {} };
  const filters = [...query].filter(([name]) => name !== 'n' && name !== 'last');
  const next = new URLSearchParams([['n', String(n)], ['last', key(end)], ...filters]);
  return { part, link: { link: `<${asked.url.pathname}?${next.toString()}>; rel="next"` } };
}

const itself = (name: string): string => name;

const notFound = (): Answer => answer(404, { 'content-type': 'text/plain' }, '404 page not found');

/** The read side of the distribution spec. */
export class ReadRoutes {
  readonly #stored: Repositories;
  readonly #options: ReadOptions;
  readonly #serving: Partial<Record<Kind, (asked: Asked) => Answer>> = {
    base: () => json(200, {}),
    catalog: (asked) => this.#catalog(asked),
    manifest: (asked) => this.#manifest(asked),
    blob: (asked) => this.#blob(asked),
    tags: (asked) => this.#tags(asked),
    referrers: (asked) => this.#referrers(asked),
  };

  constructor(stored: Repositories, options: ReadOptions) {
    this.#stored = stored;
    this.#options = options;
  }

  serve(asked: Asked): Answer {
    const { entry } = asked;
    if (entry.method !== 'GET' && entry.method !== 'HEAD')
      return answer(405, { 'content-type': 'text/plain' }, 'Method not allowed');
    return this.#serving[entry.kind]?.(asked) ?? ociError(404, 'UNSUPPORTED', 'no such route');
  }

  #catalog(asked: Asked): Answer {
    if (this.#options.catalog === false) return notFound();
    const { part, link } = page(asked, this.#stored.names(), itself, this.#options.pageSize);
    return json(200, { repositories: part }, link);
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
    const { part, link } = page(asked, [...repo.tags.keys()].toSorted(), itself, this.#options.pageSize);
    return json(200, { name, tags: part }, link);
  }

  #referrers(asked: Asked): Answer {
    const { entry, url } = asked;
    if (this.#options.referrersApi === false) return notFound();
    const wanted = url.searchParams.get('artifactType');
    const all = this.#stored.referrers(entry.repo ?? '', entry.object ?? '');
    const listed = all
      .filter((desc) => wanted === null || desc.artifactType === wanted)
      .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    const { part, link } = page(asked, listed, (desc) => desc.digest, this.#options.pageSize);
    const filtered = wanted === null ? {} : { 'oci-filters-applied': 'artifactType' };
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: part };
    return json(200, index, { 'content-type': OCI_INDEX, ...filtered, ...link });
  }
}
