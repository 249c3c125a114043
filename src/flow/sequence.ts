import type { Child, Handler, Settled } from './handler.ts';

/**
 * Runs handlers one after another as one: the children they answer are concatenated, the first `later` or `skip` ends
 * the visit with that answer, and settles run in the same order. One of them may leave something for its settle.
 */
export function sequence(...handlers: readonly Handler[]): Handler {
  return {
    async visit(node, ctx) {
      let children: readonly Child[] = [];
      let carry: string | undefined;
      for (const handler of handlers) {
        const visit = await handler.visit(node, ctx);
        if (visit.kind === 'later' || visit.kind === 'skip') return visit;
        if (visit.kind !== 'expand') continue;
        children = children.concat(visit.children);
        carry ??= visit.carry;
      }
      if (children.length === 0 && carry === undefined) return { kind: 'leaf' };
      return { kind: 'expand', children, ...(carry === undefined ? {} : { carry }) };
    },
    async settle(node, ctx): Promise<Settled> {
      let children: readonly Child[] = [];
      for (const handler of handlers) {
        const settled = await handler.settle?.(node, ctx);
        children = children.concat(settled?.children ?? []);
      }
      return children.length === 0 ? undefined : { kind: 'expand', children };
    },
  };
}
