/**
 * What hangs on a manifest without being listed by it: referrers (distribution-spec, "Listing Referrers"), and tags that are made of its
 * digest. Both become children of the manifest, so that what hangs on them comes along, too.
 */
import { GantryError } from '../errors.ts';
import {
  type Child,
  type ContentNode,
  type Handler,
  type HandlerContext,
  type ImageNode,
  type Middleware,
  type NodeEvent,
  type NodeScope,
  type Settled,
  type SettleContext,
  type Visit,
} from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Resolver } from '../remote/ports.ts';
import { fitsGlob } from './artifact-filter.ts';
import { atTarget } from '../remote/registry-errors.ts';
import { joinCarry, type OwnCarry, splitCarry } from './attached-carry.ts';
import { type Found, FoundAttached, NOTHING } from './attached-found.ts';
import type { AttachedSelection, Selections } from './copy-selection.ts';
import { FallbackTags } from './fallback-tag.ts';
import type { ManifestCache } from './manifest-cache.ts';

export interface AttachedParts {
  readonly resolver: Resolver;
  readonly manifests: ManifestCache;
  readonly selections: Selections;
  /** The tags of a source are listed once, in the place of a HEAD for each that could be there. */
  readonly listsTags: boolean;
}

/** For handlers that put manifests, and what those list, to where a node goes. */
export function withAttached(parts: AttachedParts): Middleware {
  const attached = new Attached(parts);
  return (next) => ({
    visit: async (node, ctx) => {
      if (node.kind === 'image') return attached.visitImage(next, node, ctx);
      return node.kind === 'manifest' ? attached.visitManifest(next, node, ctx) : next.visit(node, ctx);
    },
    settle: async (node, ctx) => {
      if (node.kind === 'image' || node.kind === 'manifest') return attached.settle(next, node, ctx);
      return next.settle?.(node, ctx);
    },
  });
}

type Resolution = Extract<NodeEvent, { kind: 'resolved' }>;

class Attached {
  readonly #parts: AttachedParts;
  readonly #fallback: FallbackTags;
  readonly #found: FoundAttached;
  /** Repositories whose lists of referrers the registry keeps itself, as it has told. */
  readonly #keeping = new Set<string>();

  constructor(parts: AttachedParts) {
    this.#parts = parts;
    this.#fallback = new FallbackTags(parts);
    this.#found = new FoundAttached({ ...parts, fallback: this.#fallback });
  }

  /** Of an image that the target has already, what was attached to it since; of all others their manifests see to that. */
  async visitImage(next: Handler, node: ImageNode, ctx: HandlerContext): Promise<Visit> {
    const heard: Resolution[] = [];
    const report = (event: NodeEvent): void => {
      if (event.kind === 'resolved') heard.push(event);
      ctx.report(event);
    };
    const visit = await next.visit(node, { signal: ctx.signal, attempt: ctx.attempt, report });
    const resolved = heard.at(-1);
    if (resolved === undefined || visit.kind === 'skip' || visit.kind === 'later') return visit;
    const { attached, index } = this.#parts.selections.of(node);
    const { desc, from, isEqual = false } = resolved;
    if (!(isEqual && attached.fastCheck)) await this.#require(node, resolved, ctx);
    // What is attached to an index does not hold for one that was made of it.
    const isMade = index === 'strip' && from !== undefined;
    const looks = visit.kind === 'leaf' && isEqual && !attached.fastCheck && !isMade;
    const found = looks ? await this.#missing(node, desc.digest, ctx) : NOTHING;
    return withFound(visit, node, { subject: desc.digest, found }, attached);
  }

  /** One that is there already may have been put there without what is attached to it. */
  async visitManifest(next: Handler, node: ContentNode, ctx: HandlerContext): Promise<Visit> {
    const visit = await next.visit(node, ctx);
    if (visit.kind === 'skip' || visit.kind === 'later') return visit;
    const subject = node.desc.digest;
    const { attached } = this.#parts.selections.of(node);
    // An index that is there is looked into, and leaves nothing to put.
    const isThere = visit.kind === 'leaf' || visit.carry === undefined;
    const found = await (isThere
      ? this.#missing(node, subject, ctx)
      : this.#found.wanted(node, subject, attached, ctx));
    return withFound(visit, node, { subject, found }, attached);
  }

  async settle(next: Handler, node: ImageNode | ContentNode, ctx: SettleContext): Promise<Settled> {
    const { signal, attempt, children, round } = ctx;
    const { own, inner } = splitCarry(ctx.carry);
    const report = ctx.report.bind(ctx);
    // What stands below an image that was equal is attached to it: its root is not among that.
    if (node.kind === 'manifest' || own === undefined) {
      const settled = await next.settle?.(node, { signal, attempt, report, children, carry: inner, round });
      if (settled !== undefined && settled.children.length > 0) return settled;
    }
    if (own !== undefined) await this.#attach(node, own, ctx);
    return undefined;
  }

  /** What the source has and the target lacks. */
  async #missing(node: ImageNode | ContentNode, subject: Digest, ctx: HandlerContext): Promise<Found> {
    const { target } = node;
    const { attached } = this.#parts.selections.of(node);
    const { referrerTarget = target } = attached;
    const found = await this.#found.wanted(node, subject, attached, ctx);
    const listed = async (): Promise<readonly Descriptor[]> =>
      atTarget(subject, () => this.#found.referrers(referrerTarget, subject, ctx));
    const there = found.referrers.length === 0 ? [] : await listed();
    const known = new Set(there.map(({ digest }) => digest));
    const pusher = this.#parts.resolver.pusher(target);
    const means = await Promise.all(found.tags.map(({ tag }) => pusher.lookup(tag, ctx)));
    return {
      referrers: found.referrers.filter(({ digest }) => !known.has(digest)),
      tags: found.tags.filter(({ desc }, i) => means[i] !== desc.digest),
    };
  }

  /** @throws GantryError NOT_FOUND when nothing of a type is attached that has to be; nothing has been sent by then */
  async #require(node: ImageNode, { desc, from = desc.digest }: Resolution, ctx: HandlerContext): Promise<void> {
    const { attached } = this.#parts.selections.of(node);
    const { require } = attached;
    if (require.length === 0) return;
    const types = new Set<string>();
    // Who signs an index of which one entry is copied may have signed either.
    for (const digest of new Set([from, desc.digest])) {
      for (const type of await this.#found.types(node.source, digest, attached, ctx)) types.add(type);
    }
    const missing = require.find((glob) => ![...types].some((type) => fitsGlob(glob, type)));
    if (missing === undefined) return;
    const has = types.size === 0 ? 'nothing is attached to it' : `it has ${[...types].slice(0, 8).join(', ')}`;
    throw new GantryError('NOT_FOUND', `${node.name} has no artifact of type ${missing}, which is required`, {
      origin: 'user',
      digest: from,
      hint: `${has}; nothing was copied`,
    });
  }

  /** Once all that is attached is there: its tags, and the list of referrers where the registry keeps none. */
  async #attach(node: NodeScope, { subject, found }: OwnCarry, ctx: HandlerContext): Promise<void> {
    const { resolver, manifests, selections } = this.#parts;
    const { target } = node;
    const { tags, referrers } = found;
    for (const { tag, desc } of tags) {
      const bytes = await manifests.readAtTarget(resolver.fetcher(target), desc, ctx);
      await resolver.pusher(target).putManifest(desc, bytes, { signal: ctx.signal, tag });
    }
    const { referrerTarget = target } = selections.of(node).attached;
    if (referrers.length === 0) return;
    await atTarget(subject, async () => {
      if (await this.#keepsLists(referrerTarget, subject, ctx)) return;
      await this.#fallback.add(referrerTarget, subject, referrers, ctx);
    });
  }

  /** Registries that list referrers are those that answer OCI-Subject (distribution-spec, "Pushing Manifests with Subject"). */
  async #keepsLists(target: string, subject: Digest, ctx: HandlerContext): Promise<boolean> {
    if (this.#keeping.has(target)) return true;
    const lists = this.#parts.resolver.lists?.(target);
    // Twice, since a registry may not know yet of a repository that was made a moment ago. That it has no lists it says, and costs, once.
    const listed = (await lists?.referrers(subject, ctx)) ?? (await lists?.referrers(subject, ctx));
    if (listed !== undefined) this.#keeping.add(target);
    return listed !== undefined;
  }
}

/** A visit with what was found among the children. */
function withFound(visit: Visit, node: NodeScope, own: OwnCarry, attached: AttachedSelection): Visit {
  if (visit.kind !== 'leaf' && visit.kind !== 'expand') return visit;
  const { referrers, tags } = own.found;
  if (referrers.length + tags.length === 0 && visit.kind === 'leaf') return visit;
  const { children, carry } = visit.kind === 'expand' ? visit : { children: [], carry: undefined };
  const { referrerSource: source = node.source, referrerTarget: target = node.target } = attached;
  const isElsewhere = source !== node.source || target !== node.target;
  const scope = isElsewhere ? { scope: { source, target } } : {};
  const more: readonly Child[] = [
    ...referrers.map((desc) => ({ ...manifestOf(desc), ...scope })),
    ...tags.map(({ desc }) => manifestOf(desc)),
  ];
  const both = joinCarry(more.length === 0 ? undefined : own, carry);
  return { kind: 'expand', children: [...children, ...more], ...(both === undefined ? {} : { carry: both }) };
}

/** Annotations are for lists alone: what a node is must not depend on who tells of it. */
const manifestOf = ({ mediaType, digest, size }: Descriptor): Child => ({
  kind: 'manifest',
  desc: { mediaType, digest, size },
});
