/** The only reader of what a handler answers; every dispatcher handles its nodes through these two functions. */
import { asGantryError, GantryError } from '../errors.ts';
import {
  type Child,
  type Handler,
  type HandlerContext,
  type Node,
  nodeLabel,
  type SettleContext,
  type Visit,
} from './handler.ts';

/** Bounds on what a source may make us do. An image index nested deeper, or wider, than these is an attack or an accident. */
export interface GraphLimits {
  /** Levels below a root. */
  readonly maxDepth: number;
  readonly maxChildren: number;
}

export const DEFAULT_LIMITS: GraphLimits = { maxDepth: 8, maxChildren: 10_000 };

/** No handler may ask to be left alone for longer; a busy ref key is looked at again at least this often. */
const MAX_LATER_MS = 60_000;

/**
 * Visits a node and checks the answer, so that no dispatcher acts on an impossible one. `depth` is that of the node.
 * @throws GantryError whatever the handler threw, TOO_LARGE when the answer is beyond the limits
 */
export async function visitStep(handler: Handler, node: Node, ctx: HandlerContext, where: Where): Promise<Visit> {
  const visit = await guarded(() => handler.visit(node, ctx), ctx.signal);
  if (visit.kind === 'later') {
    return { ...visit, afterMs: visit.afterMs > 1 ? Math.min(MAX_LATER_MS, visit.afterMs) : 1 };
  }
  if (visit.kind !== 'expand') return visit;
  return { ...visit, children: withinLimits(node, visit.children, where) };
}

interface Where {
  readonly depth: number;
  readonly limits: GraphLimits;
}

function withinLimits(node: Node, listed: readonly Child[], { depth, limits }: Where): Child[] {
  const children = distinct(listed);
  if (children.length > limits.maxChildren) {
    throw tooLarge(node, `has ${children.length} children, at most ${limits.maxChildren}`);
  }
  if (children.length > 0 && depth >= limits.maxDepth) {
    throw tooLarge(node, `is nested deeper than ${limits.maxDepth} levels`);
  }
  return children;
}

const tooLarge = (node: Node, what: string): GantryError =>
  new GantryError('TOO_LARGE', `${nodeLabel(node)} ${what}`, {
    origin: 'source',
    ...(node.kind === 'image' ? {} : { digest: node.desc.digest }),
  });

/** After so many rounds of further children a node is not coming to an end. */
const MAX_ROUNDS = 8;

/**
 * Settles a node whose children have all finished. Answers the further children that have to be handled before it is
 * settled again; none when it is done.
 */
export async function settleStep(handler: Handler, node: Node, ctx: SettleContext, where: Where): Promise<Child[]> {
  if (handler.settle === undefined) return [];
  const settle = handler.settle.bind(handler);
  const settled = await guarded(() => settle(node, ctx), ctx.signal);
  if (settled === undefined || settled.children.length === 0) return [];
  if (ctx.round < MAX_ROUNDS) return withinLimits(node, settled.children, where);
  throw new GantryError('INTERNAL', `${nodeLabel(node)} wants further children again and again`);
}

async function guarded<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    signal.throwIfAborted();
    return await work();
  } catch (err) {
    // Whatever breaks while we are being stopped broke because of that.
    if (signal.aborted) throw new GantryError('CANCELLED', 'cancelled', { cause: err });
    throw asGantryError(err);
  }
}

function distinct(children: readonly Child[]): Child[] {
  const seen = new Set<string>();
  return children.filter((child) => {
    const before = seen.size;
    return seen.add(`${child.kind} ${child.desc.digest} ${child.scope?.target ?? ''}`).size > before;
  });
}
