import type { FarmView, LaneStatus, RunStatus, WorkerStatus } from '../../../src/flow/farm-status.ts';
import { ServeMetrics } from '../../../src/metrics/serve-metrics.ts';
import { WorkerMetrics } from '../../../src/metrics/worker-metrics.ts';

export const never = new AbortController().signal;

/** `gantry_runs{state="done"}` -> 3 */
export type Samples = ReadonlyMap<string, number>;

/** Every sample of a text exposition, labels in the order in which they are sent. */
export const samplesOf = (body: string): Samples =>
  new Map(
    [...body.matchAll(/^([a-z][^\s{]*(?:\{.*\})?) (\S+)$/gm)].map(([, name = '', value]) => [name, Number(value)]),
  );

/** A worker's metrics after every method of both observers was called, so that each metric has a sample. */
export function busyWorker(): WorkerMetrics {
  const metrics = new WorkerMetrics({ version: '1.2.3' });
  metrics.request('docker.io', 'GET', 200, 0.2);
  metrics.request('docker.io', 'GET', 'error', 3);
  metrics.bytes('docker.io', 'in', 1000);
  metrics.retry('docker.io', 'DIGEST_MISMATCH');
  metrics.rateLimit('docker.io', 100, 42);
  metrics.stall('docker.io');
  metrics.started('docker.io');
  metrics.started('docker.io');
  metrics.ended('docker.io', 'visit', 'done', 1.5);
  metrics.leaseWaited(0.3);
  metrics.transferred('docker.io', 2, 900);
  metrics.present('docker.io');
  metrics.failed('DIGEST_MISMATCH', 'source');
  return metrics;
}

/** What a process tells that serves a mirror file, each metric with a sample. */
export function busyServe(): ServeMetrics {
  const metrics = new ServeMetrics({ version: '1.2.3', mirror: 'mirror.yml' });
  metrics.tick('sync.0', 'started');
  metrics.ran('sync.0', { done: 3, failed: 1 }, 12.5);
  metrics.succeeded('sync.0', new Date(1_700_000_000_000));
  metrics.pruned('sync.0', 2);
  metrics.scheduled(1);
  metrics.read(true);
  return metrics;
}

export const lane = (name: string, over: Partial<LaneStatus> = {}): LaneStatus => ({
  name,
  tickets: { waiting: 3, active: 2, delayed: 1 },
  oldestAt: Date.now() - 90_000,
  concurrency: undefined,
  quota: undefined,
  headroom: [],
  paused: false,
  blockedUntil: undefined,
  blockedBecause: undefined,
  workers: 1,
  ...over,
});

export const run = (state: RunStatus['state'], images: Partial<RunStatus['images']> = {}): RunStatus => ({
  id: 'run',
  state,
  createdAt: 0,
  endedAt: undefined,
  images: { total: 10, fed: 7, open: 4, done: 2, failed: 1, cancelled: 0, ...images },
  nodes: { known: 0, done: 0, failed: 0, skipped: 0 },
  bytes: 0,
  bytesPerSecond: 0,
  etaMs: undefined,
  labels: {},
});

export const worker = (concurrency: number, running: number): WorkerStatus => ({
  id: 'worker',
  host: 'here',
  pid: 1,
  version: '1.2.3',
  startedAt: 0,
  seenAt: 0,
  concurrency,
  running,
  lanes: undefined,
  store: undefined,
  active: [],
});

interface TestFarm extends FarmView {
  /** How often it was read. */
  readonly readings: number;
}

/** A farm that stands still. */
export function farm(
  lanes: readonly LaneStatus[] = [],
  runs: readonly RunStatus[] = [],
  workers: readonly WorkerStatus[] = [],
): TestFarm {
  let readings = 0;
  return {
    get readings() {
      return readings;
    },
    async lanes() {
      readings += 1;
      return [...lanes];
    },
    runs: async () => [...runs],
    workers: async () => [...workers],
  };
}

/** A farm with all there is, so that each metric has a sample. */
export const busyFarm = (): TestFarm =>
  farm(
    [
      lane('docker.io', {
        paused: true,
        blockedUntil: Date.now() + 60_000,
        headroom: [
          { identity: 'alice', limit: 200, remaining: 150 },
          { identity: 'anonymous', limit: 100, remaining: 7 },
        ],
      }),
      lane('ghcr.io', { workers: 0 }),
      lane('quay.io', { workers: 0, tickets: { waiting: 0, active: 0, delayed: 0 }, oldestAt: undefined }),
    ],
    [run('running'), run('running', { total: 5, fed: 5, open: 0, done: 5, failed: 0 }), run('done'), run('cancelled')],
    [worker(8, 5), worker(4, 1)],
  );
