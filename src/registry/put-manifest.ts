import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, type Digest, digestOf, isDigest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind } from '../remote/ports.ts';
import type { Refusal } from '../remote/registry-errors.ts';
import { isPage, refuseDisguises } from './disguise.ts';
import type { RegistryRequest, RegistryResponse } from './requests.ts';
import type { UploadParts } from './upload.ts';

/** What registries say when a manifest comes before what it refers to (distribution-spec, "Error Codes"). */
const MISSING: ReadonlySet<string> = new Set(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'MANIFEST_UNKNOWN']);

/** Asks a repository for content by HEAD. What says that it is something else is not it: a blob of another size, a page. */
export async function hasContent(
  parts: UploadParts,
  kind: ContentKind,
  desc: Descriptor,
  opts: CallOptions,
): Promise<boolean> {
  const response = await head(parts, `${kind}s/${desc.digest}`, `${kind} ${desc.digest}`, opts);
  if (response === undefined) return false;
  if (kind === 'manifest') return isManifest(response, desc);
  const length = response.header('content-length');
  return length === undefined ? !isPage(response) : Number(length) === desc.size;
}

function isManifest(response: RegistryResponse, { digest }: Descriptor): boolean {
  const told = response.header('docker-content-digest');
  if (isDigest(told)) return !isAnother(told, digest);
  const [mediaType = ''] = (response.header('content-type') ?? '').split(';', 1);
  return MANIFEST_ACCEPT.includes(mediaType.trim().toLowerCase());
}

/** Of digests by two algorithms it cannot be said. */
const isAnother = (told: Digest, wanted: Digest): boolean =>
  algorithmOf(told) === algorithmOf(wanted) && told !== wanted;

/**
 * Puts a manifest under its digest or a tag (distribution-spec, "Pushing Manifests").
 * @throws GantryError NOT_FOUND when something that it refers to is not there; DIGEST_MISMATCH when the registry took it for something else
 */
export async function putManifest(
  parts: UploadParts,
  desc: Descriptor,
  bytes: Uint8Array,
  opts: CallOptions & { readonly tag?: string },
): Promise<void> {
  const object = opts.tag ?? desc.digest;
  const request = {
    ...common(parts, `manifest ${object} to ${parts.repository}`),
    method: 'PUT',
    object: `manifests/${object}`,
    headers: { 'content-type': desc.mediaType },
    body: bytes,
    expect: [200, 201, 202, 400, 403, 404, 405, 409, 412, 422],
    digest: desc.digest,
  } as const;
  const refusal = await send(parts, request, opts);
  if (refusal === undefined) return;
  const { codes, error } = refusal;
  if (codes.some((code) => MISSING.has(code))) {
    const { message, status = 0, host } = error;
    const details = { status, digest: desc.digest, ...(host === undefined ? {} : { host }) };
    throw new GantryError('NOT_FOUND', message, details);
  }
  // A tag that may not change, and has our digest already, is as wanted.
  if (opts.tag !== undefined && (await lookupTag(parts, opts.tag, opts)) === desc.digest) return;
  throw error;
}

/**
 * docker-registry writes its link to a blob in place. While one manifest has a blob mounted, another with the same blob may find the link
 * empty, and is told that its digest is invalid. It is not: the next try finds the link whole.
 */
const MAX_INVALID = 5;
const INVALID_AGAIN_MS = 50;

/** @throws GantryError DIGEST_MISMATCH, MALFORMED for a page */
async function send(
  parts: UploadParts,
  request: RegistryRequest & { readonly digest: Digest },
  opts: CallOptions,
): Promise<Refusal | undefined> {
  const { what, digest } = request;
  for (let attempt = 1; ; attempt += 1) {
    const response = await parts.client.request(request, opts);
    if (response.status < 300) return accepted(response, what, digest);
    const refusal = await response.refusal();
    if (!refusal.codes.includes('DIGEST_INVALID') || attempt >= MAX_INVALID) return refusal;
    await sleep(INVALID_AGAIN_MS * 2 ** attempt, opts.signal);
  }
}

async function accepted(response: RegistryResponse, what: string, digest: Digest): Promise<undefined> {
  await response.body.discard();
  // That it was made is 201 (some say 202, with whatever type); a page with 200 is no answer of a registry.
  if (response.status === 200) refuseDisguises(response, what);
  const told = response.header('docker-content-digest');
  if (!isDigest(told) || !isAnother(told, digest)) return;
  throw new GantryError('DIGEST_MISMATCH', `${what}: the registry has taken it for ${told}`, { digest });
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
): Promise<RegistryResponse | undefined> {
  const ask = async (method: 'HEAD' | 'GET', expect: readonly number[]): Promise<RegistryResponse> => {
    const response = await parts.client.request({ ...asking(parts, method, object, what), expect }, opts);
    await response.body[Symbol.asyncDispose]();
    return response;
  };
  const first = await ask('HEAD', [200, 404, 405]);
  const response = first.status === 405 ? await ask('GET', [200, 404]) : first; // it knows no HEAD
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
