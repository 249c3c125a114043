import type { FarmView, LaneStatus, MemoryView, RunStatus, WorkerStatus } from '../../../src/flow/farm-status.ts';
import { ServeMetrics } from '../../../src/metrics/serve-metrics.ts';
import { WorkerMetrics } from '../../../src/metrics/worker-metrics.ts';
import type { RegistryObserver } from '../../../src/remote/observer.ts';

export const never = new AbortController().signal;

/** `gantry_runs{state="done"}` -> 3 */
export type Samples = ReadonlyMap<string, number>;

/** Every sample of a text exposition, labels in the order in which they are sent. */
export const samplesOf = (body: string): Samples =>
  new Map(
    [...body.matchAll(/^([a-z][^\s{]*(?:\{.*\})?) (\S+)$/gm)].map(([, name = '', value]) => [name, Number(value)]),
  );

/** Calls every method of the observer of a client. */
export function callClient(metrics: RegistryObserver, registry = 'docker.io'): void {
  metrics.request(registry, 'GET', 200, 0.2, 'blobs');
  metrics.request(registry, 'GET', 'error', 3, 'blobs');
  metrics.bytes(registry, 'in', 1000);
  metrics.retry(registry, 'DIGEST_MISMATCH');
  metrics.rateLimit(registry, 100, 42);
  metrics.stall(registry);
}

/** Calls every method of both observers. */
export function useAll(metrics: WorkerMetrics, registry: string): void {
  callClient(metrics, registry);
  metrics.started(registry);
  metrics.started(registry);
  metrics.ended(registry, 'visit', 'done', 1.5);
  metrics.leaseWaited(0.3);
  metrics.transferred(registry, 2, 900);
  metrics.present(registry);
  metrics.failed('DIGEST_MISMATCH', 'source');
}

/** A worker's metrics after every method of both observers was called, so that each metric has a sample. */
export function busyWorker(): WorkerMetrics {
  const metrics = new WorkerMetrics({ version: '1.2.3' });
  useAll(metrics, 'docker.io');
  return metrics;
}

/** What a process tells that serves a mirror file, each metric with a sample. */
export function busyServe(): ServeMetrics {
  const metrics = new ServeMetrics({ version: '1.2.3', mirror: 'mirror.yml' });
  metrics.tick('sync.0', 'started');
  metrics.ran('sync.0', { done: 3, failed: 1 }, 12.5);
  metrics.succeeded('sync.0', new Date(1_700_000_000_000));
  metrics.pruned('sync.0', 2);
  metrics.scheduled(new Map([['sync.0', 86_400]]));
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

export const run = (state: RunStatus['state'], images: Partial<RunStatus['images']> = {}, id = 'run'): RunStatus => ({
  id,
  state,
  createdAt: 0,
  endedAt: undefined,
  images: { total: 10, fed: 7, open: 4, done: 2, failed: 1, cancelled: 0, ...images },
  nodes: { known: 0, done: 0, failed: 0, skipped: 0 },
  bytes: 0,
  bytesPerSecond: 0,
  etaMs: undefined,
  failuresByCode: {},
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

export type View = FarmView & MemoryView;

interface TestFarm extends View {
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
    memory: async () => ({ used: 3_000_000, limit: 0, machine: 8_000_000_000 }),
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
    [
      {
        ...run('running', {}, 'r2'),
        nodes: { known: 50, done: 20, failed: 1, skipped: 2 },
        bytes: 4000,
        etaMs: 9000,
        failuresByCode: { NOT_FOUND: 1, 'not a code': 5 },
      },
      run('running', { total: 5, fed: 5, open: 0, done: 5, failed: 0 }, 'r1'),
      run('done', {}, 'r0'),
      run('cancelled', {}, 'r-'),
    ],
    [worker(8, 5), worker(4, 1)],
  );
