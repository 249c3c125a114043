/** The graph of one run in Redis. Each method is one atomic, idempotent script; see scripts/graph.ts for the keys. */
import type { Redis } from 'ioredis';
import { count, items, type Reply, text, texts } from './script.ts';
import { add, MAX_CHILDREN_A_CALL } from './scripts/add.ts';
import { begin } from './scripts/begin.ts';
import { done, fail, release, reroute, ways } from './scripts/finish.ts';
import { sweep, unhand, unwanted } from './scripts/run.ts';
import type { Moved } from './ticket-report.ts';
import type { Ticket } from './tickets.ts';

/** What a worker holds while it handles a node. */
export interface Hold {
  readonly node: string;
  /** The ticket, as the owner of a lease. */
  readonly owner: string;
  /** See leaseOf in record.ts; empty without a lease. */
  readonly lease: string;
  readonly fence: string;
}

export type Begun =
  | {
      readonly state: 'go';
      readonly phase: Ticket['phase'];
      readonly record: string;
      readonly watched: boolean;
      /** Tries that failed. */
      readonly tries: number;
      readonly fence: string;
      /** What is left for the settle; see payload.ts. */
      readonly payload: string;
      /** How many times settle has added children. */
      readonly round: number;
      /** Since another ticket was first found to hold its lease, by the clock of Redis; undefined when none did. */
      readonly waitedMs: number | undefined;
    }
  | { readonly state: 'busy'; readonly holder: string }
  /** The registry that the content would go to wants to be left alone, or its lane is paused. */
  | { readonly state: 'blocked'; readonly afterMs: number }
  | { readonly state: 'gone' | 'stale' | 'dead' };

export type Added =
  | { readonly state: 'ready' }
  /** What was held is given up. */
  | { readonly state: 'open'; readonly parked: readonly string[] }
  | { readonly state: 'broken'; readonly error: string; readonly isHungry: boolean }
  | { readonly state: 'cycle'; readonly index: number }
  | { readonly state: 'late' };

/** Of children, for the settle after them, and for whoever listens. */
export interface AddOptions {
  readonly resolved: string;
  readonly payload: string;
  /** In which the children are visited; empty: each in its own, which the workers may not know yet. */
  readonly lane: string;
  readonly watched: boolean;
  /** 0: of the visit; else of a settle, the round that follows. */
  readonly round: number;
  /** In which a node that is ready gets its ticket; empty: the caller settles it at once. */
  readonly settleLane: string;
  readonly moved: Moved;
}

export type ChildRecord = readonly [key: string, record: string];

export interface Finished {
  /** The run wants further images to be handed to the workers. */
  readonly isHungry: boolean;
  /** Tickets that waited for the lease. */
  readonly parked: readonly string[];
}

export class RunGraph {
  readonly id: string;
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, key: string, id: string) {
    this.#redis = redis;
    this.#key = key;
    this.id = id;
  }

  async begin(
    ticket: Ticket,
    owner: string,
    where: { readonly lane: string; readonly leaseMs: number; readonly worker: string },
  ): Promise<Begun> {
    const phase = ticket.phase === 'settle' ? 'p' : 'v';
    const args = [ticket.node, phase, owner, where.lane, where.leaseMs, where.worker];
    const reply = items(await begin.run(this.#redis, this.#key, args));
    const [state, letter, record, watched, tries, fence, payload, round, waited] = reply;
    if (state === 'busy') return { state, holder: text(letter) };
    if (state === 'blocked') return { state, afterMs: count(letter) };
    if (state !== 'go') return { state: state === 'gone' || state === 'dead' ? state : 'stale' };
    return {
      state,
      phase: letter === 'p' ? 'settle' : 'visit',
      record: text(record),
      watched: count(watched) === 1,
      tries: count(tries),
      fence: text(fence),
      payload: text(payload),
      round: count(round),
      waitedMs: count(waited) < 0 ? undefined : count(waited),
    };
  }

  /** Hangs all children below a node, in as many calls as it takes, with their tickets. */
  async add(hold: Hold, options: AddOptions, children: readonly ChildRecord[]): Promise<Added> {
    const { resolved, payload, lane, watched, round, settleLane, moved } = options;
    const head = [lane, watched ? '1' : '0', round, settleLane, moved.bytes, moved.mounted];
    for (let first = 0; ; first += MAX_CHILDREN_A_CALL) {
      const chunk = children.slice(first, first + MAX_CHILDREN_A_CALL);
      const isLast = first + MAX_CHILDREN_A_CALL >= children.length;
      const args = [...held(hold), resolved, payload, isLast ? '1' : '0', ...head, ...chunk.flat()];
      const [state, detail, hungry] = items(await add.run(this.#redis, this.#key, args));
      if (state === 'ready') return { state };
      if (state === 'open') return { state, parked: texts(detail) };
      if (state === 'broken') return { state, error: text(detail), isHungry: count(hungry) === 1 };
      if (state === 'cycle') return { state, index: first + count(detail) };
      if (state !== 'more') return { state: 'late' };
    }
  }

  /** @param what `skipped` says why it was, or is empty. Undefined when the node was not ours to finish any more. */
  async done(
    hold: Hold,
    what: Moved & { readonly skipped: string; readonly resolved: string },
  ): Promise<Finished | undefined> {
    const args = [...held(hold), what.resolved, what.bytes, what.skipped, what.mounted];
    return finished(await done.run(this.#redis, this.#key, args));
  }

  async fail(
    hold: Hold,
    failure: { readonly memory: string; readonly error: string; readonly resolved: string },
  ): Promise<Finished | undefined> {
    const args = [...held(hold), failure.resolved, failure.memory, failure.error];
    return finished(await fail.run(this.#redis, this.#key, args));
  }

  /** Puts a node down unfinished. Answers the tickets that waited for the lease. */
  async release(hold: Hold, hasFailed: boolean): Promise<string[]> {
    return texts(await release.run(this.#redis, this.#key, [...held(hold), hasFailed ? '1' : '0']));
  }

  /** Records of the other ways to a node's content. */
  async waysOf(node: string): Promise<string[]> {
    const lines = text(await ways.run(this.#redis, this.#key, [node]));
    return lines.split('\n').filter((line) => line !== '');
  }

  async reroute(node: string, record: string, left: readonly string[]): Promise<boolean> {
    const args = [node, record, left.map((line) => `${line}\n`).join('')];
    return count(await reroute.run(this.#redis, this.#key, args)) === 1;
  }

  /** Which of these nobody wants any more; all of them when the run is over. */
  async unwanted(nodes: readonly string[]): Promise<Set<string>> {
    const [state, ...dead] = texts(await unwanted.run(this.#redis, this.#key, nodes));
    return new Set(state === 'running' ? dead : nodes);
  }

  /** Adds lost tickets for a slice of the nodes. Answers where to go on; 0 at the end. */
  async sweep(first: number, limit: number): Promise<number> {
    return count(await sweep.run(this.#redis, this.#key, [first, limit]));
  }

  /** Ids that some worker is noted to have in hand. */
  async inHand(): Promise<string[]> {
    return this.#redis.smembers(`${this.#key}:a`);
  }

  async unhand(nodes: readonly string[]): Promise<void> {
    await unhand.run(this.#redis, this.#key, nodes);
  }
}

const held = ({ node, lease, owner, fence }: Hold): string[] => [node, lease, owner, fence];

function finished(reply: Reply): Finished | undefined {
  const [state, hungry, parked] = items(reply);
  if (state !== 'ok') return undefined;
  return { isHungry: count(hungry) === 1, parked: texts(parked) };
}
