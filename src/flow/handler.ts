/**
 * The shape of containerd's image handlers, with a second half: `visit` before a node's children, `settle` after all of
 * them. Handlers know what a node means; dispatchers know when and where it is handled.
 */
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { registryOf } from '../oci/location.ts';

/** Content and where it stands in a graph. That follows from position, never from a media type: see oci/manifest.ts. */
export interface Child {
  /**
   * manifest, blob: what it is. upload: a blob that has to come to one repository by itself, because the registry does not let
   * its repositories share it.
   */
  readonly kind: 'manifest' | 'blob' | 'upload';
  readonly desc: Descriptor;
  /** Where it is read from and goes to, with all that is below, when not as its parent. */
  readonly scope?: Pick<NodeScope, 'source' | 'target'>;
}

/** What a node shares with its whole sub-graph. */
export interface NodeScope {
  /** The repository to read from, `host[:port]/path`. */
  readonly source: string;
  /** Where content goes: the id of a store, or a repository, `host[:port]/path`. */
  readonly target: string;
  /** What was selected, as text: two selections of one index are two nodes. Empty: everything. */
  readonly selection: string;
}

/** A root: one image of a run, known by its reference until its visit has resolved it. */
export interface ImageNode extends NodeScope {
  readonly kind: 'image';
  /** The normalised reference. */
  readonly name: string;
  /** The tag that it gets in a repository; absent where it goes by its digest, or to a store, which takes the name. */
  readonly tag?: string;
  /** The tag there, or the name elsewhere, for what the tag has meant before, when that changes. */
  readonly backup?: string;
}

export interface ContentNode extends NodeScope, Child {}

export type Node = ImageNode | ContentNode;

/** What `visit` may answer. */
export type Visit =
  /** Nothing below. Content that is here already is a leaf, never a skip: it says nothing about anybody's children. */
  | { readonly kind: 'leaf' }
  /** `carry` is handed to settle: what would have to be read again there. */
  | { readonly kind: 'expand'; readonly children: readonly Child[]; readonly carry?: string }
  /** containerd's SkipDesc: do not descend below this node and do not settle it; its siblings go on. */
  | { readonly kind: 'skip'; readonly reason: string }
  /** Busy: visit again after so many milliseconds; no slot is held meanwhile. */
  | { readonly kind: 'later'; readonly afterMs: number; readonly reason: string };

/** Something that happened to a node, for progress and counters. Bytes count from the start of the content. */
export type NodeEvent =
  /**
   * `isEqual`: what the image is called at the target means the same already. `was`: what it means there, where it does. `from`: what
   * the reference means at the source, where that is something else than what the image will be.
   */
  | {
      readonly kind: 'resolved';
      readonly desc: Descriptor;
      readonly isEqual?: boolean;
      readonly was?: Digest;
      readonly from?: Digest;
    }
  | { readonly kind: 'progress'; readonly offset: number }
  /** The content has come to its target over the wire. */
  | { readonly kind: 'fetched'; readonly bytes: number }
  /** It was there. */
  | { readonly kind: 'present' }
  /** The target took it from another of its repositories. */
  | { readonly kind: 'mounted' }
  | { readonly kind: 'waiting'; readonly reason: string };

export interface HandlerContext {
  readonly signal: AbortSignal;
  /** How many times this visit has been tried before: 0 the first time, more after `later`. */
  readonly attempt: number;
  report(event: NodeEvent): void;
}

export interface SettleContext extends HandlerContext {
  /** What the visit of this node answered as its children, and what earlier rounds of settle have added. */
  readonly children: readonly Child[];
  /** What the visit has left for settle; empty when nothing. */
  readonly carry: string;
  /** How many times settle has answered further children for this node. */
  readonly round: number;
}

/** What `settle` may answer: nothing, or further children, after which it is called again. */
export type Settled = undefined | { readonly kind: 'expand'; readonly children: readonly Child[] };

/** Both halves may run twice for one node, also at the same time; both are idempotent. */
export interface Handler {
  visit(node: Node, ctx: HandlerContext): Promise<Visit>;
  settle?(node: Node, ctx: SettleContext): Promise<Settled | void>;
}

export type Middleware = (next: Handler) => Handler;

/** What repositories of one registry have in common: a blob that one of them has need not come over the wire for another. */
export const placeOf = (target: string): string => registryOf(target);

/**
 * Names a node within a run: the same content for the same target is one node, whichever image wants it and wherever
 * it is read from. Blobs go to a store or a registry once; manifests to each repository.
 */
export function nodeKey(node: Node): string {
  const { target, selection } = node;
  if (node.kind === 'image') return `image ${target} ${node.tag ?? ''} ${node.name} ${selection}`;
  const { digest } = node.desc;
  if (node.kind === 'blob') return `blob ${placeOf(target)} ${digest}`;
  return node.kind === 'upload' ? `upload ${target} ${digest}` : `manifest ${target} ${digest} ${selection}`;
}

/** Whether a node that is done is handled again when it is wanted again: who wants an upload has seen that its blob is missing. */
export const isRepeatable = ({ kind }: Node): boolean => kind === 'upload';

/** The node of a child: it inherits its parent's scope, as far as it has none of its own. */
export const childNode = (parent: Node, child: Child): ContentNode => ({
  kind: child.kind,
  desc: child.desc,
  source: child.scope?.source ?? parent.source,
  target: child.scope?.target ?? parent.target,
  selection: parent.selection,
});

/** A short name for messages and progress. */
export function nodeLabel(node: Node): string {
  if (node.kind !== 'image') return node.desc.digest;
  return isRepository(node.target) ? `${node.name} -> ${targetName(node)}` : node.name;
}

/** Whether a target is a repository: the id of a store has no slash. */
export const isRepository = (target: string): boolean => target.includes('/');

/** What an image is called in the repository that it goes to. */
const targetName = ({ target, tag }: ImageNode): string => (tag === undefined ? target : `${target}:${tag}`);

/** Which of a registry's two kinds of URL serves a node's content. */
export const contentKindOf = ({ kind }: Child): 'manifest' | 'blob' => (kind === 'manifest' ? 'manifest' : 'blob');
