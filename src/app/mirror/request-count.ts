/** How many requests a run costs: what a registry counts against a quota is told apart; and what it says is left. */
import type { RegistryObserver, RequestKind } from '../../remote/observer.ts';

export interface RequestCount {
  readonly registry: string;
  readonly head: number;
  /** What Docker Hub counts. */
  readonly manifestGets: number;
  /** Pages of tags, referrers and repositories. */
  readonly lists: number;
  readonly other: number;
}

type Counted = Exclude<keyof RequestCount, 'registry'>;

export class RequestCounter implements RegistryObserver {
  readonly #counts = new Map<string, Record<Counted, number>>();
  readonly #remaining = new Map<string, number>();

  request(registry: string, method: string, _status: number | 'error', _seconds: number, kind: RequestKind): void {
    const counts = this.#counts.get(registry) ?? { head: 0, manifestGets: 0, lists: 0, other: 0 };
    counts[countedAs(method, kind)] += 1;
    this.#counts.set(registry, counts);
  }

  /** What a registry has last told of what is left of its limit. */
  remaining(registry: string): number | undefined {
    return this.#remaining.get(registry);
  }

  /** In the order in which registries were first asked. */
  get counts(): RequestCount[] {
    return [...this.#counts].map(([registry, counts]) => ({ registry, ...counts }));
  }

  bytes(): void {
    // only requests are counted
  }

  retry(): void {
    // each try is a request of its own
  }

  rateLimit(registry: string, _limit: number, remaining: number): void {
    this.#remaining.set(registry, remaining);
  }

  stall(): void {
    // only requests are counted
  }
}

function countedAs(method: string, kind: RequestKind): Counted {
  if (method === 'HEAD') return 'head';
  if (method !== 'GET') return 'other';
  if (kind === 'manifests') return 'manifestGets';
  return kind === 'lists' ? 'lists' : 'other';
}
