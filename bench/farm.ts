import { cpus } from 'node:os';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { imageNode } from '../src/handlers/pull.ts';
import { matchAll } from '../src/oci/platform.ts';
import { parseReference } from '../src/oci/reference.ts';
import { Farm } from '../src/queue/farm.ts';
import { ContentStore } from '../src/store/content-store.ts';
import { type Bound, boundRows, describeBounds } from './bounds.ts';
import { farmImages, type FarmImages } from './farm-images.ts';
import type { RegistryPlan } from './farm-registry.ts';
import type { JobOptions, JobResult } from './jobs.ts';
import { type Program, startProgram } from './program.ts';
import { startRedis } from './redis.ts';
import { median, seconds, table } from './report.ts';
import { Service } from './service.ts';
import { verifyLayout } from './verify.ts';

/** Connections of one worker: what makes it wait, so that more workers are faster even where they share two cores. */
const CONNECTIONS = 4;
/** Half a minute of work for one worker. */
const PLAN: RegistryPlan = { images: 100, layers: 4, layerBytes: 1_250_000, latencyMs: 20, bytesPerSecond: 5_000_000 };
const LIMIT_MS = 3 * 60_000;

interface FarmFigures {
  /** From the request to its result; all workers wait for work by then. */
  readonly wallMs: number;
  /** Of all cores, by whatever runs on this machine: from 0 to 1. */
  readonly busy: number;
  readonly failure?: string;
}

interface Pull {
  readonly bin: string;
  readonly host: string;
  readonly content: FarmImages;
  readonly workers: number;
  /** Does not exist yet. */
  readonly dir: string;
}

/** Pulls everything into a new store that the workers share. */
async function measureFarm(pull: Pull): Promise<FarmFigures> {
  await mkdir(pull.dir);
  await using cleaner = new AsyncDisposableStack();
  cleaner.defer(() => rm(pull.dir, { recursive: true, force: true }));
  const store = join(pull.dir, 'store');
  const target = await new ContentStore({ root: store }).id();
  const server = cleaner.use(await startRedis(join(pull.dir, 'redis')));
  const figures = await walk(pull, server.url, store, target);
  const { images, blobs } = pull.content;
  // Only now are the workers gone, and the last of them has written index.json.
  const task = { host: pull.host, images, blobs, target: store, scratch: pull.dir };
  const { complete, note } = await verifyLayout(task, false);
  return complete || figures.failure !== undefined ? figures : { ...figures, failure: note };
}

async function walk(pull: Pull, url: string, store: string, target: string): Promise<FarmFigures> {
  await using workers = new AsyncDisposableStack();
  const starting = Array.from({ length: pull.workers }, () => startWorker(pull.bin, url, store));
  for (const worker of await Promise.all(starting)) workers.use(worker);
  const signal = AbortSignal.timeout(LIMIT_MS);
  await using farm = await Farm.open({ url }, { signal });
  const roots = pull.content.images.map(({ repository, tag }) =>
    imageNode(parseReference(`${pull.host}/${repository}:${tag}`), target, matchAll.text),
  );
  const cores = coreTimes();
  const started = performance.now();
  const result = await farm.dispatcher().dispatch({ id: 'bench', roots }, { signal });
  const figures = { wallMs: performance.now() - started, busy: busySince(cores) };
  const failed = result.images.find(({ state }) => state !== 'done');
  return failed === undefined ? figures : { ...figures, failure: failed.error?.message ?? failed.state };
}

function startWorker(bin: string, url: string, store: string): Promise<Program> {
  const count = String(CONNECTIONS);
  const args = ['worker', '--redis', url, '--store', store, '--concurrency', count, '--max-per-registry', count];
  return startProgram(bin, [...args, '--metrics-host', '127.0.0.1', '--metrics-port', '0'], /metrics on http/);
}

interface CoreTimes {
  readonly busyMs: number;
  readonly allMs: number;
}

function coreTimes(): CoreTimes {
  const times = cpus().map(({ times }) => times);
  const idle = times.reduce((sum, each) => sum + each.idle, 0);
  const allMs = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
  return { busyMs: allMs - idle, allMs };
}

function busySince(before: CoreTimes): number {
  const now = coreTimes();
  return (now.busyMs - before.busyMs) / Math.max(1, now.allMs - before.allMs);
}

interface FarmRow {
  readonly workers: number;
  readonly medianMs: number;
  readonly busy: number;
  readonly failure?: string;
}

function rowOf(workers: number, runs: readonly FarmFigures[]): FarmRow {
  const failure = runs.find((run) => run.failure !== undefined)?.failure;
  const medianMs = median(runs.map(({ wallMs }) => wallMs));
  const row = { workers, medianMs, busy: median(runs.map(({ busy }) => busy)) };
  return failure === undefined ? row : { ...row, failure };
}

function describe(rows: readonly FarmRow[], bytes: number): string {
  const body = rows.map(({ workers, medianMs, busy, failure }) => [
    String(workers),
    seconds(medianMs),
    (bytes / 1000 / medianMs).toFixed(0),
    (busy * 100).toFixed(0),
    failure === undefined ? '' : `FAILED: ${failure}`,
  ]);
  return table(['workers', 'wall s', 'MB/s', 'cores busy %', ''], body);
}

/** How much more four workers do than one, where the registry is what they wait for. */
export async function farmJob({ workspace, bin, rounds, say }: JobOptions): Promise<JobResult> {
  const content = farmImages(PLAN);
  await using registry = await Service.start('farm-registry.ts', [JSON.stringify(PLAN)]);
  const measured = async (workers: number): Promise<FarmRow> => {
    const runs: FarmFigures[] = [];
    while (runs.length < rounds) {
      const dir = join(workspace, `farm-${workers}-${runs.length}`);
      const figures = await measureFarm({ bin, host: registry.said, content, workers, dir });
      say(`workers ${workers}: ${seconds(figures.wallMs)} s`);
      runs.push(figures);
    }
    return rowOf(workers, runs);
  };
  const [one, four] = [await measured(1), await measured(4)];
  const rows = [one, four];
  const bounds: Bound[] = [
    { what: '4 workers : 1 worker', value: one.medianMs / four.medianMs, least: 3.5, digits: 2 },
  ];
  const bytes = content.blobs.reduce((sum, { size }) => sum + size, 0);
  const title = `pull of ${content.images.length} images, ${(bytes / 1e6).toFixed(0)} MB, into one new store; ${CONNECTIONS} connections a worker; medians of ${rounds}`;
  const from = `from a registry that answers after ${PLAN.latencyMs} ms and gives each connection ${PLAN.bytesPerSecond / 1e6} MB/s`;
  const text = `${title}\n${from}\n\n${describe(rows, bytes)}\n\n${describeBounds(bounds)}`;
  return { text, data: { rows, bounds: boundRows(bounds) }, ok: rows.every((row) => !row.failure), compares: false };
}
