import type { CallOptions } from '../call.ts';
import type { ImageNames, Provider } from '../content/ports.ts';
import { isCode } from '../errors.ts';
import { childrenOf, isRootType } from '../oci/manifest.ts';
import type { Digest } from '../oci/digest.ts';
import type { ManifestChild } from '../oci/manifest.ts';
import { readManifest } from './children.ts';

/**
 * All content that some name needs: what the garbage collection must keep. Of an index all entries count, because nothing
 * records which of them were chosen; those that are not here are no loss.
 */
export async function neededContent(names: ImageNames, provider: Provider, opts: CallOptions): Promise<Set<Digest>> {
  const records = await names.list(opts);
  return contentBelow(
    records.map(({ desc }) => ({ kind: 'manifest', desc })),
    provider,
    opts,
  );
}

/** Some roots and everything that can be read to hang below them. */
export async function contentBelow(
  roots: readonly ManifestChild[],
  provider: Provider,
  opts: CallOptions,
): Promise<Set<Digest>> {
  const needed = new Set<Digest>();
  const read = new Set<Digest>();
  const open = [...roots];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    opts.signal.throwIfAborted();
    needed.add(next.desc.digest);
    // What another tool has listed may be of any type; only manifests can be looked into.
    if (next.kind !== 'manifest' || read.has(next.desc.digest) || !isRootType(next.desc.mediaType)) continue;
    read.add(next.desc.digest);
    try {
      open.push(...childrenOf(await readManifest(provider, next.desc, opts)));
    } catch (err) {
      // A manifest that is not here keeps nothing. Any other fault ends the collection: it must not delete what it cannot see.
      if (!isCode(err, 'NOT_FOUND')) throw err;
    }
  }
  return needed;
}
