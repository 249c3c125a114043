/** One piece of content of a repository, found by tag or digest, as `gantry fetch-object` wants it. */
import type { ByteStream, CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import { readManifest } from '../handlers/children.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isIndexType, isManifestType } from '../oci/media-types.ts';
import { hostPlatform, matchPlatform, selectManifests } from '../oci/platform.ts';
import { type Reference, withObject, type Repository } from '../oci/reference.ts';
import type { RegistryClient } from '../registry/client.ts';
import { statContent } from '../registry/stat.ts';
import type { ContentKind } from '../remote/ports.ts';
import { providerOf } from './remote-image.ts';

export interface ObjectRequest {
  readonly repository: Repository;
  /** A tag or a digest. */
  readonly object: string;
  /** Which kind of content is meant, where there is a choice. */
  readonly mediaType: string | undefined;
}

/** Opens the content. What it yields is not verified yet: its end is only good if the digest is right. */
export async function openObject(
  client: RegistryClient,
  request: ObjectRequest,
  opts: CallOptions,
): Promise<{ desc: Descriptor; body: ByteStream }> {
  const ref = withObject(request.repository, request.object);
  const { kind, desc } =
    ref.digest === undefined
      ? await byTag(client, ref, request.mediaType, opts)
      : await byDigest(client, ref, ref.digest, request.mediaType, opts);
  return { desc, body: await client.fetcher(ref.repository).fetch(kind, desc, opts) };
}

interface Found {
  readonly kind: ContentKind;
  readonly desc: Descriptor;
}

/** Without a hint a digest may be that of a blob or of a manifest: the API has one place for each, and blobs are more. */
async function byDigest(
  client: RegistryClient,
  ref: Reference,
  digest: Digest,
  mediaType: string | undefined,
  opts: CallOptions,
): Promise<Found> {
  const kinds: readonly ContentKind[] =
    mediaType === undefined
      ? ['blob', 'manifest']
      : isManifestType(mediaType) || isIndexType(mediaType)
        ? ['manifest']
        : ['blob'];
  let last: unknown;
  for (const kind of kinds) {
    try {
      return { kind, desc: await statContent(client, ref.repository, kind, digest, opts) };
    } catch (err) {
      if (!isCode(err, 'NOT_FOUND')) throw err;
      last = err;
    }
  }
  throw last;
}

async function byTag(
  client: RegistryClient,
  ref: Reference,
  mediaType: string | undefined,
  opts: CallOptions,
): Promise<Found> {
  const { desc } = await client.resolve(ref, opts);
  if (mediaType === undefined || mediaType === desc.mediaType) return { kind: 'manifest', desc };
  if (isIndexType(desc.mediaType) && isManifestType(mediaType)) {
    // As registries did for clients that knew no index: the entry for this machine.
    const index = await readManifest(
      providerOf(client.fetcher(ref.repository), 'manifest', desc.mediaType),
      desc,
      opts,
    );
    const entries = index.kind === 'index' ? selectManifests(index.manifests, matchPlatform(hostPlatform())) : [];
    const entry = entries.find((each) => each.mediaType === mediaType);
    if (entry !== undefined) return { kind: 'manifest', desc: entry };
  }
  throw new GantryError('NOT_FOUND', `${ref.name} is ${desc.mediaType}, not ${mediaType}`, { origin: 'user' });
}
