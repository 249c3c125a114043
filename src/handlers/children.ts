import type { CallOptions } from '../call.ts';
import type { Provider } from '../content/ports.ts';
import { readContent } from '../content/read.ts';
import type { Child, Handler } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { assertManifestType, type Manifest, MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';

/**
 * Answers what a manifest refers to, reading it from `provider`. Anything that does not stand in the place of a manifest is
 * a leaf, whatever its media type.
 */
export function childrenHandler(provider: Provider): Handler {
  return {
    async visit(node, ctx) {
      if (node.kind !== 'manifest') return { kind: 'leaf' };
      return { kind: 'expand', children: below(await readManifest(provider, node.desc, ctx)) };
    },
  };
}

/** As listed, repeats included: one manifest may stand for two platforms, and a filter above may want the second. */
const below = (manifest: Manifest): Child[] =>
  manifest.kind === 'index'
    ? manifest.manifests.map((desc) => ({ kind: 'manifest', desc }))
    : [manifest.config, ...manifest.layers].map((desc) => ({ kind: 'blob', desc }));

/** @throws GantryError NOT_FOUND, TOO_LARGE, UNSUPPORTED for a type that is no manifest, MALFORMED */
export async function readManifest(provider: Provider, desc: Descriptor, opts: CallOptions): Promise<Manifest> {
  assertManifestType(desc);
  const bytes = await readContent(provider, desc, { ...opts, limit: MAX_MANIFEST_BYTES });
  return parseManifest(bytes, desc, `manifest ${desc.digest}`);
}
