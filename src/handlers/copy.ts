/**
 * Copy: from one registry to another, without touching the disk. Each manifest is put by its `settle`, when all that it refers to is
 * there: blobs, manifests, indexes, then the tag.
 */
import { GantryError, isCode, retryClass } from '../errors.ts';
import {
  type Child,
  type ContentNode,
  type Handler,
  type HandlerContext,
  type ImageNode,
  type Node,
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
import { withAttached } from './attached.ts';
import { backupChildren, keepBackup } from './copy-backup.ts';
import { BlobCopy } from './copy-blob.ts';
import { madeIndex, rootOf } from './copy-root.ts';
import { type CopySelection, Selections } from './copy-selection.ts';
import { ManifestCache } from './manifest-cache.ts';
import { nothingFor } from './platform.ts';

export interface CopyParts {
  readonly resolver: Resolver;
  readonly places: BlobPlaces;
  /**
   * This process handles all of the run: a manifest that the target lacks is asked for at once, in the place of a HEAD, and kept for
   * the node that needs it.
   */
  readonly isAlone: boolean;
  /** False: few images are copied, and no list of tags is worth its request; see attached.ts. True unless said. */
  readonly listsTags?: boolean;
}

/** After so many rounds what a registry says is missing is not coming: once for refused mounts, once for wrong beliefs. */
const MAX_ROUNDS = 3;
/** In rounds up to this one, what the registry has by its own account is sent again when it says that something is missing. */
const MAX_SENT_AGAIN = 1;

/** The handler of copies. Its roots are image nodes whose target is a repository; see copyNode. */
export function copyHandler(parts: CopyParts): Handler {
  const all: AllParts = { ...parts, manifests: new ManifestCache(), selections: new Selections() };
  return withAttached({ ...all, listsTags: parts.listsTags ?? true })(imagesOnly(all));
}

/** Copies images, and what they list. */
function imagesOnly(parts: AllParts): Handler {
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

interface AllParts extends CopyParts {
  readonly manifests: ManifestCache;
  readonly selections: Selections;
}

interface Put {
  readonly desc: Descriptor;
  readonly bytes: Buffer;
  readonly tag: string | undefined;
}

class Copy {
  readonly #parts: AllParts;
  readonly #blobs: BlobCopy;

  constructor(parts: AllParts) {
    this.#parts = parts;
    this.#blobs = new BlobCopy(parts);
  }

  /** Compares what the two names mean; only where that differs anything else is asked for. */
  async visitImage(node: ImageNode, ctx: HandlerContext): Promise<Visit> {
    const { resolver, isAlone, selections } = this.#parts;
    const { isDeep, mediaTypes } = selections.of(node);
    const ref = parseLocation(node.name);
    const pusher = resolver.pusher(node.target);
    const there = node.tag === undefined ? undefined : await pusher.lookup(node.tag, ctx);
    const willFetch = isAlone && there === undefined;
    const resolved = await resolver.resolve(ref, { signal: ctx.signal, willFetch });
    const { mediaType, digest } = resolved.desc;
    if (mediaTypes?.includes(mediaType) === false) return { kind: 'skip', reason: `its type is ${mediaType}` };
    const { desc, children, carry } = await rootOf(this.#parts, node, { desc: resolved.desc, there }, ctx);
    const isEqual = there === desc.digest || (node.tag === undefined && (await pusher.has('manifest', desc, ctx)));
    const was = there === undefined ? {} : { was: there };
    const from = digest === desc.digest ? {} : { from: digest };
    ctx.report({ kind: 'resolved', desc, isEqual, ...was, ...from });
    if (isEqual && !isDeep) return { kind: 'leaf' };
    const kept = await backupChildren(this.#parts, node, { there, next: desc.digest }, ctx);
    return { kind: 'expand', children: [...children, ...kept], ...(carry === undefined ? {} : { carry }) };
  }

  async settleImage(node: ImageNode, ctx: SettleContext): Promise<Settled> {
    const [root] = ctx.children;
    const { resolver, manifests } = this.#parts;
    const made = ctx.carry === '' ? undefined : madeIndex(ctx.carry);
    if (root === undefined || (made === undefined && node.tag === undefined)) return undefined;
    const { desc } = made ?? root;
    const bytes = made?.bytes ?? (await manifests.readAtTarget(resolver.fetcher(node.target), desc, ctx));
    const kept = await keepBackup(this.#parts, node, { brought: ctx.children, next: desc.digest }, ctx);
    if (kept.length > 0) return { kind: 'expand', children: kept };
    // What the registry had under this digest it may not have whole any more.
    return this.#put(node, { desc, bytes, tag: node.tag }, ctx);
  }

  /** Puts a manifest. When the registry misses something of it: forgets what is believed, and has it sent again. */
  async #put(node: Node, { desc, bytes, tag }: Put, ctx: SettleContext): Promise<Settled> {
    const named = tag === undefined ? {} : { tag };
    try {
      await this.#parts.resolver.pusher(node.target).putManifest(desc, bytes, { signal: ctx.signal, ...named });
      return undefined;
    } catch (err) {
      if (!isCode(err, 'NOT_FOUND') || err.origin !== 'target' || ctx.round >= MAX_ROUNDS) throw err;
      const selection = this.#parts.selections.of(node);
      const blobs = blobsOf(parseManifest(bytes, desc, `manifest ${desc.digest}`));
      const sent = blobs.filter((blob) => isSent(blob, selection));
      const missing = await this.#blobs.recheck(node.target, sent, ctx);
      if (missing.length > 0) return uploads(missing);
      if (sent.length < blobs.length) throw refused(err, WITHOUT_LAYERS);
      if (blobs.length === 0) throw selection.index === 'sparse' ? refused(err, SPARSE) : err;
      // It says so against its own HEAD: all of it again, but not without end.
      if (ctx.round > MAX_SENT_AGAIN) throw err;
      return uploads(sent);
    }
  }

  async visitManifest(node: ContentNode, ctx: HandlerContext): Promise<Visit> {
    const { desc, target } = node;
    assertManifestType(desc);
    const { resolver, manifests, selections } = this.#parts;
    const selection = selections.of(node);
    if (!selection.isDeep && (await resolver.pusher(target).has('manifest', desc, ctx))) {
      ctx.report({ kind: 'present' });
      // A registry takes a manifest only when it has what that refers to: what is there is whole.
      if (!isIndexType(desc.mediaType)) return { kind: 'leaf' };
      // But for an index, which may have come with some of its platforms; what it lists is looked at, and the source spared.
      const bytes = await manifests.readAtTarget(resolver.fetcher(target), desc, ctx);
      const index = parseManifest(bytes, desc, `index ${desc.digest} of ${target}`);
      return { kind: 'expand', children: wanted(index, node, selection) };
    }
    const bytes = await manifests.read(resolver.fetcher(node.source), desc, ctx);
    const manifest = parseManifest(bytes, desc, `manifest ${desc.digest} of ${node.source}`);
    ctx.report({ kind: 'progress', offset: bytes.byteLength });
    return { kind: 'expand', children: wanted(manifest, node, selection), carry: bytes.toString('latin1') };
  }

  async settleManifest(node: ContentNode, ctx: SettleContext): Promise<Settled> {
    if (ctx.carry === '') return undefined; // it was there
    const { desc, target } = node;
    const blobs = ctx.children.filter((child) => child.kind === 'blob').map((child) => child.desc);
    // After that it is for the registry to say what it lacks.
    const unshared = ctx.round < MAX_ROUNDS ? await this.#blobs.share(target, blobs, ctx) : [];
    if (unshared.length > 0) return uploads(unshared);
    const bytes = Buffer.from(ctx.carry, 'latin1');
    const settled = await this.#put(node, { desc, bytes, tag: undefined }, ctx);
    if (settled === undefined) ctx.report({ kind: 'fetched', bytes: desc.size });
    return settled;
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
}

const uploads = (descs: readonly Descriptor[]): Settled => ({
  kind: 'expand',
  children: descs.map((desc): Child => ({ kind: 'upload', desc })),
});

/** What a registry may rightly miss, and what to do. */
interface LeftOut {
  readonly why: string;
  readonly hint: string;
}

const SPARSE: LeftOut = {
  why: 'it does not take an index of which only some platforms are there',
  hint: 'use `index: strip`, which makes an index of what is there',
};
const WITHOUT_LAYERS: LeftOut = {
  why: 'it does not take an image without its non-distributable layers',
  hint: '`includeExternal: true` in a mirror file copies them, too',
};

const refused = (err: GantryError, { why, hint }: LeftOut): GantryError =>
  new GantryError('UNSUPPORTED', `${err.message}: ${why}`, {
    origin: 'target',
    cause: err,
    hint,
    ...(err.digest === undefined ? {} : { digest: err.digest }),
    ...(err.host === undefined ? {} : { host: err.host }),
  });

/** What has to be at the target before a manifest. */
function wanted(manifest: Manifest, node: ContentNode, selection: CopySelection): Child[] {
  if (manifest.kind === 'index') {
    // Of an index that was stripped, and so is not here, all that is left is wanted, with all that is below.
    if (selection.index !== 'sparse') return manifest.manifests.map((desc) => ({ kind: 'manifest', desc }));
    const selected = selectManifests(manifest.manifests, selection.platforms);
    if (manifest.manifests.length > 0 && selected.length === 0) {
      throw nothingFor(node, manifest.manifests, selection.platforms);
    }
    return selected.map((desc) => ({ kind: 'manifest', desc }));
  }
  return blobsOf(manifest)
    .filter((desc) => isSent(desc, selection))
    .map((desc) => ({ kind: 'blob', desc }));
}

const blobsOf = (manifest: Manifest): readonly Descriptor[] =>
  manifest.kind === 'index' ? [] : [manifest.config, ...manifest.layers];

/** A registry need not have a layer whose maker does not let others hand it on. */
const isSent = ({ mediaType }: Descriptor, { nonDistributable }: CopySelection): boolean =>
  nonDistributable || !isNonDistributable(mediaType);

/** The root node of a copy. `tag` is the one that it gets in the repository `target`; undefined: it goes by its digest. */
export const copyNode = (parts: {
  readonly source: { readonly name: string; readonly repository: string };
  readonly target: string;
  readonly tag: string | undefined;
  readonly selection: string;
  readonly backup?: string | undefined;
}): ImageNode => ({
  kind: 'image',
  name: parts.source.name,
  source: parts.source.repository,
  target: parts.target,
  selection: parts.selection,
  ...(parts.tag === undefined ? {} : { tag: parts.tag }),
  ...(parts.backup === undefined ? {} : { backup: parts.backup }),
});
