/** What a run that is over tells Prometheus: by a file for the textfile collector of node_exporter, or by a Pushgateway. */
import { ERROR_POLICY, type ErrorCode } from '../errors.ts';
import type { Exposition } from './exposition.ts';
import { Meters } from './meters.ts';

export interface BatchResult {
  /** Tells the runs of one machine apart. A label called `job` would collide with that of whoever is scraped. */
  readonly batch: string;
  readonly command: string;
  readonly images: Readonly<Record<string, number>>;
  readonly failures: ReadonlyMap<ErrorCode, number>;
  readonly bytes: number;
  readonly durationMs: number;
  readonly exitCode: number;
  readonly endedAt: Date;
}

const LAST_SUCCESS = 'gantry_batch_last_success_timestamp_seconds';

/**
 * Of failures there is a sample for each code, also for those that did not happen: a Pushgateway keeps what nothing replaces.
 * @param before what an earlier run has written: one that fails keeps the time of the last success
 */
export function batchMetrics(result: BatchResult, before: string): Promise<Exposition> {
  const { batch, command, failures, endedAt, exitCode } = result;
  const meters = new Meters();
  const own = { batch, command };
  const names = ['batch', 'command'] as const;
  const images = meters.gauge('gantry_batch_images', 'Images of the last run, by what became of them.', [
    ...names,
    'outcome',
  ]);
  const failed = meters.gauge('gantry_batch_failures', 'Failures of the last run, by their codes.', [...names, 'code']);
  const bytes = meters.gauge('gantry_batch_bytes', 'What came over the wire in the last run.', names);
  const duration = meters.gauge('gantry_batch_duration_seconds', 'How long the last run took.', names);
  const exit = meters.gauge('gantry_batch_exit_code', 'How the last run ended; 0 when all went well.', names);
  const ended = meters.gauge('gantry_batch_last_run_timestamp_seconds', 'When the last run ended.', names);
  for (const [outcome, count] of Object.entries(result.images)) images.set({ ...own, outcome }, count);
  for (const code of codes) failed.set({ ...own, code }, failures.get(code) ?? 0);
  bytes.set(own, result.bytes);
  duration.set(own, result.durationMs / 1000);
  exit.set(own, exitCode);
  ended.set(own, endedAt.getTime() / 1000);
  const at = exitCode === 0 ? endedAt.getTime() / 1000 : lastSuccess(before, own);
  if (at !== undefined) meters.gauge(LAST_SUCCESS, 'When a run last ended well.', names).set(own, at);
  return meters.text();
}

const isCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_POLICY, text);
const codes = Object.keys(ERROR_POLICY).filter(isCode);

function lastSuccess(text: string, { batch, command }: Pick<BatchResult, 'batch' | 'command'>): number | undefined {
  const start = `${LAST_SUCCESS}{batch="${batch}",command="${command}"} `;
  const line = text.split('\n').find((each) => each.startsWith(start));
  const value = Number(line?.slice(start.length) ?? NaN);
  return Number.isFinite(value) ? value : undefined;
}
