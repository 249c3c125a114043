/**
 * Tickets: the BullMQ jobs that say "handle node n of run r". They carry no content and no secret. They are added by the scripts; see
 * scripts/tickets.ts.
 */
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** Of the payload. A worker leaves what it does not know to others. */
export const TICKET_VERSION = 2;

/** Below 64 bytes, above which Redis keeps a job five times as large. `p`: settle, and which round from 1 (the only one in version 1); else visit. */
export interface TicketData {
  readonly v: number;
  readonly r: string;
  readonly n: string;
  readonly p?: number;
}

export interface Ticket {
  readonly run: string;
  readonly node: string;
  readonly phase: 'visit' | 'settle';
  /** How many times settle has added children; 0 for a visit. */
  readonly round: number;
}

export const ticketId = ({ run, node, phase, round }: Ticket): string =>
  `${run}.${node}${phase === 'settle' ? '.p' : ''}${round > 0 ? round : ''}`;

/** The ticket by which a node is visited. Its id owns what the node's tickets hold. */
export const visitTicket = (run: string, node: string): Ticket => ({ run, node, phase: 'visit', round: 0 });

export const ticketOf = ({ r, n, p }: TicketData): Ticket =>
  p === undefined ? visitTicket(r, n) : { run: r, node: n, phase: 'settle', round: p - 1 };

/** BullMQ allows no colon in the name of a queue; host names have no underscore. */
export const queueName = (lane: string): string => lane.replaceAll(':', '_');

/** The queues of all lanes, opened when they are needed. */
export class Tickets implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #queues = new Map<string, Queue<TicketData>>();

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  queue(lane: string): Queue<TicketData> {
    const known = this.#queues.get(lane);
    if (known !== undefined) return known;
    const queue = new Queue<TicketData>(queueName(lane), {
      connection: this.#redis,
      prefix: this.#keys.tag,
      // Whoever opens a queue without it sets this back to 10,000 for everybody.
      streams: { events: { maxLen: 100 } },
      skipWaitingForReady: true,
    });
    queue.on('error', () => undefined); // without a listener it would end the process; commands tell their errors themselves
    this.#queues.set(lane, queue);
    return queue;
  }

  /** Wakes parked tickets, `lane id` each. One that is not waiting any more is no loss. */
  async wake(parked: readonly string[]): Promise<void> {
    await Promise.all(parked.map((each) => this.wakeOne(each)));
  }

  /** False when it was not waiting any more, or not yet. */
  async wakeOne(parked: string): Promise<boolean> {
    const [lane = '', id = ''] = parked.split(' ');
    const job = await this.queue(lane).getJob(id);
    if (job === undefined) return false;
    return job.promote().then(
      () => true,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
    this.#queues.clear();
  }
}
