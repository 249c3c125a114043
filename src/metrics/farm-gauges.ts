import type { LaneStatus, QueueMemory, RunState, RunStatus, WorkerStatus } from '../flow/farm-status.ts';
import { MAX_NAMES, OTHER } from './label-cap.ts';
import type { Meters } from './meters.ts';
import { setActiveRuns } from './run-gauges.ts';

/** What a scrape reads of the farm. */
export interface FarmState {
  readonly runs: readonly RunStatus[];
  readonly lanes: readonly LaneStatus[];
  readonly workers: readonly WorkerStatus[];
  readonly memory: QueueMemory;
}

const sum = <T>(of: readonly T[], number: (one: T) => number): number =>
  of.reduce((total, one) => total + number(one), 0);

const secondsSince = (ms: number | undefined, nowMs: number): number =>
  ms === undefined ? 0 : Math.max(0, nowMs - ms) / 1000;

const ticketsOf = ({ tickets }: LaneStatus): number => tickets.waiting + tickets.active + tickets.delayed;

/** The first lanes by name, and one that has the tickets of all others: a bound on the number of time series. */
export function boundedLanes(lanes: readonly LaneStatus[], max: number = MAX_NAMES): readonly LaneStatus[] {
  if (lanes.length <= max) return lanes;
  const sorted = lanes.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  // Limits and blocks of several registries have no common value.
  const others = { ...sorted.slice(max).reduce(together), name: OTHER, headroom: [], blockedUntil: undefined };
  return [...sorted.slice(0, max), others];
}

const together = (a: LaneStatus, b: LaneStatus): LaneStatus => ({
  ...a,
  tickets: {
    waiting: a.tickets.waiting + b.tickets.waiting,
    active: a.tickets.active + b.tickets.active,
    delayed: a.tickets.delayed + b.tickets.delayed,
  },
  oldestAt: (a.oldestAt ?? Infinity) < (b.oldestAt ?? Infinity) ? a.oldestAt : b.oldestAt,
  paused: a.paused && b.paused,
  workers: Math.min(a.workers, b.workers), // one without a worker is not hidden by the others
});

function setLanes(meters: Meters, all: readonly LaneStatus[], nowMs: number): void {
  const tickets = meters.gauge('gantry_queue_tickets', 'Tickets in the queue of a lane.', ['lane', 'state']);
  const age = meters.gauge('gantry_queue_oldest_ticket_age_seconds', 'Age of the oldest that waits; 0 if none does.', [
    'lane',
  ]);
  const workers = meters.gauge('gantry_lane_workers', 'Workers that take tickets of the lane.', ['lane']);
  const paused = meters.gauge('gantry_lane_paused', '1 while the lane is paused.', ['lane']);
  const blocked = meters.gauge('gantry_lane_blocked_seconds', 'How long it stays blocked; 0 if it is not.', ['lane']);
  for (const lane of boundedLanes(all)) {
    const of = { lane: lane.name };
    for (const state of ['waiting', 'active', 'delayed'] as const) tickets.set({ ...of, state }, lane.tickets[state]);
    age.set(of, secondsSince(lane.oldestAt, nowMs));
    workers.set(of, lane.workers);
    paused.set(of, lane.paused ? 1 : 0);
    blocked.set(of, Math.max(0, (lane.blockedUntil ?? nowMs) - nowMs) / 1000);
  }
  const orphans = meters.gauge('gantry_lanes_without_worker', 'Lanes that have tickets and no worker to take them.');
  orphans.set({}, all.filter((lane) => lane.workers === 0 && ticketsOf(lane) > 0).length);
}

/** Of the identity that has the least left: it is the one that holds the lane up. */
function setQuotas(meters: Meters, lanes: readonly LaneStatus[]): void {
  const limit = meters.gauge('gantry_lane_quota_limit', 'Requests allowed in a period to the tightest identity.', [
    'lane',
  ]);
  const remaining = meters.gauge('gantry_lane_quota_remaining', 'Requests that it has left.', ['lane']);
  for (const { name: lane, headroom } of boundedLanes(lanes)) {
    const [tightest] = headroom.toSorted((a, b) => a.remaining - b.remaining);
    if (tightest === undefined) continue;
    limit.set({ lane }, tightest.limit);
    remaining.set({ lane }, tightest.remaining);
  }
}

const RUN_STATES: readonly RunState[] = ['running', 'done', 'cancelled'];

function setRuns(meters: Meters, runs: readonly RunStatus[]): void {
  const count = meters.gauge('gantry_runs', 'Runs that the farm knows.', ['state']);
  for (const state of RUN_STATES) count.set({ state }, runs.filter((run) => run.state === state).length);

  const images = meters.gauge('gantry_run_images', 'Images of the running runs; "waiting" for a place in the queue.', [
    'state',
  ]);
  const running = runs.filter((run) => run.state === 'running').map((run) => run.images);
  for (const state of ['open', 'done', 'failed'] as const)
    images.set(
      { state },
      sum(running, (of) => of[state]),
    );
  images.set(
    { state: 'waiting' },
    sum(running, ({ total, fed }) => Math.max(0, total - fed)),
  );
}

function setWorkers(meters: Meters, workers: readonly WorkerStatus[]): void {
  meters.gauge('gantry_workers', 'Workers that are alive.').set({}, workers.length);
  const slots = meters.gauge('gantry_worker_slots', 'Tickets that all workers can handle at a time.');
  slots.set(
    {},
    sum(workers, ({ concurrency }) => concurrency),
  );
  const busy = meters.gauge('gantry_worker_slots_busy', 'Tickets that they handle now.');
  busy.set(
    {},
    sum(workers, ({ running }) => running),
  );
}

function setMemory(meters: Meters, { used, limit, machine }: QueueMemory): void {
  meters.gauge('gantry_redis_memory_used_bytes', 'Memory that the Redis of the farm takes.').set({}, used);
  meters.gauge('gantry_redis_memory_limit_bytes', 'What it may take (maxmemory); 0: no limit.').set({}, limit);
  meters.gauge('gantry_redis_memory_machine_bytes', 'What its machine has; 0: it does not tell.').set({}, machine);
}

/** `nowMs` is milliseconds since 1970, as are the times of the state. */
export function setFarm(meters: Meters, { runs, lanes, workers, memory }: FarmState, nowMs: number): void {
  setLanes(meters, lanes, nowMs);
  setQuotas(meters, lanes);
  setRuns(meters, runs);
  setActiveRuns(meters, runs);
  setWorkers(meters, workers);
  setMemory(meters, memory);
}
