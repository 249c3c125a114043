/**
 * Heals what nobody else does: a ticket that is not there although the graph waits for it (an operator emptied a queue, BullMQ gave it
 * up), a worker that died with the last ticket of a run that is over. One process at a time sweeps all runs, whether they move or not.
 */
import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import { RunGraph } from './graph.ts';
import { laneOf, readRecord, settleLaneOf } from './record.ts';
import { count } from './script.ts';
import { hold, letGo } from './scripts/lease.ts';
import { type Ticket, ticketId, type Tickets, visitTicket } from './tickets.ts';

/** Nodes of each run looked at in one tick: bounded, because a queue with a million tickets must not stop for a sweep. */
const SLICE = 1_000;
const DUTY_MS = 30_000;

export class Reconciler {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #tickets: Tickets;
  readonly #who: string;
  /** Where the sweep of each run goes on. */
  readonly #next = new Map<string, number>();

  constructor(redis: Redis, keys: Keys, tickets: Tickets, who: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#tickets = tickets;
    this.#who = who;
  }

  /** Looks at a slice of every open run, if this is ours to do. */
  async tick(): Promise<void> {
    const duty = this.#keys.duty('sweep');
    if (count(await hold.run(this.#redis, duty, [this.#who, DUTY_MS])) !== 1) return;
    const open = await this.#redis.smembers(this.#keys.open);
    for (const run of this.#next.keys()) if (!open.includes(run)) this.#next.delete(run);
    for (const run of open) await this.#sweep(run);
    await this.#forgetExpired();
  }

  /** For whoever closes: another takes over at once. */
  async leave(): Promise<void> {
    await letGo.run(this.#redis, this.#keys.duty('sweep'), [this.#who]);
  }

  async #sweep(run: string): Promise<void> {
    const key = this.#keys.run(run);
    if ((await this.#redis.exists(`${key}:m`)) === 0) {
      await this.#redis.srem(this.#keys.open, run);
      return;
    }
    const graph = new RunGraph(this.#redis, key, run);
    const next = await graph.sweep(this.#next.get(run) ?? 1, SLICE);
    this.#next.set(run, next === 0 ? 1 : next);
    if ((await this.#redis.hget(`${key}:m`, 'st')) !== 'running') await this.#unhand(run, graph);
  }

  /** A run that is over waits for those who had something in hand; a worker that died with it never says that it is done. */
  async #unhand(run: string, graph: RunGraph): Promise<void> {
    const nodes = await graph.inHand();
    const gone: string[] = [];
    for (const node of nodes) if (!(await this.#hasTicket(run, node))) gone.push(node);
    await graph.unhand(gone);
  }

  async #hasTicket(run: string, node: string): Promise<boolean> {
    const [record, added] = await this.#redis.hmget(`${this.#keys.run(run)}:n`, node, `${node}o`);
    if (record === null || record === undefined) return false;
    const of = readRecord(record).node;
    if (await this.#isThere(laneOf(of), visitTicket(run, node))) return true;
    for (let round = 0; round <= Number(added ?? 0); round += 1) {
      if (await this.#isThere(settleLaneOf(of), { run, node, phase: 'settle', round })) return true;
    }
    return false;
  }

  async #isThere(lane: string, ticket: Ticket): Promise<boolean> {
    return (await this.#tickets.queue(lane).getJob(ticketId(ticket))) !== undefined;
  }

  async #forgetExpired(): Promise<void> {
    for (const run of await this.#redis.zrange(this.#keys.runs, '0', '99')) {
      if ((await this.#redis.exists(`${this.#keys.run(run)}:m`)) === 0) await this.#redis.zrem(this.#keys.runs, run);
    }
  }
}
