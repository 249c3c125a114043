import { collectDefaultMetrics } from 'prom-client';
import type { Exposition } from './exposition.ts';
import { Meters } from './meters.ts';

/** Gauges whose names say that they are counters; promtool complains. Each is the sum of one that is named well. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Build, CPU, memory, file descriptors, event loop and garbage collection of this process. Once a process. */
export function addProcessMetrics(meters: Meters, version: string): void {
  const build = meters.gauge('gantry_build_info', 'Always 1; the labels tell what runs.', ['version', 'node']);
  build.set({ version, node: process.versions.node }, 1);
  collectDefaultMetrics({ register: meters.registry });
  for (const name of MISNAMED) meters.registry.removeSingleMetric(name);
}

/** The metrics of a process that handles no tickets. */
export class ProcessMetrics {
  readonly #meters = new Meters();

  constructor({ version }: { version: string }) {
    addProcessMetrics(this.#meters, version);
  }

  text(): Promise<Exposition> {
    return this.#meters.text();
  }
}
