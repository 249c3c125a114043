/** The short forms: one handler over some roots, without a run. */
import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { DispatchOptions } from './dispatcher.ts';
import { childNode, type Handler, type HandlerContext, type Node, nodeKey, type Visit } from './handler.ts';
import { LocalDispatcher } from './local-dispatcher.ts';
import { DEFAULT_LIMITS, type GraphLimits, settleStep, visitStep } from './step.ts';

/** A root for content that is already known by its descriptor. */
export const rootNode = (
  desc: Descriptor,
  scope: Partial<Pick<Node, 'source' | 'target' | 'selection'>> = {},
): Node => ({
  kind: 'manifest',
  desc,
  source: scope.source ?? '',
  target: scope.target ?? '',
  selection: scope.selection ?? '',
});

/**
 * Visits roots and all that is below them, one after another and depth first, as containerd's images.Walk; each node is
 * settled after its children, and a node that stands in several places is handled once. The first error ends it.
 * @throws GantryError of the first failing node
 */
export async function walk(
  handler: Handler,
  roots: readonly Node[],
  opts: CallOptions & { limits?: GraphLimits },
): Promise<void> {
  const limits = opts.limits ?? DEFAULT_LIMITS;
  const finished = new Set<string>();
  const one = async (node: Node, depth: number): Promise<void> => {
    // Without this, levels that share their entries would multiply.
    if (finished.has(nodeKey(node))) return;
    await handle(node, depth);
    finished.add(nodeKey(node));
  };
  const handle = async (node: Node, depth: number): Promise<void> => {
    for (let attempt = 0; ; attempt += 1) {
      const ctx: HandlerContext = { signal: opts.signal, attempt, report: () => undefined };
      const visit = await visitStep(handler, node, ctx, { depth, limits });
      if (visit.kind === 'skip') return;
      if (visit.kind === 'later') {
        await sleep(visit.afterMs, opts.signal).catch(() => undefined); // an abort is told by the next visit
        continue;
      }
      await below(node, depth, visit, ctx);
      return;
    }
  };
  const below = async (node: Node, depth: number, visit: Visit, ctx: HandlerContext): Promise<void> => {
    const { children: first = [], carry = '' } = visit.kind === 'expand' ? visit : {};
    let children = first;
    let more = first;
    for (let round = 0; ; round += 1) {
      for (const child of more) await one(childNode(node, child), depth + 1);
      more = await settleStep(handler, node, { ...ctx, children, carry, round }, { depth, limits });
      if (more.length === 0) return;
      children = [...children, ...more];
    }
  };
  for (const root of roots) await one(root, 0);
}

/**
 * Visits roots and all that is below them in parallel, as containerd's images.Dispatch; each node is settled after its
 * children, and a node that stands in several places is handled once.
 * @throws GantryError of the first root that failed, after everything has stopped
 */
export async function dispatch(
  handler: Handler,
  roots: readonly Node[],
  opts: DispatchOptions & { concurrency?: number; limits?: GraphLimits },
): Promise<void> {
  const { concurrency = 8, limits = DEFAULT_LIMITS, ...rest } = opts;
  const dispatcher = new LocalDispatcher({ handler, concurrency, limits });
  const { images } = await dispatcher.dispatch({ id: 'dispatch', roots }, rest);
  const bad = images.find((image) => image.state !== 'done');
  if (bad !== undefined) throw bad.error ?? new GantryError('INTERNAL', 'an image ended without an error');
}
