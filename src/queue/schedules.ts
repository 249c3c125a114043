/**
 * When the rules of a mirror file are due: job schedulers of BullMQ, in a queue of the file's own. All processes that serve the file
 * take ticks from it, and each tick is taken by one of them. What was due while none of them ran is not made up for, but once.
 */
import { type Job, Queue, WaitingError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { Keys } from './keys.ts';

export type When = { readonly cron: string } | { readonly everyMs: number };

export interface Schedule {
  /** Letters, digits, `.`, `_` and `-`. */
  readonly id: string;
  readonly when: When;
}

/** A rule is due. */
export interface Tick {
  readonly schedule: string;
  /** The run that was started for it by a process that has ended since. */
  readonly run: string | undefined;
  /** The last run of the schedule that was told to `started`. */
  readonly lastRun: string | undefined;
  /** An earlier tick of the schedule is not over, here or elsewhere. */
  readonly isOverlapping: boolean;
  /** Keeps the id of its run, for whoever takes the tick up if this process ends before the run does. */
  started(run: string): Promise<void>;
  /** Aborts when the process is to end. The tick goes back into the queue when its handler rejects then. */
  readonly signal: AbortSignal;
}

export interface SchedulesOptions {
  /** A connection that waits through outages; see openRedis. Stays the caller's. */
  readonly redis: Redis;
  readonly namespace?: string;
  /** Tells the schedules of one file from those of another. Letters, digits and `-`. */
  readonly file: string;
  /** What it throws is told to onError, and ends the tick. */
  readonly onTick: (tick: Tick) => Promise<void>;
  readonly onError: (err: unknown) => void;
  readonly lockMs?: number;
  readonly stalledMs?: number;
}

export interface Changes {
  readonly made: readonly string[];
  readonly removed: readonly string[];
}

interface TickData {
  readonly v: 1;
  /** Of the schedule. */
  readonly s: string;
  /** The run that was started. */
  readonly r?: string;
}

type TickJob = Job<TickData>;

/** Every schedule has a tick in hand for as long as its run takes, and those are skipped that come meanwhile. */
const TICKS = 10_000;
/** A tick that went down with so many processes is left to the next one. */
const MAX_STALLED = 3;
const GONE = { count: 0 };

export class Schedules implements AsyncDisposable {
  readonly #options: SchedulesOptions;
  readonly #queue: Queue<TickData>;
  readonly #worker: Worker<TickData>;
  /** A hash: the last run of each schedule. */
  readonly #lastRuns: string;
  readonly #stop = new AbortController();

  private constructor(options: SchedulesOptions) {
    const { redis, namespace = 'gantry', file, onError, lockMs = 30_000, stalledMs = 10_000 } = options;
    this.#options = options;
    const keys = new Keys(namespace);
    this.#lastRuns = keys.lastRuns(file);
    const common = { connection: redis, prefix: keys.tag };
    const name = `mirror_${file}`; // no lane is called so: what follows the underscore of a lane is a port
    this.#queue = new Queue<TickData>(name, {
      ...common,
      streams: { events: { maxLen: 100 } },
      skipWaitingForReady: true,
    });
    this.#queue.on('error', onError);
    this.#worker = new Worker<TickData>(name, (job, token = '') => this.#process(job, token), {
      ...common,
      autorun: false,
      concurrency: TICKS,
      lockDuration: lockMs,
      stalledInterval: stalledMs,
      maxStalledCount: MAX_STALLED,
      removeOnComplete: GONE,
      removeOnFail: GONE,
    });
    this.#worker.on('error', onError);
  }

  /** Takes no tick before `start`. */
  static open(options: SchedulesOptions): Schedules {
    return new Schedules(options);
  }

  start(): void {
    this.#worker.run().catch(this.#options.onError);
  }

  /**
   * Makes it so that there are these schedules, and no others of this file. Those that stand as they should are left alone, so that
   * it may be said again at any time. One with an interval that is new is due at once.
   */
  async set(wanted: readonly Schedule[]): Promise<Changes> {
    const known = new Map((await this.#queue.getJobSchedulers(0, -1)).map((each) => [each.key, each]));
    const made: string[] = [];
    for (const { id, when } of wanted) {
      const found = known.get(id);
      const repeat = repeatOf(when);
      const isSame =
        found !== undefined &&
        found.pattern === repeat.pattern &&
        found.every === repeat.every &&
        found.tz === repeat.tz &&
        (await this.#isAlive(id, found.next));
      if (isSame) continue;
      const opts = { removeOnComplete: GONE, removeOnFail: GONE };
      await this.#queue.upsertJobScheduler(id, repeat, { name: 'tick', data: { v: 1, s: id }, opts });
      made.push(id);
    }
    const ids = new Set(wanted.map(({ id }) => id));
    const removed = [...known.keys()].filter((id) => !ids.has(id));
    for (const id of removed) {
      await this.#queue.removeJobScheduler(id);
      await this.#options.redis.hdel(this.#lastRuns, id);
    }
    return { made, removed };
  }

  /** Ticks in hand go back: their runs go on, and whoever takes them up follows these. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#worker.close();
    await this.#queue.close();
  }

  /** Whether the next tick is there: it is made when the one before is taken, which may have broken off in between. */
  async #isAlive(id: string, next: number | undefined): Promise<boolean> {
    return next !== undefined && (await this.#queue.getJob(`repeat:${id}:${next}`)) !== undefined;
  }

  async #process(job: TickJob, token: string): Promise<void> {
    if (this.#stop.signal.aborted) return this.#putBack(job, token); // a worker that closes may be handed one more
    const { s: schedule, r: run } = job.data;
    try {
      const isOverlapping = await this.#isOverlapping(job);
      const lastRun = (await this.#options.redis.hget(this.#lastRuns, schedule)) ?? undefined;
      const started = async (id: string): Promise<void> => {
        await this.#options.redis.hset(this.#lastRuns, schedule, id);
        await job.updateData({ v: 1, s: schedule, r: id });
      };
      await this.#options.onTick({ schedule, run, lastRun, isOverlapping, started, signal: this.#stop.signal });
    } catch (err) {
      if (this.#stop.signal.aborted) return this.#putBack(job, token);
      this.#options.onError(err);
    }
  }

  /** What was put back waits, and is not over either. */
  async #isOverlapping(job: TickJob): Promise<boolean> {
    const others = await this.#queue.getJobs(['active', 'wait']);
    return others.some((other) => other?.data.s === job.data.s && dueAt(other) < dueAt(job));
  }

  async #putBack(job: TickJob, token: string): Promise<never> {
    await job.moveToWait(token);
    throw new WaitingError();
  }
}

/** When a tick was due, milliseconds since 1970: the end of its id, `repeat:SCHEDULE:MILLISECONDS`. */
const dueAt = ({ id = '' }: TickJob): number => Number(id.slice(id.lastIndexOf(':') + 1));

/** With the zone of this process: another one that serves the file may have another. */
function repeatOf(when: When): { pattern?: string; every?: number; tz?: string } {
  if ('everyMs' in when) return { every: when.everyMs };
  return { pattern: when.cron, tz: Intl.DateTimeFormat().resolvedOptions().timeZone };
}
