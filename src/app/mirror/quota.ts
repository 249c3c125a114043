/** Leaves a source registry some of what it allows: `ratelimit` of a rule. */
import type { Middleware } from '../../flow/handler.ts';
import type { MirrorRule } from '../../mirror/file/types.ts';
import { registryOf } from '../../oci/location.ts';
import type { JobItem } from './job.ts';

export interface Reserve {
  /** Requests that have to be left for a copy to begin. */
  readonly min: number;
  /** When to look again. */
  readonly retryMs: number;
}

/** By source repository; of several rules the one that leaves the most. */
export function reservesOf(items: readonly JobItem[], rules: readonly MirrorRule[]): ReadonlyMap<string, Reserve> {
  const said = new Map(rules.flatMap(({ id, rateLimit }) => (rateLimit === undefined ? [] : [[id, rateLimit]])));
  const found = new Map<string, Reserve>();
  for (const { rule, root } of items) {
    const reserve = said.get(rule);
    if (reserve !== undefined && (found.get(root.source)?.min ?? 0) < reserve.min) found.set(root.source, reserve);
  }
  return found;
}

export interface ReserveParts {
  readonly reserves: ReadonlyMap<string, Reserve>;
  /** What a registry has last told of what is left. */
  readonly remaining: (registry: string) => number | undefined;
  /** Told once for each wait of a registry. */
  readonly tell: (message: string) => void;
}

/**
 * An image that differs waits until its source has enough left, and is then compared anew, which tells what is left by then. What it wraps
 * must not read a manifest to compare: that would be counted each time.
 */
export function reserved({ reserves, remaining, tell }: ReserveParts): Middleware {
  const quietUntil = new Map<string, number>();
  return (next) => ({
    visit: async (node, ctx) => {
      const visit = await next.visit(node, ctx);
      const reserve = reserves.get(node.source);
      if (node.kind !== 'image' || visit.kind !== 'expand' || reserve === undefined) return visit;
      const registry = registryOf(node.source);
      const left = remaining(registry);
      if (left === undefined || left >= reserve.min) return visit;
      const reason = `${registry} has ${left} requests left, and ratelimit.min is ${reserve.min}`;
      const now = performance.now();
      if ((quietUntil.get(registry) ?? 0) <= now) {
        quietUntil.set(registry, now + reserve.retryMs);
        tell(`${reason}: looking again in ${Math.ceil(reserve.retryMs / 60_000)} min`);
      }
      return { kind: 'later', afterMs: reserve.retryMs, reason };
    },
    settle: async (node, ctx) => next.settle?.(node, ctx),
  });
}
