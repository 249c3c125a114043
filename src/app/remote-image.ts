/** Small content read straight from a registry, verified, without a store. */
import type { CallOptions } from '../call.ts';
import type { Provider } from '../content/ports.ts';
import { readContent } from '../content/read.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { ContentKind, Fetcher, Resolver } from '../remote/ports.ts';

/** @throws GantryError NOT_FOUND, DIGEST_MISMATCH, ... */
export async function fetchManifest(
  resolver: Resolver,
  ref: Reference,
  opts: CallOptions,
): Promise<{ desc: Descriptor; bytes: Buffer }> {
  const { desc } = await resolver.resolve(ref, opts);
  const provider = providerOf(resolver.fetcher(ref.repository), 'manifest', desc.mediaType);
  return { desc, bytes: await readContent(provider, desc, { ...opts, limit: MAX_MANIFEST_BYTES }) };
}

/** A repository seen as a provider of one kind of content. */
export const providerOf = (fetcher: Fetcher, kind: ContentKind, mediaType: string): Provider => ({
  open: (desc, opts) => fetcher.fetch(kind, { ...desc, mediaType }, opts),
});
