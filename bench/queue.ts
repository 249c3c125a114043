import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { openRedis } from '../src/queue/connection.ts';
import { FarmDispatcher } from '../src/queue/dispatcher.ts';
import { type Bound, boundRows, describeBounds } from './bounds.ts';
import type { JobOptions, JobResult } from './jobs.ts';
import { descriptorsOf, distinctOf, rootsOf, type SyntheticImages } from './queue-images.ts';
import type { WorkerFigures } from './queue-worker.ts';
import { info, startRedis } from './redis.ts';
import { median, seconds, table } from './report.ts';
import { Service } from './service.ts';

/** Tickets that the worker handles at a time. With 128 it is a tenth faster, and more of the images are open in Redis. */
const CONCURRENCY = 64;
const SAMPLE_MS = 20;
/** A walk that takes longer is given up. */
const LIMIT_MS = 3 * 60_000;
/** Whatever is kept once and for all (scripts, connections, lanes) is there before the measurement. */
const WARM_UP: SyntheticImages = { name: 'warmup', images: 100, sharedBy: 1 };

interface QueueCase extends SyntheticImages {
  readonly what: string;
}

const SMALL: QueueCase = { what: '1,000 images', name: 'small', images: 1_000, sharedBy: 1 };
const LARGE: QueueCase = { what: '10,000 images', name: 'large', images: 10_000, sharedBy: 1 };
const SHARED: QueueCase = { what: '10,000, each blob in 5', name: 'shared', images: 10_000, sharedBy: 5 };

interface QueueFigures {
  readonly wallMs: number;
  readonly redisCpuMicros: number;
  readonly workerCpuMicros: number;
  /** Highest `used_memory` over the one before the run, as sampled. */
  readonly peakBytes: number;
  /** Calls of the handler: tickets to visit a node. */
  readonly visits: number;
  /** All tickets that the worker took, those that end a node after its children included. */
  readonly tickets: number;
  readonly failure?: string;
}

/** Walks images through a farm of one worker with a Redis of its own. */
async function measureQueue(wanted: QueueCase, workspace: string): Promise<QueueFigures> {
  await using server = await startRedis(join(workspace, 'redis'));
  await using worker = await Service.start('queue-worker.ts', [server.url, String(CONCURRENCY)]);
  using cleaner = new DisposableStack();
  const redis = await openRedis({ url: server.url }, 'worker', { signal: AbortSignal.timeout(10_000) });
  cleaner.defer(() => redis.disconnect());
  await walk(redis, WARM_UP);

  const before = await countersOf(server.redis, worker);
  using memory = sampleMemory(server.redis, before.memory);
  const started = performance.now();
  const failed = await walk(redis, wanted);
  const wallMs = performance.now() - started;
  const peakBytes = await memory.stop();
  const after = await countersOf(server.redis, worker);
  const figures = {
    wallMs,
    redisCpuMicros: after.redisCpuMicros - before.redisCpuMicros,
    workerCpuMicros: after.workerCpuMicros - before.workerCpuMicros,
    peakBytes,
    visits: after.visits - before.visits,
    tickets: after.tickets - before.tickets,
  };
  const failure = failureOf(wanted, figures.visits, failed);
  return failure === undefined ? figures : { ...figures, failure };
}

function failureOf(wanted: QueueCase, visits: number, failed: number): string | undefined {
  if (failed > 0) return `${failed} images are not done`;
  const nodes = distinctOf(wanted);
  return visits === nodes ? undefined : `${visits} visits of ${nodes} nodes`;
}

/** Answers how many images did not end well. Nobody asks for events, as for a run that nobody watches. */
async function walk(redis: Redis, images: SyntheticImages): Promise<number> {
  const roots = rootsOf(images);
  const dispatcher = new FarmDispatcher({ redis });
  const result = await dispatcher.dispatch({ id: images.name, roots }, { signal: AbortSignal.timeout(LIMIT_MS) });
  return roots.length - result.images.filter(({ state }) => state === 'done').length;
}

async function countersOf(redis: Redis, worker: Service) {
  const { visits, tickets, cpuMicros }: WorkerFigures = JSON.parse(await worker.ask('figures'));
  const [cpu, memory] = await Promise.all([info(redis, 'cpu'), info(redis, 'memory')]);
  const seconds = cpu('used_cpu_sys') + cpu('used_cpu_user');
  return {
    redisCpuMicros: seconds * 1e6,
    workerCpuMicros: cpuMicros,
    memory: memory('used_memory'),
    visits,
    tickets,
  };
}

/** `used_memory_peak` cannot be set back in Redis 7.0, so the memory is sampled: in bytes over `baseline`. */
function sampleMemory(redis: Redis, baseline: number): Disposable & { stop(): Promise<number> } {
  let peak = 0;
  let last = Promise.resolve();
  const timer = setInterval(() => {
    last = info(redis, 'memory').then((memory) => {
      peak = Math.max(peak, memory('used_memory') - baseline);
    });
    last.catch(() => undefined);
  }, SAMPLE_MS);
  const stop = async (): Promise<number> => {
    clearInterval(timer);
    await last;
    return peak;
  };
  return { stop, [Symbol.dispose]: () => clearInterval(timer) };
}

/** Figures of one case; `a descriptor` is a place in the graph, see descriptorsOf. */
interface QueueRow {
  readonly what: string;
  readonly descriptors: number;
  readonly distinct: number;
  readonly perSecond: number;
  readonly redisMicros: number;
  readonly workerMicros: number;
  readonly peakBytes: number;
  readonly visits: number;
  readonly tickets: number;
  readonly failure?: string;
}

function rowOf(wanted: QueueCase, runs: readonly QueueFigures[]): QueueRow {
  const descriptors = descriptorsOf(wanted);
  const middle = (of: (run: QueueFigures) => number): number => median(runs.map(of));
  const failure = runs.find((run) => run.failure !== undefined)?.failure;
  return {
    what: wanted.what,
    descriptors,
    distinct: distinctOf(wanted),
    perSecond: (descriptors * 1000) / middle((run) => run.wallMs),
    redisMicros: middle((run) => run.redisCpuMicros) / descriptors,
    workerMicros: middle((run) => run.workerCpuMicros) / descriptors,
    peakBytes: middle((run) => run.peakBytes) / descriptors,
    visits: middle((run) => run.visits),
    tickets: middle((run) => run.tickets),
    ...(failure === undefined ? {} : { failure }),
  };
}

const cpuOf = ({ redisMicros, workerMicros }: QueueRow): number => redisMicros + workerMicros;

const boundsOf = (small: QueueRow, large: QueueRow): Bound[] => [
  { what: 'descriptors/s, 1,000 images', value: small.perSecond, least: 5_000, digits: 0 },
  { what: 'descriptors/s, 10,000 images', value: large.perSecond, least: 5_000, digits: 0 },
  { what: 'peak bytes a descriptor, 1,000 images', value: small.peakBytes, most: 150, digits: 0 },
  { what: 'peak bytes a descriptor, 10,000 images', value: large.peakBytes, most: 150, digits: 0 },
  { what: 'CPU a descriptor, 10,000 : 1,000', value: cpuOf(large) / cpuOf(small), most: 1.2, digits: 2 },
  { what: 'time a descriptor, 10,000 : 1,000', value: small.perSecond / large.perSecond, most: 1.2, digits: 2 },
];

function describe(rows: readonly QueueRow[]): string {
  const head = ['', 'descriptors', 'per s', 'Redis us', 'worker us', 'peak bytes', 'visits', 'tickets', ''];
  const body = rows.map((row) => [
    row.what,
    String(row.descriptors),
    row.perSecond.toFixed(0),
    row.redisMicros.toFixed(0),
    row.workerMicros.toFixed(0),
    row.peakBytes.toFixed(0),
    String(row.visits),
    String(row.tickets),
    row.failure === undefined ? '' : `FAILED: ${row.failure}`,
  ]);
  return table(head, body);
}

/** What the queue itself costs: a farm whose handler does nothing. */
export async function queueJob({ workspace, rounds, say }: JobOptions): Promise<JobResult> {
  const measured = async (wanted: QueueCase): Promise<QueueRow> => {
    const runs: QueueFigures[] = [];
    while (runs.length < rounds) {
      const figures = await measureQueue(wanted, workspace);
      say(`${wanted.what}: ${seconds(figures.wallMs)} s`);
      runs.push(figures);
    }
    return rowOf(wanted, runs);
  };
  const [small, large, shared] = [await measured(SMALL), await measured(LARGE), await measured(SHARED)];
  const rows = [small, large, shared];
  const bounds = boundsOf(small, large);
  const title = `an empty handler over image -> manifest -> 9 blobs, one worker, ${CONCURRENCY} tickets at a time; medians of ${rounds}`;
  const text = `${title}\nCPU and bytes are for each descriptor\n\n${describe(rows)}\n\n${describeBounds(bounds)}`;
  return { text, data: { rows, bounds: boundRows(bounds) }, ok: rows.every((row) => !row.failure), compares: false };
}
