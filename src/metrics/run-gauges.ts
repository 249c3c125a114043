import { ERROR_POLICY } from '../errors.ts';
import type { RunStatus } from '../flow/farm-status.ts';
import type { Meters } from './meters.ts';

/**
 * The id of a run is the one label here whose values do not come back, so there are never more than these at a time, and one that
 * has ended is gone with the next scrape.
 */
export const MAX_ACTIVE_RUNS = 20;

/** Each of the newest runs that go on. `runs` come newest first. */
export function setActiveRuns(meters: Meters, runs: readonly RunStatus[]): void {
  const images = meters.gauge('gantry_active_run_images', 'Images of one running run.', ['run', 'state']);
  const nodes = meters.gauge('gantry_active_run_nodes', 'Images, manifests and blobs of one running run.', [
    'run',
    'state',
  ]);
  const bytes = meters.counter('gantry_active_run_bytes_total', 'Bytes that were transferred for one running run.', [
    'run',
  ]);
  const failed = meters.gauge('gantry_active_run_failed_images', 'Failed images of one running run, by error code.', [
    'run',
    'code',
  ]);
  const start = meters.gauge('gantry_active_run_start_timestamp_seconds', 'When one running run was asked for.', [
    'run',
  ]);
  const left = meters.gauge('gantry_active_run_remaining_seconds', 'Until it ends, going by its images so far.', [
    'run',
  ]);
  for (const { id: run, ...of } of runs.filter(({ state }) => state === 'running').slice(0, MAX_ACTIVE_RUNS)) {
    for (const state of ['open', 'done', 'failed'] as const) images.set({ run, state }, of.images[state]);
    images.set({ run, state: 'waiting' }, Math.max(0, of.images.total - of.images.fed));
    const { known, ...ended } = of.nodes;
    for (const state of ['done', 'failed', 'skipped'] as const) nodes.set({ run, state }, ended[state]);
    nodes.set({ run, state: 'open' }, Math.max(0, known - ended.done - ended.failed - ended.skipped));
    bytes({ run }, of.bytes);
    for (const [code, count] of Object.entries(of.failuresByCode)) {
      if (Object.hasOwn(ERROR_POLICY, code)) failed.set({ run, code }, count); // Redis is no list of ours
    }
    start.set({ run }, of.createdAt / 1000);
    if (of.etaMs !== undefined) left.set({ run }, of.etaMs / 1000);
  }
}
