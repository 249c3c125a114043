/** What a farm tells, in the shapes of schema.ts. */
import type { IngestStatus } from '../../content/ports.ts';
import type { FailureGroup } from '../../flow/failure-groups.ts';
import type { ActiveTransfer, ErrorRecord, LaneStatus, RunStatus, WorkerStatus } from '../../flow/farm-status.ts';
import type { ErrorJson, FailureGroupJson, IngestJson, LaneJson, RunJson, WorkerJson } from './schema.ts';

const isoOf = (at: number): string => new Date(at).toISOString();
export const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : isoOf(at));

export function runJson(run: RunStatus, bytesPerSecondNow: number | null): RunJson {
  const { id, state, images, nodes, bytes, bytesPerSecond, etaMs, failuresByCode, labels } = run;
  return {
    id,
    state,
    createdAt: isoOf(run.createdAt),
    endedAt: isoOrNull(run.endedAt),
    images,
    nodes,
    bytes,
    bytesPerSecond,
    bytesPerSecondNow,
    etaMs: etaMs ?? null,
    failuresByCode,
    labels,
  };
}

export const failureGroupJson = ({ code, origin, count, examples }: FailureGroup): FailureGroupJson => ({
  code,
  origin,
  count,
  examples: examples.map(({ name, error: { digest, host, message } }) => ({ name, digest, host, message })),
});

export const errorJson = ({ code, origin, message, host, digest, hint, retryAfterMs }: ErrorRecord): ErrorJson => ({
  code,
  origin,
  message,
  host,
  digest,
  hint,
  retryAfterMs,
});

export const laneJson = ({ tickets, oldestAt, concurrency, quota, blockedUntil, ...lane }: LaneStatus): LaneJson => ({
  name: lane.name,
  ...tickets,
  oldestAt: isoOrNull(oldestAt),
  concurrency: concurrency ?? null,
  quota: quota ?? null,
  headroom: [...lane.headroom],
  paused: lane.paused,
  blockedUntil: isoOrNull(blockedUntil),
  blockedBecause: lane.blockedBecause ?? null,
  workers: lane.workers,
});

const transferJson = (worker: string, { total, startedAt, ...transfer }: ActiveTransfer): IngestJson => ({
  ref: transfer.ref,
  offset: transfer.offset,
  total: total ?? null,
  bytesPerSecond: transfer.bytesPerSecond,
  startedAt: isoOf(startedAt),
  worker,
  run: transfer.run,
  lane: transfer.lane,
});

/** An unfinished write in the store of this machine. */
export const ingestJson = ({ ref, offset, total, startedAt }: IngestStatus): IngestJson => ({
  ref,
  offset,
  total: total ?? null,
  bytesPerSecond: null,
  startedAt: startedAt.toISOString(),
  worker: null,
  run: null,
  lane: null,
});

export const workerJson = ({ id, host, pid, version, ...worker }: WorkerStatus): WorkerJson => ({
  id,
  host,
  pid,
  version,
  startedAt: isoOf(worker.startedAt),
  seenAt: isoOf(worker.seenAt),
  concurrency: worker.concurrency,
  running: worker.running,
  lanes: worker.lanes === undefined ? null : [...worker.lanes],
  store: worker.store ?? null,
  ingests: worker.active.map((transfer) => transferJson(id, transfer)),
});
