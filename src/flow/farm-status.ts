/** What a farm tells about itself: runs, lanes and workers, for the command line, the metrics and the status page. */
import type { CallOptions } from '../call.ts';
import type { ErrorDetails, ErrorCode } from '../errors.ts';

export type RunState = 'running' | 'done' | 'cancelled';

/** Where a run stands. Times are milliseconds since 1970. */
export interface RunStatus {
  readonly id: string;
  readonly state: RunState;
  readonly createdAt: number;
  readonly endedAt: number | undefined;
  /** `total` are asked for; `open` are handed to the workers and not finished; `fed` counts those handed to them so far. */
  readonly images: {
    readonly total: number;
    readonly fed: number;
    readonly open: number;
    readonly done: number;
    readonly failed: number;
    readonly cancelled: number;
  };
  /** Images and everything below them, as far as it is known. */
  readonly nodes: { readonly known: number; readonly done: number; readonly failed: number; readonly skipped: number };
  /** Bytes transferred for this run. */
  readonly bytes: number;
  /** Bytes a second, over the life of the run. */
  readonly bytesPerSecond: number;
  /** Until it ends, going by the images so far; undefined while there is nothing to go by, and when it has ended. */
  readonly etaMs: number | undefined;
  /** Failed images by the code of their error. */
  readonly failuresByCode: Readonly<Record<string, number>>;
  /** What it was started with: target, platforms. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Why a run does not move, one line each: `docker.io: blocked until 14:05:00 by 429`. Empty when nothing holds it up. */
export type WaitReasons = readonly string[];

/** An error as it is kept with the results of a run. */
export interface ErrorRecord extends Pick<ErrorDetails, 'digest' | 'host' | 'hint' | 'status' | 'retryAfterMs'> {
  readonly code: ErrorCode;
  readonly origin: NonNullable<ErrorDetails['origin']>;
  readonly message: string;
}

/** How one image of a run ended. */
export interface ImageRecord {
  /** The reference, or the digest where the run was given one. */
  readonly name: string;
  readonly state: 'done' | 'failed' | 'cancelled';
  readonly digest: string | undefined;
  readonly mediaType: string | undefined;
  readonly error: ErrorRecord | undefined;
  readonly endedAt: number;
}

/** How an image ended, by its place in the request, and what it has cost. */
export interface ImageOutcome extends Omit<ImageRecord, 'name' | 'state'> {
  readonly index: number;
  readonly state: 'done' | 'failed';
  /** Moved for it. */
  readonly bytes: number;
  readonly tookMs: number;
}

/** Some of the outcomes of a run. */
export interface OutcomePage {
  readonly outcomes: readonly ImageOutcome[];
  /** Where the next page begins. */
  readonly place: string | undefined;
  /** There are no more for now. */
  readonly isAll: boolean;
}

/** The queue of one registry. */
export interface LaneStatus {
  /** `docker.io`, `localhost:5000` */
  readonly name: string;
  readonly tickets: { readonly waiting: number; readonly active: number; readonly delayed: number };
  /** Milliseconds since 1970 at which the oldest waiting ticket was added; undefined when none waits. */
  readonly oldestAt: number | undefined;
  /** Tickets at a time over all workers; undefined: as many as the workers take. */
  readonly concurrency: number | undefined;
  /** Counted requests allowed in a period, and what is left of them for each identity. */
  readonly quota: { readonly requests: number; readonly periodMs: number } | undefined;
  readonly headroom: readonly { readonly identity: string; readonly limit: number; readonly remaining: number }[];
  readonly paused: boolean;
  /** Milliseconds since 1970; undefined when it is not blocked. */
  readonly blockedUntil: number | undefined;
  readonly blockedBecause: string | undefined;
  /** Workers that take tickets of this lane. */
  readonly workers: number;
}

/** A transfer that goes on. */
export interface ActiveTransfer {
  /** The ref key, `layer-sha256:...` */
  readonly ref: string;
  readonly run: string;
  readonly lane: string;
  /** Bytes. */
  readonly offset: number;
  readonly total: number | undefined;
  readonly bytesPerSecond: number;
  readonly startedAt: number;
}

export interface WorkerStatus {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAt: number;
  readonly seenAt: number;
  /** Tickets it handles at a time. */
  readonly concurrency: number;
  /** Tickets it handles now. */
  readonly running: number;
  /** The lanes it is bound to; undefined: all. */
  readonly lanes: readonly string[] | undefined;
  /** The id of its store. */
  readonly store: string | undefined;
  readonly active: readonly ActiveTransfer[];
}

/** Reads a farm. */
export interface FarmView {
  /** The newest first. */
  runs(opts: CallOptions & { limit?: number }): Promise<RunStatus[]>;
  lanes(opts: CallOptions): Promise<LaneStatus[]>;
  workers(opts: CallOptions): Promise<WorkerStatus[]>;
}

/** The memory of the Redis server behind a farm, in bytes. */
export interface QueueMemory {
  readonly used: number;
  /** What it may take at most; 0: no limit. */
  readonly limit: number;
  /** All that its machine has; 0: it does not tell. */
  readonly machine: number;
}

export interface MemoryView {
  memory(opts: CallOptions): Promise<QueueMemory>;
}

/** Reads one run. */
export interface RunReader {
  /** @throws GantryError NOT_FOUND */
  run(id: string, opts: CallOptions): Promise<RunStatus>;
  waitReasons(id: string, opts: CallOptions): Promise<WaitReasons>;
}

/** Reads the images of runs, a part at a time. */
export interface ImageReader {
  /** The names of all images, in the order of the request. */
  names(id: string, opts: CallOptions): AsyncIterable<readonly string[]>;
  /** @param place where an earlier page ended; undefined: from the start */
  outcomes(id: string, place: string | undefined, opts: CallOptions): Promise<OutcomePage>;
}

export interface RunControl {
  /** False when it had ended already. @throws GantryError NOT_FOUND */
  cancel(id: string): Promise<boolean>;
  /**
   * A new run with what failed or was cancelled; undefined when there is nothing to try again.
   * @param opts.code only images that failed with this code
   * @throws GantryError NOT_FOUND, USAGE while the run goes on
   */
  retry(id: string, opts: CallOptions & { code?: string }): Promise<string | undefined>;
}

/** What limits a registry over all workers; null takes a limit away. */
export interface LaneSettings {
  /** Tickets at a time. */
  readonly concurrency?: number | null;
  /** Requests that the registry counts, for each identity. */
  readonly quota?: { readonly requests: number; readonly periodMs: number } | null;
}

export interface LaneControl {
  /** Limits may be set before there is anything to do for a registry. */
  set(lane: string, settings: LaneSettings): Promise<void>;
  /** No worker takes a ticket of it until it is resumed. @throws GantryError NOT_FOUND */
  pause(lane: string): Promise<void>;
  /** @throws GantryError NOT_FOUND */
  resume(lane: string): Promise<void>;
}
