/** What an image becomes at its target, when only some of its platforms are wanted. */
import { isCode } from '../errors.ts';
import type { Child, HandlerContext, ImageNode } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { isStrippedOf, stripIndex, type StripOrigin } from '../oci/edit-index.ts';
import { isArchive, parseLocation } from '../oci/location.ts';
import { type ImageIndex, parseManifest } from '../oci/manifest.ts';
import { isIndexType } from '../oci/media-types.ts';
import { selectManifests } from '../oci/platform.ts';
import type { Resolver } from '../remote/ports.ts';
import { targetError } from '../remote/registry-errors.ts';
import type { Selections } from './copy-selection.ts';
import type { ManifestCache } from './manifest-cache.ts';
import { nothingFor } from './platform.ts';

export interface RootParts {
  readonly resolver: Resolver;
  readonly manifests: ManifestCache;
  readonly selections: Selections;
}

export interface ImageRoot {
  /** What the image's tag is to mean. */
  readonly desc: Descriptor;
  readonly children: readonly Child[];
  /** An index that the source does not have, for settle to put; see madeIndex. */
  readonly carry?: string;
}

const childOf = (desc: Descriptor): Child => ({ kind: 'manifest', desc });
const asItIs = (desc: Descriptor): ImageRoot => ({ desc, children: [childOf(desc)] });

/**
 * @param found what the reference means at the source
 * @param there what the image's tag means at the target, where it does
 */
export async function rootOf(
  parts: RootParts,
  node: ImageNode,
  found: { readonly desc: Descriptor; readonly there: Digest | undefined },
  ctx: HandlerContext,
): Promise<ImageRoot> {
  const { desc, there } = found;
  const { index: mode, platforms } = parts.selections.of(node);
  if ((mode !== 'image' && mode !== 'strip') || !isIndexType(desc.mediaType)) return asItIs(desc);
  const origin: StripOrigin = { source: desc.digest, platforms: platforms.text };
  const made =
    mode === 'strip' && there !== undefined ? await strippedThere(parts, node, there, origin, ctx) : undefined;
  if (made !== undefined) return made;
  const bytes = await parts.manifests.read(parts.resolver.fetcher(node.source), desc, ctx);
  const index = parseManifest(bytes, desc, `index ${desc.digest}`);
  if (index.kind !== 'index') return asItIs(desc);
  const selected = selectManifests(index.manifests, platforms);
  const [entry] = selected;
  if (entry === undefined || (mode === 'image' && selected.length > 1))
    throw nothingFor(node, index.manifests, platforms);
  if (mode === 'image') return asItIs(entry);
  if (selected.length === index.manifests.length) return asItIs(desc);
  return madeRoot(stripIndex(bytes, index, selected, origin).bytes, index);
}

/** What the target has, when it was made of the same index for the same platforms: then the source needs not be read. */
async function strippedThere(
  { resolver, manifests }: RootParts,
  node: ImageNode,
  there: Digest,
  origin: StripOrigin,
  ctx: HandlerContext,
): Promise<ImageRoot | undefined> {
  if (isArchive(node.target)) return undefined;
  try {
    const { desc } = await resolver.resolve(parseLocation(`${node.target}@${there}`), { signal: ctx.signal });
    const bytes = await manifests.read(resolver.fetcher(node.target), desc, ctx);
    const manifest = parseManifest(bytes, desc, `index ${there} of ${node.target}`);
    return manifest.kind === 'index' && isStrippedOf(manifest, origin) ? madeRoot(bytes, manifest) : undefined;
  } catch (err) {
    // Whatever is there will be overwritten.
    if (isCode(err, 'NOT_FOUND', 'UNSUPPORTED', 'MALFORMED')) return undefined;
    throw targetError(err, there);
  }
}

function madeRoot(bytes: Buffer, { mediaType }: ImageIndex): ImageRoot {
  const index = parseManifest(bytes, { mediaType });
  return {
    desc: { mediaType, digest: digestOf(bytes), size: bytes.length },
    children: index.kind === 'index' ? index.manifests.map(childOf) : [],
    carry: `${mediaType}\n${bytes.toString('latin1')}`,
  };
}

/** The index that a visit has left for settle. */
export function madeIndex(carry: string): { readonly desc: Descriptor; readonly bytes: Buffer } {
  const end = carry.indexOf('\n');
  const bytes = Buffer.from(carry.slice(end + 1), 'latin1');
  return { desc: { mediaType: carry.slice(0, end), digest: digestOf(bytes), size: bytes.length }, bytes };
}
