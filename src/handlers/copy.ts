/**
 * Copy: from one registry to another, without touching the disk. Each manifest is put by its `settle`, when all that it refers to is
 * there: blobs, manifests, indexes, then the tag.
 */
import { isCode, retryClass } from '../errors.ts';
import {
  type Child,
  type ContentNode,
  type Handler,
  type HandlerContext,
  type ImageNode,
  type Settled,
  type SettleContext,
  type Visit,
} from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseLocation } from '../oci/location.ts';
import { assertManifestType, type Manifest, parseManifest } from '../oci/manifest.ts';
import { isIndexType, isNonDistributable } from '../oci/media-types.ts';
import { selectManifests } from '../oci/platform.ts';
import type { BlobPlaces } from '../remote/places.ts';
import type { Resolver } from '../remote/ports.ts';
import { BlobCopy } from './copy-blob.ts';
import { type CopySelection, parseSelection } from './copy-selection.ts';
import { nothingFor } from './platform.ts';
import { ManifestCache, readBytes } from './manifest-cache.ts';

export interface CopyParts {
  readonly resolver: Resolver;
  readonly places: BlobPlaces;
  /**
   * This process handles all of the run: a manifest that the target lacks is asked for at once, in the place of a HEAD, and kept for
   * the node that needs it.
   */
  readonly isAlone: boolean;
}

/** After so many rounds what a registry says is missing is not coming: once for refused mounts, once for wrong beliefs. */
const MAX_ROUNDS = 3;

/** The handler of copies. Its roots are image nodes whose target is a repository; see copyNode. */
export function copyHandler(parts: CopyParts): Handler {
  const copy = new Copy(parts);
  return {
    visit: (node, ctx) => {
      if (node.kind === 'image') return copy.visitImage(node, ctx);
      return node.kind === 'manifest' ? copy.visitManifest(node, ctx) : copy.visitBlob(node, ctx);
    },
    settle: async (node, ctx) => {
      if (node.kind === 'image') return copy.settleImage(node, ctx);
      return node.kind === 'manifest' ? copy.settleManifest(node, ctx) : undefined;
    },
  };
}

class Copy {
  readonly #parts: CopyParts;
  readonly #blobs: BlobCopy;
  readonly #manifests = new ManifestCache();
  readonly #selections = new Map<string, CopySelection>();

  constructor(parts: CopyParts) {
    this.#parts = parts;
    this.#blobs = new BlobCopy(parts);
  }

  /** Compares what the two names mean; only where that differs anything else is asked for. */
  async visitImage(node: ImageNode, ctx: HandlerContext): Promise<Visit> {
    const { resolver, isAlone } = this.#parts;
    const { isDeep } = this.#selection(node);
    const ref = parseLocation(node.name);
    const pusher = resolver.pusher(node.target);
    const there = node.tag === undefined ? undefined : await pusher.lookup(node.tag, ctx);
    const willFetch = isAlone && there === undefined;
    const resolved = await resolver.resolve(ref, { signal: ctx.signal, willFetch });
    const desc = await this.#rootOf(node, resolved.desc, ctx);
    const isEqual = there === desc.digest || (node.tag === undefined && (await pusher.has('manifest', desc, ctx)));
    ctx.report({ kind: 'resolved', desc, isEqual });
    if (isEqual && !isDeep) return { kind: 'leaf' };
    return { kind: 'expand', children: [{ kind: 'manifest', desc }] };
  }

  /** What the tag will mean: what it means at the source, or the one entry of that which is wanted. */
  async #rootOf(node: ImageNode, desc: Descriptor, ctx: HandlerContext): Promise<Descriptor> {
    const { index, platforms } = this.#selection(node);
    if (index !== 'image' || !isIndexType(desc.mediaType)) return desc;
    const manifest = parseManifest(await this.#read(desc, node.source, ctx), desc, `index ${desc.digest}`);
    const entries = manifest.kind === 'index' ? manifest.manifests : [];
    const [entry, ...more] = selectManifests(entries, platforms);
    if (entry !== undefined && more.length === 0) return entry;
    throw nothingFor(node, entries, platforms);
  }

  async settleImage(node: ImageNode, ctx: SettleContext): Promise<Settled> {
    const [root] = ctx.children;
    if (root === undefined || node.tag === undefined) return undefined;
    const { resolver } = this.#parts;
    const bytes = await this.#read(root.desc, node.target, ctx);
    await resolver.pusher(node.target).putManifest(root.desc, bytes, { signal: ctx.signal, tag: node.tag });
    return undefined;
  }

  async visitManifest(node: ContentNode, ctx: HandlerContext): Promise<Visit> {
    const { desc, target } = node;
    assertManifestType(desc);
    const selection = this.#selection(node);
    const pusher = this.#parts.resolver.pusher(target);
    // A registry takes a manifest only when it has what that refers to: what is there is whole.
    if (!selection.isDeep && (await pusher.has('manifest', desc, ctx))) {
      ctx.report({ kind: 'present' });
      return { kind: 'leaf' };
    }
    const bytes = await this.#read(desc, node.source, ctx);
    const manifest = parseManifest(bytes, desc, `manifest ${desc.digest} of ${node.source}`);
    ctx.report({ kind: 'progress', offset: bytes.byteLength });
    return { kind: 'expand', children: wanted(manifest, node, selection), carry: bytes.toString('latin1') };
  }

  async settleManifest(node: ContentNode, ctx: SettleContext): Promise<Settled> {
    if (ctx.carry === '') return undefined; // it was there
    const { desc, target } = node;
    const blobs = ctx.children.filter((child) => child.kind === 'blob').map((child) => child.desc);
    const refused = await this.#blobs.share(node, blobs, ctx);
    if (refused.length > 0) return uploads(refused);
    try {
      const bytes = Buffer.from(ctx.carry, 'latin1');
      await this.#parts.resolver.pusher(target).putManifest(desc, bytes, ctx);
      ctx.report({ kind: 'fetched', bytes: desc.size });
    } catch (err) {
      if (!isCode(err, 'NOT_FOUND') || err.origin !== 'target' || ctx.round >= MAX_ROUNDS) throw err;
      const missing = await this.#blobs.recheck(node, blobs, ctx);
      if (missing.length === 0) throw err;
      return uploads(missing);
    }
    return undefined;
  }

  async visitBlob(node: ContentNode, ctx: HandlerContext): Promise<Visit> {
    try {
      return await this.#blobs.bring(node, ctx);
    } catch (err) {
      // Wrong bytes may be the fault of a join after a cut, or of a mirror: once more, from zero.
      if (retryClass(err) !== 'restart') throw err;
      return this.#blobs.bring(node, ctx);
    }
  }

  async #read(desc: Descriptor, repository: string, ctx: HandlerContext): Promise<Buffer> {
    const known = this.#manifests.get(desc.digest);
    if (known !== undefined) return known;
    const bytes = await readBytes(this.#parts.resolver.fetcher(repository), desc, ctx);
    this.#manifests.set(desc.digest, bytes);
    return bytes;
  }

  #selection({ selection }: { selection: string }): CopySelection {
    const known = this.#selections.get(selection) ?? parseSelection(selection);
    this.#selections.set(selection, known);
    return known;
  }
}

const uploads = (descs: readonly Descriptor[]): Settled => ({
  kind: 'expand',
  children: descs.map((desc): Child => ({ kind: 'upload', desc })),
});

/** What has to be at the target before a manifest. */
function wanted(manifest: Manifest, node: ContentNode, selection: CopySelection): Child[] {
  if (manifest.kind === 'index') {
    const selected = selectManifests(manifest.manifests, selection.platforms);
    if (manifest.manifests.length > 0 && selected.length === 0) {
      throw nothingFor(node, manifest.manifests, selection.platforms);
    }
    return selected.map((desc) => ({ kind: 'manifest', desc }));
  }
  const blobs = [manifest.config, ...manifest.layers];
  const kept = selection.nonDistributable ? blobs : blobs.filter((desc) => !isNonDistributable(desc.mediaType));
  return kept.map((desc) => ({ kind: 'blob', desc }));
}

/** The root node of a copy. `tag` is the one that it gets in the repository `target`; undefined: it goes by its digest. */
export const copyNode = (parts: {
  readonly source: { readonly name: string; readonly repository: string };
  readonly target: string;
  readonly tag: string | undefined;
  readonly selection: string;
}): ImageNode => ({
  kind: 'image',
  name: parts.source.name,
  source: parts.source.repository,
  target: parts.target,
  selection: parts.selection,
  ...(parts.tag === undefined ? {} : { tag: parts.tag }),
});
