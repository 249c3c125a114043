/** A farm as those see it who do not work in it: runs, lanes, workers, and why something waits. */
import type { Redis } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type {
  FarmView,
  ImageReader,
  ImageRecord,
  LaneStatus,
  MemoryView,
  OutcomePage,
  QueueMemory,
  RunControl,
  RunReader,
  RunStatus,
  WaitReasons,
  WorkerStatus,
} from '../flow/farm-status.ts';
import { isRepository, type Node, nodeLabel } from '../flow/handler.ts';
import { openRedis, redisError, type RedisSettings } from './connection.ts';
import { FarmDispatcher, type FarmDispatcherOptions } from './dispatcher.ts';
import { GoneTags } from './gone-tags.ts';
import { Keys } from './keys.ts';
import { Lanes } from './lanes.ts';
import { laneOf, settleLaneOf } from './record.ts';
import { redisMemory } from './redis-memory.ts';
import { type Ended, Runs, type SubmitOptions } from './runs.ts';
import { Tickets } from './tickets.ts';

export interface FarmOptions extends RedisSettings {
  readonly namespace?: string;
}

/** What the images of a run cannot do without. */
interface Needs {
  readonly lanes: ReadonlySet<string>;
  /** Ids. */
  readonly stores: ReadonlySet<string>;
}

const MAX_NEEDS = 100;

export class Farm implements FarmView, RunReader, ImageReader, RunControl, MemoryView, AsyncDisposable {
  readonly #redis: Redis;
  readonly #namespace: string;
  readonly #keys: Keys;
  readonly #tickets: Tickets;
  readonly #runs: Runs;
  readonly #lanes: Lanes;
  /** Of the runs that were asked about last. */
  readonly #needs = new Map<string, Needs>();

  private constructor(redis: Redis, namespace: string) {
    this.#redis = redis;
    this.#namespace = namespace;
    this.#keys = new Keys(namespace);
    this.#tickets = new Tickets(redis, this.#keys);
    this.#runs = new Runs(redis, this.#keys);
    this.#lanes = new Lanes(redis, this.#keys, this.#tickets);
  }

  /** @throws GantryError NETWORK when Redis cannot be reached in time, USAGE when it cannot be used */
  static async open({ namespace = 'gantry', ...settings }: FarmOptions, opts: CallOptions): Promise<Farm> {
    return new Farm(await openRedis(settings, 'command', opts), namespace);
  }

  /** `host:port` of its Redis: all that people are shown of the URL. */
  get host(): string {
    const { host = '', port = 0 } = this.#redis.options;
    return `${host}:${port}`;
  }

  /** What a method here threw, as an error that says what Redis has. */
  named(err: unknown): GantryError {
    return redisError(err, this.host);
  }

  get settings(): Lanes {
    return this.#lanes;
  }

  /** What pruning remembers. */
  get goneTags(): GoneTags {
    return new GoneTags(this.#redis, this.#keys);
  }

  dispatcher(options: Omit<FarmDispatcherOptions, 'redis' | 'namespace'> = {}): FarmDispatcher {
    return new FarmDispatcher({ ...options, redis: this.#redis, namespace: this.#namespace });
  }

  /** Stores a request and does not wait for it. Answers the id of its run. */
  submit(roots: readonly Node[], options: SubmitOptions = {}): Promise<string> {
    return this.#runs.submit(roots, options);
  }

  runs({ limit = 50 }: CallOptions & { limit?: number }): Promise<RunStatus[]> {
    return this.#runs.list(limit);
  }

  /** @throws GantryError NOT_FOUND */
  run(id: string): Promise<RunStatus> {
    return this.#runs.status(id);
  }

  /** The roots of a run's request, in their order. */
  rootsOf(id: string): Promise<Node[]> {
    return this.#runs.roots(id);
  }

  /** How the images of a run ended, as far as they have. @throws GantryError NOT_FOUND */
  async *images(id: string, opts: CallOptions): AsyncGenerator<ImageRecord> {
    await this.#runs.status(id);
    const roots = await this.#runs.roots(id);
    for await (const ended of this.#runs.results(id, opts)) yield imageRecord(ended, roots[ended.index]);
  }

  async *names(id: string, opts: CallOptions): AsyncGenerator<readonly string[]> {
    for await (const roots of this.#runs.requested(id)) {
      opts.signal.throwIfAborted();
      yield roots.map(nodeLabel);
    }
  }

  async outcomes(id: string, place: string | undefined, _opts: CallOptions): Promise<OutcomePage> {
    const { ended, ...page } = await this.#runs.resultsAfter(id, place);
    const outcomes = ended.map(({ index, state, desc, error, endedAt, bytes, tookMs }) => {
      const { digest, mediaType } = desc ?? {};
      return { index, state, digest, mediaType, error, endedAt, bytes, tookMs };
    });
    return { ...page, outcomes };
  }

  /** False when it had ended already. @throws GantryError NOT_FOUND */
  cancel(id: string): Promise<boolean> {
    return this.#runs.cancel(id);
  }

  /**
   * A new run with what failed or was cancelled in another; what is there already is skipped. Undefined when there is nothing to try again.
   * @param code only images that failed with this code
   * @throws GantryError NOT_FOUND, USAGE while the run goes on
   */
  async retry(id: string, opts: CallOptions & { code?: string }): Promise<string | undefined> {
    const status = await this.#runs.status(id);
    if (status.state === 'running') {
      throw new GantryError('USAGE', `run ${id} still goes on`, {
        origin: 'user',
        hint: `wait for it with \`gantry runs watch ${id}\`, or cancel it`,
      });
    }
    const roots = await this.#runs.roots(id);
    const keep = new Set(opts.code === undefined ? roots.keys() : []);
    for await (const { index, state, error } of this.#runs.results(id, opts)) {
      if (state === 'done') keep.delete(index);
      else if (opts.code !== undefined && error?.code === opts.code) keep.add(index);
    }
    const again = roots.filter((_root, index) => keep.has(index));
    return again.length === 0 ? undefined : this.#runs.submit(again, { labels: { ...status.labels, retryOf: id } });
  }

  async lanes(opts: CallOptions): Promise<LaneStatus[]> {
    const workers = await this.workers(opts);
    const takes = (lane: string) => (worker: WorkerStatus) => worker.lanes?.includes(lane) ?? true;
    return this.#lanes.status((lane) => workers.filter(takes(lane)).length, opts);
  }

  async workers(_opts: CallOptions): Promise<WorkerStatus[]> {
    const ids = await this.#redis.smembers(this.#keys.workers);
    if (ids.length === 0) return [];
    const said = await this.#redis.mget(ids.map((id) => this.#keys.worker(id)));
    const gone = ids.filter((_id, i) => said[i] === null);
    if (gone.length > 0) await this.#redis.srem(this.#keys.workers, gone);
    return said
      .flatMap((json) => {
        if (json === null || json === undefined) return [];
        const status: WorkerStatus = JSON.parse(json);
        return [status];
      })
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  memory(_opts: CallOptions): Promise<QueueMemory> {
    return redisMemory(this.#redis);
  }

  /** Why a run does not move: what holds up the lanes of its images, and what it needs that no worker has. */
  async waitReasons(id: string, opts: CallOptions): Promise<WaitReasons> {
    if ((await this.#runs.status(id)).state !== 'running') return [];
    const [workers, lanes, needs] = await Promise.all([this.workers(opts), this.lanes(opts), this.#needsOf(id)]);
    if (workers.length === 0) return ['no worker is connected: start one with `gantry worker`'];
    const reasons = lanes.filter((lane) => needs.lanes.has(lane.name)).flatMap(laneReasons);
    for (const store of needs.stores) {
      if (!workers.some((worker) => worker.store === undefined || worker.store === store)) {
        reasons.push(`no worker has the store ${store}: start one with --store`);
      }
    }
    return [...reasons, ...(await this.#heldLeases())];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tickets[Symbol.asyncDispose]();
    this.#redis.disconnect();
  }

  /** A request never changes, and to read it again each second, as those who watch a run do, would cost more than all else. */
  async #needsOf(id: string): Promise<Needs> {
    const known = this.#needs.get(id);
    if (known !== undefined) return known;
    const needs = { lanes: new Set<string>(), stores: new Set<string>() };
    for await (const roots of this.#runs.requested(id)) {
      for (const root of roots) {
        needs.lanes.add(laneOf(root)).add(settleLaneOf(root));
        if (!isRepository(root.target)) needs.stores.add(root.target);
      }
    }
    const [oldest] = this.#needs.keys();
    if (this.#needs.size >= MAX_NEEDS && oldest !== undefined) this.#needs.delete(oldest);
    this.#needs.set(id, needs);
    return needs;
  }

  /** Content that others wait for. Looks at no more keys than can be read at once. */
  async #heldLeases(): Promise<string[]> {
    const prefix = this.#keys.lease('');
    const [, keys] = await this.#redis.scan('0', 'MATCH', `${prefix.replaceAll(/[{}]/g, '?')}*`, 'COUNT', 1000);
    if (keys.length === 0) return [];
    const held = await this.#redis.mget(keys);
    return held.flatMap((text, i) => {
      const [holder, ...waiting] = text?.split('\n') ?? [];
      if (waiting.length === 0) return [];
      const [, , worker = '', at = '0'] = holder?.split(' ') ?? [];
      const [, digest = ''] = keys[i]?.slice(prefix.length).split(' ') ?? [];
      return [`${digest}: being written by ${worker} since ${new Date(Number(at)).toISOString()}`];
    });
  }
}

function laneReasons(lane: LaneStatus): string[] {
  const { name, tickets } = lane;
  const reasons: string[] = [];
  if (lane.paused) reasons.push(`${name}: paused; resume it with \`gantry lanes resume ${name}\``);
  if (lane.blockedUntil !== undefined) {
    reasons.push(`${name}: blocked until ${new Date(lane.blockedUntil).toISOString()}: ${lane.blockedBecause ?? ''}`);
  }
  const waits = tickets.waiting + tickets.delayed > 0;
  if (waits && lane.workers === 0) reasons.push(`${name}: no worker takes its tickets`);
  if (waits && lane.concurrency !== undefined && tickets.active >= lane.concurrency) {
    reasons.push(`${name}: ${tickets.active} tickets at a time, as many as its limit allows`);
  }
  for (const { identity, remaining } of lane.headroom) {
    if (lane.quota !== undefined && remaining < 1) reasons.push(`${name}: the quota of ${identity} is used up`);
  }
  return reasons;
}

const imageRecord = ({ state, desc, error, endedAt }: Ended, root: Node | undefined): ImageRecord => {
  const known = desc ?? (root?.kind === 'image' ? undefined : root?.desc);
  const name = root === undefined ? '' : nodeLabel(root);
  return { name, state, digest: known?.digest, mediaType: known?.mediaType, error, endedAt };
};
