import type { Child, Handler } from './handler.ts';

/**
 * Runs handlers one after another as one: the children they answer are concatenated, the first `later` or `skip` ends
 * the visit with that answer, and settles run in the same order.
 */
export function sequence(...handlers: readonly Handler[]): Handler {
  return {
    async visit(node, ctx) {
      let children: readonly Child[] = [];
      for (const handler of handlers) {
        const visit = await handler.visit(node, ctx);
        if (visit.kind === 'later' || visit.kind === 'skip') return visit;
        if (visit.kind === 'expand') children = children.concat(visit.children);
      }
      return children.length === 0 ? { kind: 'leaf' } : { kind: 'expand', children };
    },
    async settle(node, ctx) {
      for (const handler of handlers) await handler.settle?.(node, ctx);
    },
  };
}
