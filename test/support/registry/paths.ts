import type { Kind } from './log.ts';
import type { Named } from './server.ts';

const NONE = { repo: undefined, object: undefined };

const UPLOAD_KINDS: Readonly<Record<string, Kind>> = {
  GET: 'upload-status',
  HEAD: 'upload-status',
  PATCH: 'chunk',
  PUT: 'upload-end',
  DELETE: 'upload-cancel',
};

/** `object` is the digest where the request names one, otherwise the session. */
function describeUpload(url: URL, method: string, repo: string | undefined, session: string): Named {
  const query = url.searchParams;
  if (session !== '') {
    const kind = UPLOAD_KINDS[method] ?? 'other';
    return { kind, repo, object: kind === 'upload-end' ? (query.get('digest') ?? undefined) : session };
  }
  if (method !== 'POST') return { kind: 'other', repo, object: undefined };
  const mounted = query.get('mount');
  if (mounted !== null) return { kind: 'mount', repo, object: mounted };
  return { kind: 'upload-start', repo, object: query.get('digest') ?? undefined };
}

function describeManifest(method: string, object: string): Kind {
  const isDigest = object.includes(':');
  if (method === 'PUT') return isDigest ? 'put-manifest' : 'put-tag';
  if (method === 'DELETE') return isDigest ? 'delete-manifest' : 'delete-tag';
  return 'manifest';
}

/** What a request of the distribution API is about. Greedy: `a/blobs/b/manifests/x` is manifest x of `a/blobs/b`. */
export function describeRequest(url: URL, method: string): Named {
  const path = url.pathname;
  if (path === '/v2' || path === '/v2/') return { kind: 'base', ...NONE };
  if (path === '/v2/_catalog') return { kind: 'catalog', ...NONE };
  if (path === '/token') return { kind: 'token', ...NONE };
  const tags = /^\/v2\/(.+)\/tags\/list$/.exec(path);
  if (tags) return { kind: 'tags', repo: tags[1], object: undefined };
  const upload = /^\/v2\/(.+)\/blobs\/uploads\/(.*)$/.exec(path);
  if (upload) return describeUpload(url, method, upload[1], upload[2] ?? '');
  const [, repo, collection, encoded = ''] = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path) ?? [];
  const object = decodeURIComponent(encoded);
  if (collection === 'manifests') return { kind: describeManifest(method, object), repo, object };
  if (collection === 'blobs') return { kind: method === 'DELETE' ? 'delete-blob' : 'blob', repo, object };
  return collection === undefined ? { kind: 'other', ...NONE } : { kind: 'referrers', repo, object };
}

/** The session in the path of an upload. */
export const sessionOf = (url: URL): string => url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
