/**
 * The shape of containerd's image handlers, with a second half: `visit` before a node's children, `settle` after all of
 * them. Handlers know what a node means; dispatchers know when and where it is handled.
 */
import type { Descriptor } from '../oci/descriptor.ts';
import type { ManifestChild } from '../oci/manifest.ts';

/** Content and where it stands in a graph. That follows from position, never from a media type: see oci/manifest.ts. */
export type Child = ManifestChild;

/** What a node shares with its whole sub-graph. */
export interface NodeScope {
  /** The repository to read from, `host[:port]/path`. */
  readonly source: string;
  /** Where content goes: the id of a store. */
  readonly target: string;
  /** What was selected, as text: two selections of one index are two nodes. Empty: everything. */
  readonly selection: string;
}

/** A root: one image of a run, known by its reference until its visit has resolved it. */
export interface ImageNode extends NodeScope {
  readonly kind: 'image';
  /** The normalised reference. */
  readonly name: string;
}

export interface ContentNode extends NodeScope, Child {}

export type Node = ImageNode | ContentNode;

/** What `visit` may answer. */
export type Visit =
  /** Nothing below. Content that is here already is a leaf, never a skip: it says nothing about anybody's children. */
  | { readonly kind: 'leaf' }
  | { readonly kind: 'expand'; readonly children: readonly Child[] }
  /** containerd's SkipDesc: do not descend below this node and do not settle it; its siblings go on. */
  | { readonly kind: 'skip'; readonly reason: string }
  /** Busy: visit again after so many milliseconds; no slot is held meanwhile. */
  | { readonly kind: 'later'; readonly afterMs: number; readonly reason: string };

/** Something that happened to a node, for progress and counters. Bytes count from the start of the content. */
export type NodeEvent =
  | { readonly kind: 'resolved'; readonly desc: Descriptor }
  | { readonly kind: 'progress'; readonly offset: number }
  | { readonly kind: 'fetched'; readonly bytes: number }
  | { readonly kind: 'present' }
  | { readonly kind: 'waiting'; readonly reason: string };

export interface HandlerContext {
  readonly signal: AbortSignal;
  /** How many times this visit has been tried before: 0 the first time, more after `later`. */
  readonly attempt: number;
  report(event: NodeEvent): void;
}

export interface SettleContext extends HandlerContext {
  /** What the visit of this node answered as its children. */
  readonly children: readonly Child[];
}

/** Both halves may run twice for one node, also at the same time; both are idempotent. */
export interface Handler {
  visit(node: Node, ctx: HandlerContext): Promise<Visit>;
  settle?(node: Node, ctx: SettleContext): Promise<void>;
}

export type Middleware = (next: Handler) => Handler;

/**
 * Names a node within a run: the same content for the same target is one node, whichever image wants it and wherever
 * it is read from.
 */
export function nodeKey(node: Node): string {
  if (node.kind === 'image') return `image ${node.target} ${node.name} ${node.selection}`;
  if (node.kind === 'blob') return `blob ${node.target} ${node.desc.digest}`;
  return `manifest ${node.target} ${node.desc.digest} ${node.selection}`;
}

/** The node of a child: it inherits its parent's scope. */
export const childNode = (parent: Node, child: Child): ContentNode => ({
  kind: child.kind,
  desc: child.desc,
  source: parent.source,
  target: parent.target,
  selection: parent.selection,
});

/** A short name for messages and progress. */
export const nodeLabel = (node: Node): string => (node.kind === 'image' ? node.name : node.desc.digest);
