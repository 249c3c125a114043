import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, digestOf, isDigest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import type { Reference } from '../oci/reference.ts';
import type { ResolveOptions, Resolved } from '../remote/ports.ts';
import type { KeptManifests } from './kept-manifests.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';
import type { HttpResponse } from './transport.ts';

export interface ResolveParts {
  readonly client: RegistryRequests;
  /** Where manifests go that had to be read. */
  readonly kept: KeptManifests;
}

/**
 * From a reference to a descriptor. A tag costs a HEAD, which registries do not count against quotas; where its answer does
 * not say enough, for a digest, whose size nobody knows yet, and where the manifest is wanted next anyway, it is read and hashed, and
 * kept for its fetch.
 */
export async function resolveReference(parts: ResolveParts, ref: Reference, opts: ResolveOptions): Promise<Resolved> {
  const mayAsk = ref.digest === undefined && opts.willFetch !== true;
  const asked = mayAsk ? await ask(parts.client, ref, opts) : undefined;
  return { name: ref.name, desc: typeof asked === 'object' ? asked : await read(parts, ref, opts) };
}

/** The same where it is no fault that there is no such tag: undefined then, after a HEAD. */
export async function findReference(
  parts: ResolveParts,
  ref: Reference,
  opts: CallOptions,
): Promise<Descriptor | undefined> {
  const asked = await ask(parts.client, ref, opts);
  if (asked === 'absent') return undefined;
  return asked ?? (await read(parts, ref, opts));
}

/** By HEAD; undefined where only the manifest itself can tell, also about an error: a HEAD has no error body. */
async function ask(
  client: RegistryRequests,
  ref: Reference,
  opts: CallOptions,
): Promise<Descriptor | 'absent' | undefined> {
  let response: HttpResponse;
  try {
    response = await client.request(requestFor('HEAD', ref), opts);
  } catch (err) {
    if (isCode(err, 'NOT_FOUND')) return 'absent';
    if (isCode(err, 'DENIED', 'UNSUPPORTED')) return undefined;
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

async function read({ client, kept }: ResolveParts, ref: Reference, opts: CallOptions): Promise<Descriptor> {
  const request = requestFor('GET', ref);
  const { response, bytes } = await client.read(request, MAX_MANIFEST_BYTES, opts);
  const digest = digestOf(bytes, ref.digest === undefined ? 'sha256' : algorithmOf(ref.digest));
  // Of a tag nothing else tells whether these are the bytes that were meant; a header alone is never believed.
  const claimed = response.header('docker-content-digest');
  const wanted = ref.digest ?? (isDigest(claimed) && algorithmOf(claimed) === algorithmOf(digest) ? claimed : digest);
  if (digest !== wanted) {
    throw new GantryError('DIGEST_MISMATCH', `${request.what}: wanted ${wanted}, the bytes are ${digest}`, {
      origin: 'source',
      digest: wanted,
    });
  }
  const { mediaType } = parseManifest(bytes, { mediaType: contentType(response) }, request.what);
  kept.keep(ref.repository, digest, bytes);
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
