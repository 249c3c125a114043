import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestOf, isDigest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind, PutManifest } from '../remote/ports.ts';
import { answerError, errorCodes } from '../remote/registry-errors.ts';
import type { RegistryRequest } from './requests.ts';
import type { HttpResponse } from './transport.ts';
import type { UploadParts } from './upload.ts';

const MAX_ERROR_BODY_BYTES = 8 << 10;

/** What registries say when a manifest comes before what it refers to (distribution-spec, "Error Codes"). */
const MISSING: ReadonlySet<string> = new Set(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'MANIFEST_UNKNOWN']);

/** Asks a repository for content by HEAD. A blob of another size than wanted is not it. */
export async function hasContent(
  parts: UploadParts,
  kind: ContentKind,
  desc: Descriptor,
  opts: CallOptions,
): Promise<boolean> {
  const response = await head(parts, `${kind}s/${desc.digest}`, `${kind} ${desc.digest}`, opts);
  if (response === undefined) return false;
  const length = response.header('content-length');
  return kind === 'manifest' || length === undefined || Number(length) === desc.size;
}

/**
 * Puts a manifest under its digest or a tag (distribution-spec, "Pushing Manifests").
 * @throws GantryError NOT_FOUND when something that it refers to is not there; DIGEST_MISMATCH when the registry took it for something else
 */
export async function putManifest(
  parts: UploadParts,
  desc: Descriptor,
  bytes: Uint8Array,
  opts: CallOptions & { readonly tag?: string },
): Promise<PutManifest> {
  const object = opts.tag ?? desc.digest;
  const request: RegistryRequest = {
    ...common(parts, `manifest ${object} to ${parts.repository}`),
    method: 'PUT',
    object: `manifests/${object}`,
    headers: { 'content-type': desc.mediaType },
    body: bytes,
    expect: [200, 201, 202, 400, 403, 404, 405, 409, 412, 422],
    digest: desc.digest,
  };
  const response = await send(parts, request, opts);
  if (!(response instanceof Refusal)) return accepted(request, response, desc);
  if (response.codes.some((code) => MISSING.has(code))) {
    const { message, status } = response.error;
    throw new GantryError('NOT_FOUND', message, { status: status ?? 0, digest: desc.digest });
  }
  // A tag that may not change, and has our digest already, is as wanted.
  if (opts.tag !== undefined && (await lookupTag(parts, opts.tag, opts)) === desc.digest) return { subject: false };
  throw response.error;
}

/** What the registry said, and why that is an error. */
class Refusal {
  readonly codes: readonly string[];
  readonly error: GantryError;

  constructor(response: HttpResponse, body: Uint8Array, what: string) {
    const { status, url } = response;
    this.codes = errorCodes(body);
    this.error = answerError({ status, retryAfter: undefined, body, host: url.host, what });
  }
}

/**
 * docker-registry writes its link to a blob in place. While one manifest has a blob mounted, another with the same blob may find the link
 * empty, and is told that its digest is invalid. It is not: the next try finds the link whole.
 */
const MAX_INVALID = 5;
const INVALID_AGAIN_MS = 50;

async function send(parts: UploadParts, request: RegistryRequest, opts: CallOptions): Promise<HttpResponse | Refusal> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await parts.client.request(request, opts);
    if (response.status < 300) return response;
    const body = await response.body.head(MAX_ERROR_BODY_BYTES).catch(() => new Uint8Array());
    const refusal = new Refusal(response, body, request.what);
    if (!refusal.codes.includes('DIGEST_INVALID') || attempt >= MAX_INVALID) return refusal;
    await sleep(INVALID_AGAIN_MS * 2 ** attempt, opts.signal);
  }
}

async function accepted(request: RegistryRequest, response: HttpResponse, desc: Descriptor): Promise<PutManifest> {
  await response.body.discard();
  const digest = response.header('docker-content-digest');
  if (isDigest(digest) && digest.split(':')[0] === desc.digest.split(':')[0] && digest !== desc.digest) {
    throw new GantryError('DIGEST_MISMATCH', `${request.what}: the registry has taken it for ${digest}`, {
      digest: desc.digest,
    });
  }
  return { subject: response.header('oci-subject') !== undefined };
}

/** What a tag of the repository means; undefined when there is none. By HEAD, where that tells the digest. */
export async function lookupTag(parts: UploadParts, tag: string, opts: CallOptions): Promise<Digest | undefined> {
  const response = await head(parts, `manifests/${tag}`, `manifest ${tag}`, opts);
  if (response === undefined) return undefined;
  const told = response.header('docker-content-digest');
  if (isDigest(told)) return told;
  const request = asking(parts, 'GET', `manifests/${tag}`, `manifest ${tag}`);
  const { bytes } = await parts.client.read(request, MAX_MANIFEST_BYTES, opts);
  return digestOf(bytes);
}

async function head(
  parts: UploadParts,
  object: string,
  what: string,
  opts: CallOptions,
): Promise<HttpResponse | undefined> {
  const response = await parts.client.request({ ...asking(parts, 'HEAD', object, what), expect: [200, 404] }, opts);
  await response.body[Symbol.asyncDispose]();
  return response.status === 200 ? response : undefined;
}

function asking(parts: UploadParts, method: 'GET' | 'HEAD', object: string, what: string): RegistryRequest {
  const headers: Record<string, string> = object.startsWith('manifests/') ? { accept: MANIFEST_ACCEPT.join(', ') } : {};
  return { ...common(parts, `${what} of ${parts.repository}`), method, object, headers, expect: [200] };
}

const common = ({ repository }: UploadParts, what: string) => {
  const { registry, path } = parseRepository(repository);
  return { registry, path, capability: 'push', what } as const;
};
