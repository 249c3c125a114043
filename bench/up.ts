import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Bound, boundRows, describeBounds } from './bounds.ts';
import type { RegistryPlan } from './farm-registry.ts';
import type { JobOptions, JobResult } from './jobs.ts';
import { startProgram } from './program.ts';
import { median, table } from './report.ts';
import { Service } from './service.ts';

const PLAN: RegistryPlan = { images: 1, layers: 2, layerBytes: 100_000, latencyMs: 0, bytesPerSecond: 100_000_000 };
const UP = ['up', '--workers', '2', '--port', '0'];

interface UpFigures {
  /** Until it says how to pull. */
  readonly readyMs: number;
  /** Until the pull has ended. */
  readonly doneMs: number;
}

/** From an empty directory to a farm that has pulled an image. */
async function measureUp(bin: string, image: string, dir: string): Promise<UpFigures> {
  await mkdir(dir);
  const store = join(dir, 'store');
  try {
    const started = performance.now();
    await using up = await startProgram(bin, [...UP, '--store', store], /gantry pull --redis (redis:\S+)/);
    const readyMs = performance.now() - started;
    const args = [bin, 'pull', '-q', '--redis', up.ready[1] ?? '', '--store', store, image];
    await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    return { readyMs, doneMs: performance.now() - started };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** How long it takes to have a farm. */
export async function upJob({ workspace, bin, rounds, say }: JobOptions): Promise<JobResult> {
  await using registry = await Service.start('farm-registry.ts', [JSON.stringify(PLAN)]);
  const runs: UpFigures[] = [];
  while (runs.length < rounds) {
    const figures = await measureUp(bin, `${registry.said}/farm/app-0:1`, join(workspace, `up-${runs.length}`));
    say(`${figures.doneMs.toFixed(0)} ms`);
    runs.push(figures);
  }
  const ready = median(runs.map(({ readyMs }) => readyMs));
  const done = median(runs.map(({ doneMs }) => doneMs));
  const bounds: Bound[] = [{ what: 's to the first image', value: done / 1000, most: 5, digits: 2 }];
  const body = [
    ['gantry up --workers 2 says how to pull', ready.toFixed(0), ''],
    ['gantry pull --redis has pulled a small image', done.toFixed(0), ''],
  ];
  const text = `a farm from nothing, medians of ${rounds}\n\n${table(['', 'ms', ''], body)}\n\n${describeBounds(bounds)}`;
  return { text, data: { runs, bounds: boundRows(bounds) }, ok: true, compares: false };
}
