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
