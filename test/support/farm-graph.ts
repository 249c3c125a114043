/**
 * The graph of a run in Redis, driven by hand: a test plays the workers, one script at a time. Nodes have names: those that
 * start with a capital are manifests, the rest are blobs.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { GantryError } from '../../src/errors.ts';
import type { RunStatus } from '../../src/flow/farm-status.ts';
import { type Child, childNode, type Node } from '../../src/flow/handler.ts';
import { rootNode } from '../../src/flow/walk.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { type ConnectionUse, openRedis } from '../../src/queue/connection.ts';
import { errorRecord, memoryOf } from '../../src/queue/error-record.ts';
import { FarmDispatcher } from '../../src/queue/dispatcher.ts';
import { Feeder } from '../../src/queue/feeder.ts';
import { type Added, type AddOptions, type Begun, type Finished, type Hold, RunGraph } from '../../src/queue/graph.ts';
import { Keys } from '../../src/queue/keys.ts';
import { Lanes } from '../../src/queue/lanes.ts';
import { keyOf, leaseOf, readRecord, recordOf } from '../../src/queue/record.ts';
import { Runs, type SubmitOptions } from '../../src/queue/runs.ts';
import { type Ticket, ticketId, Tickets, visitTicket } from '../../src/queue/tickets.ts';
import { type FarmTimes, FarmWorker, type FarmWorkerOptions } from '../../src/queue/worker.ts';
import { never } from './clients.ts';
import type { TestRedis } from './redis.ts';

export const SOURCE = 'registry.example/app';
export const LANE = 'registry.example';

/** Within 10 s unless said; for what has no event. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `not in time: ${condition.toString()}`);
    await sleep(10);
  }
}

export type Opened = AsyncDisposable & { readonly redis: Redis };

export async function openedRedis(server: TestRedis, use: ConnectionUse = 'worker'): Promise<Opened> {
  const redis = await openRedis({ url: server.url }, use, { signal: never });
  return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() };
}

export const childOf = (name: string): Child => {
  const isManifest = /^[A-Z]/.test(name);
  const mediaType = isManifest ? OCI_MANIFEST : OCI_LAYER;
  return {
    kind: isManifest ? 'manifest' : 'blob',
    desc: { mediaType, digest: digestOf(name), size: name.length },
  };
};

export const rootOf = (name: string, source = SOURCE, target = 'store'): Node =>
  rootNode(childOf(name).desc, { source, target });

/** For a failure that everybody may know: a name that was ordered. */
export const fault = (code: GantryError['code'], origin: GantryError['origin'] = 'source'): GantryError =>
  new GantryError(code, `${code} was ordered`, { origin });

const STATES: Readonly<Record<string, string>> = {
  w: 'wanted',
  e: 'expanding',
  x: 'waits',
  r: 'ready',
  d: 'done',
  f: 'failed',
  o: 'dropped',
};

export interface GraphOptions extends SubmitOptions {
  readonly namespace?: string;
  /** Where all of it goes; a store unless given. */
  readonly target?: string;
}

/** Of children that are added; what belongs to a visit for a store unless given. */
type Adding = Partial<AddOptions> & { readonly source?: string; readonly depth?: number; readonly target?: string };

interface Where {
  /** The owner of the lease; the ticket of this run unless given. */
  readonly owner?: string;
  readonly leaseMs?: number;
  readonly worker?: string;
}

export class HandGraph implements AsyncDisposable {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly tickets: Tickets;
  readonly runs: Runs;
  readonly feeder: Feeder;
  readonly run: string;
  readonly graph: RunGraph;
  readonly #target: string;

  private constructor(redis: Redis, namespace: string, run: string, target: string) {
    this.redis = redis;
    this.#target = target;
    this.keys = new Keys(namespace);
    this.tickets = new Tickets(redis, this.keys);
    this.runs = new Runs(redis, this.keys);
    this.feeder = new Feeder(redis, this.keys, 'feeder');
    this.run = run;
    this.graph = new RunGraph(redis, this.keys.run(run), run);
  }

  /** Submits a run with these roots, and feeds it. */
  static async open(redis: Redis, roots: readonly (string | Node)[], options: GraphOptions = {}): Promise<HandGraph> {
    const { namespace = `gantry-${randomUUID()}`, target = 'store', ...submit } = options;
    const nodes = roots.map((root) => (typeof root === 'string' ? rootOf(root, SOURCE, target) : root));
    const run = await new Runs(redis, new Keys(namespace)).submit(nodes, submit);
    const graph = new HandGraph(redis, namespace, run, target);
    await graph.feeder.feed(run);
    return graph;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tickets[Symbol.asyncDispose]();
  }

  key(letter: string): string {
    return `${this.keys.run(this.run)}:${letter}`;
  }

  /** The id of a node that the run knows, in whichever of the hashes of ids. */
  async id(name: string): Promise<string> {
    const key = keyOf(childNode(rootOf('Root', SOURCE, this.#target), childOf(name)));
    const hashes = Number(await this.redis.hget(this.key('m'), 'ib'));
    const asked = Array.from({ length: hashes }, (_, i) => this.redis.hget(this.key(`i:${i}`), key));
    return (await Promise.all(asked)).find((id) => id !== null) ?? assert.fail(`${name} is not known`);
  }

  async state(name: string): Promise<string> {
    const at = Number(await this.id(name));
    return STATES[await this.redis.getrange(this.key('s'), at, at)] ?? 'unknown';
  }

  async ticket(name: string, phase: Ticket['phase'] = 'visit', round = 0): Promise<Ticket> {
    return { run: this.run, node: await this.id(name), phase, round };
  }

  begin(ticket: Ticket, where: Where = {}): Promise<Begun> {
    const { owner = ownerOf(ticket), leaseMs = 30_000, worker = 'worker' } = where;
    return this.graph.begin(ticket, owner, { lane: LANE, leaseMs, worker });
  }

  /** Begins the visit of a node; fails when there is nothing to do. */
  async take(name: string, where: Where = {}): Promise<Hold> {
    const ticket = await this.ticket(name);
    const begun = await this.begin(ticket, where);
    assert.ok(begun.state === 'go', `${name}: ${begun.state}`);
    return holdOf(ticket, readRecord(begun.record).node, begun.fence, where.owner);
  }

  /** Hangs children below a node in hand. */
  add(hold: Hold, children: readonly string[], options: Adding = {}): Promise<Added> {
    const { source = SOURCE, depth = 1, target = this.#target, ...rest } = options;
    const none = { bytes: 0, mounted: 0 };
    const all = {
      resolved: '',
      payload: '[]',
      lane: LANE,
      watched: false,
      round: 0,
      settleLane: '',
      moved: none,
      ...rest,
    };
    const parent = rootOf('Root', source, target);
    const records = children.map((name): readonly [string, string] => {
      const child = childNode(parent, childOf(name));
      return [keyOf(child), recordOf(child, depth)];
    });
    return this.graph.add(hold, all, records);
  }

  /** The visit of a node that answers children. */
  async expand(name: string, children: readonly string[], options: Adding = {}): Promise<Added> {
    const hold = await this.take(name);
    const added = await this.add(hold, children, options);
    if (added.state !== 'open') await this.graph.release(hold, false);
    return added;
  }

  finish(hold: Hold, bytes = 1, mounted = 0): Promise<Finished | undefined> {
    return this.graph.done(hold, { bytes, mounted, skipped: '', resolved: '' });
  }

  giveUp(hold: Hold, err: GantryError): Promise<Finished | undefined> {
    const error = JSON.stringify(errorRecord(err));
    return this.graph.fail(hold, { memory: memoryOf(err), error, resolved: '' });
  }

  async done(name: string): Promise<Finished> {
    return (await this.finish(await this.take(name))) ?? assert.fail('late');
  }

  async fail(name: string, err: GantryError): Promise<Finished> {
    return (await this.giveUp(await this.take(name), err)) ?? assert.fail('late');
  }

  /** How the roots ended, by their place: `0 done`, `1 failed NETWORK`. */
  async results(): Promise<string[]> {
    const found: string[] = [];
    for await (const { index, state, error } of this.runs.results(this.run, { signal: never })) {
      found.push([index, state, ...(error === undefined ? [] : [error.code])].join(' '));
    }
    return found.toSorted();
  }

  /** The status; every image is counted once. */
  async status(): Promise<RunStatus> {
    const status = await this.runs.status(this.run);
    const { fed, open, done, failed, cancelled, total } = status.images;
    const ended = done + failed + cancelled;
    assert.equal(status.state === 'running' ? open + ended : ended, status.state === 'running' ? fed : total);
    return status;
  }

  /** Nodes whose tickets of a phase wait in a lane, the next one first. */
  async waiting(phase: Ticket['phase'], lane = LANE): Promise<string[]> {
    const jobs = await this.tickets.queue(lane).getWaiting();
    return jobs.filter(({ name }) => name === (phase === 'settle' ? 'p' : 'v')).map(({ data }) => data.n);
  }

  /** What is left of the run in Redis, by letter. */
  async left(): Promise<string[]> {
    const prefix = `${this.keys.run(this.run)}:`;
    const keys = await this.redis.keys(`${prefix}*`);
    return keys.map((key) => key.slice(prefix.length)).toSorted();
  }
}

/** What a worker holds after `begin`. */
export const holdOf = (ticket: Ticket, node: Node, fence: string, owner?: string): Hold => ({
  node: ticket.node,
  owner: owner ?? ownerOf(ticket),
  lease: node.kind === 'image' || fence === '0' ? '' : leaseOf(node),
  fence,
});

const ownerOf = ({ run, node }: Ticket): string => ticketId(visitTicket(run, node));

/** So short that a test sees what a dead worker held go to others. */
export const SHORT: FarmTimes = { lockMs: 2_000, stalledMs: 500, leaseMs: 2_000, sweepMs: 300, tickMs: 100 };

/** Workers in this process, each with a connection of its own. */
export class HandFarm implements AsyncDisposable {
  readonly namespace = `gantry-${randomUUID()}`;
  readonly keys = new Keys(this.namespace);
  readonly redis: Redis;
  readonly tickets: Tickets;
  readonly lanes: Lanes;
  readonly runs: Runs;
  readonly dispatcher: FarmDispatcher;
  /** What the workers told. */
  readonly problems: GantryError[] = [];
  readonly #server: TestRedis;
  readonly #stack = new AsyncDisposableStack();

  private constructor(server: TestRedis, redis: Redis) {
    this.#server = server;
    this.redis = redis;
    this.tickets = new Tickets(redis, this.keys);
    this.lanes = new Lanes(redis, this.keys, this.tickets);
    this.runs = new Runs(redis, this.keys);
    this.dispatcher = new FarmDispatcher({ redis, namespace: this.namespace });
  }

  static async open(server: TestRedis): Promise<HandFarm> {
    const opened = await openedRedis(server);
    const farm = new HandFarm(server, opened.redis);
    farm.#stack.use(opened);
    farm.#stack.use(farm.tickets);
    return farm;
  }

  async worker(options: Partial<FarmWorkerOptions> & Pick<FarmWorkerOptions, 'handler'>): Promise<FarmWorker> {
    const { redis } = this.#stack.use(await openedRedis(this.#server));
    const onProblem = (problem: GantryError): void => void this.problems.push(problem);
    const own = { redis, namespace: this.namespace, concurrency: 8, times: SHORT, onProblem, ...options };
    return this.#stack.use(await FarmWorker.start(own));
  }

  /** Runs these roots to the end; the states of their images. */
  async run(roots: readonly Node[]): Promise<string[]> {
    const { images } = await this.dispatcher.dispatch({ id: '', roots }, { signal: never });
    return images.map(({ state, error }) => (error === undefined ? state : `${state} ${error.code}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}
