/** Runs a handler over a graph on many machines: stores the request, and follows what the workers make of it. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { GantryError } from '../errors.ts';
import type { DispatchEvent, Dispatcher, DispatchOptions, ImageResult, Run, RunResult } from '../flow/dispatcher.ts';
import { type Node, nodeKey } from '../flow/handler.ts';
import { errorOf } from './error-record.ts';
import { EventListener } from './events.ts';
import { Keys } from './keys.ts';
import { type Ended, type FollowOptions, Runs, type SubmitOptions } from './runs.ts';

export interface FarmDispatcherOptions extends Omit<FollowOptions, 'leave'> {
  /** Stays the caller's. */
  readonly redis: Redis;
  readonly namespace?: string;
  readonly submit?: SubmitOptions;
  /** Told as soon as the request is stored. */
  readonly onSubmitted?: (run: string) => void;
  /** An abort leaves the run alone and rejects, where it would cancel the run. */
  readonly leaveOnAbort?: boolean;
}

const WATCH_AGAIN_MS = 5_000;

export class FarmDispatcher implements Dispatcher {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #runs: Runs;
  readonly #options: FarmDispatcherOptions;

  constructor(options: FarmDispatcherOptions) {
    this.#options = options;
    this.#redis = options.redis;
    this.#keys = new Keys(options.namespace ?? 'gantry');
    this.#runs = new Runs(this.#redis, this.#keys);
  }

  /** The id of the run is given by the queue: an open run of the same request is joined. */
  async dispatch(run: Run, opts: DispatchOptions): Promise<RunResult> {
    const roots = distinct(run.roots);
    if (opts.signal.aborted) return new Results(run.roots, opts).end(opts.signal);
    const watched = opts.onEvent !== undefined;
    const id = await this.#runs.submit(roots, { ...this.#options.submit, watched });
    this.#options.onSubmitted?.(id);
    return this.follow(id, run.roots, opts);
  }

  /**
   * Waits for a run that was submitted earlier, maybe by somebody else; `roots` are those of its request. An abort cancels it.
   * @throws GantryError UPSTREAM when the queue has lost the run, NETWORK when Redis stays away
   */
  async follow(id: string, roots: readonly Node[], opts: DispatchOptions): Promise<RunResult> {
    const { signal } = opts;
    const { leaveOnAbort = false, ...options } = this.#options;
    const results = new Results(roots, opts);
    await using listener = opts.onEvent && (await EventListener.open(this.#redis, this.#keys, id, opts.onEvent));
    const watch = (): void => void this.#runs.watch(id).catch(() => undefined);
    const timer = listener && setInterval(watch, WATCH_AGAIN_MS);
    if (listener) watch(); // whoever submitted it may not have listened
    const leave = new AbortController();
    const stop = (): void => {
      if (leaveOnAbort) leave.abort();
      // What cannot even be cancelled is not waited for.
      else void this.#runs.cancel(id, 'its producer was stopped').catch(() => leave.abort());
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (signal.aborted) stop();
      // What is cancelled is followed as well: to the end of the transfers.
      for await (const ended of this.#runs.follow(id, { ...options, leave: leave.signal })) results.add(ended);
      if (leaveOnAbort) signal.throwIfAborted();
      await listener?.settle(randomUUID());
    } finally {
      signal.removeEventListener('abort', stop);
      clearInterval(timer);
    }
    return results.end(signal);
  }
}

/** The results of the roots, in their order; roots of the same node share one. */
class Results {
  readonly #roots: readonly Node[];
  readonly #opts: DispatchOptions;
  readonly #found: (ImageResult | undefined)[];
  /** Index in the request -> indices of all roots of that node. */
  readonly #places: number[][];

  constructor(roots: readonly Node[], opts: DispatchOptions) {
    this.#roots = roots;
    this.#opts = opts;
    this.#found = Array.from({ length: roots.length });
    const byKey = new Map<string, number[]>();
    const byRoot = new Map<string, number[]>();
    roots.forEach((node, at) => {
      const key = nodeKey(node);
      const places = byKey.get(key) ?? [];
      places.push(at);
      byKey.set(key, places);
      byRoot.set(identity(node), places);
    });
    this.#places = [...byRoot.values()];
  }

  add({ index, state, desc, error, skipped, isEqual, bytes, mounted, tookMs }: Ended): void {
    for (const at of this.#places[index] ?? []) {
      const root = this.#roots[at];
      if (root === undefined || this.#found[at] !== undefined) continue;
      const known = desc ?? (root.kind === 'image' ? undefined : root.desc);
      const why = error === undefined ? undefined : errorOf(error);
      const skip = skipped === undefined ? {} : { skipped };
      this.#set(at, { root, state, desc: known, error: why, isEqual, ...skip, bytes, mounted, tookMs });
    }
  }

  /** Whatever has no result yet was cancelled. */
  end(signal: AbortSignal): RunResult {
    const error = signal.reason instanceof GantryError ? signal.reason : new GantryError('CANCELLED', 'cancelled');
    this.#roots.forEach((root, at) => {
      if (this.#found[at] !== undefined) return;
      this.#set(at, {
        ...NOTHING_MOVED,
        root,
        state: 'cancelled',
        desc: root.kind === 'image' ? undefined : root.desc,
        error,
      });
    });
    return { images: this.#found.filter((result) => result !== undefined) };
  }

  #set(at: number, result: ImageResult): void {
    this.#found[at] = result;
    const event: DispatchEvent = { kind: 'image', result };
    this.#opts.onEvent?.(event);
  }
}

/** Of an image that was cancelled nobody counts what it has cost. */
const NOTHING_MOVED = { isEqual: false, bytes: 0, mounted: 0, tookMs: 0 } as const;

/** Two roots of one node may be read from two places; both are ways to it. */
const identity = (node: Node): string => `${nodeKey(node)} ${node.source}`;

const distinct = (roots: readonly Node[]): Node[] => [...new Map(roots.map((node) => [identity(node), node])).values()];
