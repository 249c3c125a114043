import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, digestOf, isDigest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import type { Reference } from '../oci/reference.ts';
import type { Resolved } from '../remote/ports.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';
import type { HttpResponse } from './transport.ts';

/**
 * From a reference to a descriptor. A tag costs a HEAD, which registries do not count against quotas; where its answer does
 * not say enough, and for a digest, whose size nobody knows yet, the manifest is read and hashed.
 */
export async function resolveReference(client: RegistryRequests, ref: Reference, opts: CallOptions): Promise<Resolved> {
  if (ref.digest !== undefined) return { name: ref.name, desc: await read(client, ref, opts) };
  return { name: ref.name, desc: (await ask(client, ref, opts)) ?? (await read(client, ref, opts)) };
}

/** By HEAD; undefined where only the manifest itself can tell, also about an error: a HEAD has no error body. */
async function ask(client: RegistryRequests, ref: Reference, opts: CallOptions): Promise<Descriptor | undefined> {
  let response: HttpResponse;
  try {
    response = await client.request(requestFor('HEAD', ref), opts);
  } catch (err) {
    if (isCode(err, 'NOT_FOUND', 'DENIED', 'UNSUPPORTED')) return undefined;
    throw err;
  }
  await response.body[Symbol.asyncDispose]();
  const digest = response.header('docker-content-digest');
  const size = Number(response.header('content-length') ?? NaN);
  const mediaType = contentType(response);
  if (size > MAX_MANIFEST_BYTES) throw tooLarge(ref, size);
  if (!isDigest(digest) || !(size > 0) || !MANIFEST_ACCEPT.includes(mediaType)) return undefined;
  return { mediaType, digest, size };
}

async function read(client: RegistryRequests, ref: Reference, opts: CallOptions): Promise<Descriptor> {
  const request = requestFor('GET', ref);
  const { response, bytes } = await client.read(request, MAX_MANIFEST_BYTES, opts);
  const digest = digestOf(bytes, ref.digest === undefined ? 'sha256' : algorithmOf(ref.digest));
  if (ref.digest !== undefined && digest !== ref.digest) {
    throw new GantryError('DIGEST_MISMATCH', `${request.what}: the bytes are ${digest}`, {
      origin: 'source',
      digest: ref.digest,
    });
  }
  const { mediaType } = parseManifest(bytes, { mediaType: contentType(response) }, request.what);
  return { mediaType, digest, size: bytes.byteLength };
}

const tooLarge = (ref: Reference, size: number): GantryError =>
  new GantryError(
    'TOO_LARGE',
    `manifest ${ref.tag} of ${ref.repository} has ${size} bytes, more than ${MAX_MANIFEST_BYTES}`,
    {
      origin: 'source',
    },
  );

const contentType = (response: HttpResponse): string =>
  (response.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';

function requestFor(method: 'GET' | 'HEAD', ref: Reference): RegistryRequest {
  const object = ref.digest ?? ref.tag ?? 'latest';
  return {
    method,
    registry: ref.registry,
    path: ref.path,
    object: `manifests/${object}`,
    capability: 'resolve',
    headers: { accept: MANIFEST_ACCEPT.join(', ') },
    expect: [200],
    what: `manifest ${object} of ${ref.repository}`,
    digest: ref.digest,
  };
}
