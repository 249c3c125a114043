/** What a mirror run tells Prometheus, by the textfile collector of node_exporter: the run is over before anybody could ask it. */
import type { Exposition } from './exposition.ts';
import { Meters } from './meters.ts';

export interface MirrorRuleResult {
  /** `sync.0` */
  readonly rule: string;
  readonly images: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly isSuccess: boolean;
}

export interface MirrorRunResult {
  /** The name of the mirror file, without its directory: tells the runs of several files on one machine apart. */
  readonly mirror: string;
  readonly endedAt: Date;
  readonly durationMs: number;
  readonly rules: readonly MirrorRuleResult[];
}

const LAST_SUCCESS = 'gantry_mirror_last_success_timestamp_seconds';

/** @param before what an earlier run has written: a rule that failed keeps the time of its last success */
export function mirrorMetrics(run: MirrorRunResult, before: string): Promise<Exposition> {
  const { mirror, endedAt, durationMs, rules } = run;
  const meters = new Meters();
  const labels = ['mirror', 'rule'] as const;
  const images = meters.gauge('gantry_mirror_images', 'Images of the last run, by what became of them.', [
    ...labels,
    'outcome',
  ]);
  const bytes = meters.gauge('gantry_mirror_bytes', 'What came over the wire in the last run.', labels);
  const success = meters.gauge(LAST_SUCCESS, 'When all images of the rule were last as they should be.', labels);
  const duration = meters.gauge('gantry_mirror_duration_seconds', 'How long the last run took.', ['mirror']);
  const ended = meters.gauge('gantry_mirror_last_run_timestamp_seconds', 'When the last run ended.', ['mirror']);
  const earlier = lastSuccesses(before, mirror);
  for (const { rule, ...result } of rules) {
    for (const [outcome, count] of Object.entries(result.images)) images.set({ mirror, rule, outcome }, count);
    bytes.set({ mirror, rule }, result.bytes);
    const at = result.isSuccess ? endedAt.getTime() / 1000 : earlier.get(rule);
    if (at !== undefined) success.set({ mirror, rule }, at);
  }
  duration.set({ mirror }, durationMs / 1000);
  ended.set({ mirror }, endedAt.getTime() / 1000);
  return meters.text();
}

/** What an earlier run has told of its rules, for one that came to none of them: when they last went well is to be kept. */
export const keptMirrorMetrics = (before: string): string =>
  before
    .split('\n')
    .filter((line) => /^(?:# \w+ )?gantry_mirror_/.test(line))
    .map((line) => `${line}\n`)
    .join('');

/** By rule. */
function lastSuccesses(text: string, mirror: string): ReadonlyMap<string, number> {
  const samples = text.matchAll(/^(?<name>\w+)\{mirror="(?<mirror>[^"]*)",rule="(?<rule>[^"]*)"\} (?<value>\S+)$/gm);
  const found = new Map<string, number>();
  for (const { groups } of samples) {
    const value = Number(groups?.['value']);
    if (groups?.['name'] !== LAST_SUCCESS || groups['mirror'] !== mirror || !Number.isFinite(value)) continue;
    found.set(groups['rule'] ?? '', value);
  }
  return found;
}
