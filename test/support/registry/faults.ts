import type { Answer, Asked } from './answer.ts';
import { type Filter, fits, type LogEntry } from './log.ts';
import type { Reading } from './request-body.ts';

/** Edits an answer before it is sent. Effects compose: each sees what those before it made. */
export type Effect = (answer: Answer, asked: Asked) => void;

export interface Match extends Omit<Filter, 'status'> {
  /** Only the n-th request (from 1) that fits the rest. */
  readonly nth?: number;
  /** Also requests that authentication turns down. Otherwise a fault meets only those that it lets through. */
  readonly beforeAuth?: boolean;
}

export interface FaultOrder {
  readonly match?: Match;
  /** How often; for ever unless said. */
  readonly times?: number;
  readonly do: Effect | readonly Effect[];
  /** What the request asks for does not happen. Otherwise it does, and only the answer is another one. */
  readonly unserved?: boolean;
  /** How the body of the request is read. */
  readonly reading?: Reading;
  /** Called before the request is served: the place to lose an upload. */
  readonly first?: () => void;
}

export interface OrderedFault extends Disposable {
  /** How often it was applied. */
  readonly hits: number;
  remove(): void;
}

interface Standing {
  readonly order: FaultOrder;
  seen: number;
  hits: number;
}

/** The faults that a test ordered. */
export class Faults {
  readonly #standing = new Set<Standing>();

  order(order: FaultOrder): OrderedFault {
    const standing: Standing = { order, seen: 0, hits: 0 };
    const remove = (): void => void this.#standing.delete(standing);
    this.#standing.add(standing);
    return {
      get hits() {
        return standing.hits;
      },
      remove,
      [Symbol.dispose]: remove,
    };
  }

  clear(): void {
    this.#standing.clear();
  }

  /** The faults for a request, in the order in which they were ordered. Uses them up. */
  take(entry: LogEntry, authorized: boolean): FaultOrder[] {
    const taken: FaultOrder[] = [];
    for (const standing of this.#standing) {
      const { match = {}, times = Infinity } = standing.order;
      if (!authorized && match.beforeAuth !== true) continue;
      if (!fits(entry, match)) continue;
      standing.seen += 1;
      if (match.nth !== undefined && match.nth !== standing.seen) continue;
      if (standing.hits >= times) continue;
      standing.hits += 1;
      taken.push(standing.order);
    }
    return taken;
  }
}
