import type { Exposition } from './exposition.ts';
import { Meters } from './meters.ts';
import { addProcessMetrics } from './process-metrics.ts';

/** What became of a moment at which a rule was due. */
export type TickOutcome =
  /** Its images were handed to the farm. */
  | 'started'
  /** The run before it is not over. */
  | 'skipped'
  /** It could not be started, or not all of its images are at their targets. Beside `started`, where it came so far. */
  | 'failed';

/** What a process does that serves a mirror file, counted since it started. `rule` is `sync.0`. */
export class ServeMetrics {
  readonly #meters = new Meters();
  readonly #mirror: string;
  readonly #ticks;
  readonly #images;
  readonly #success;
  readonly #duration;
  readonly #pruned;
  readonly #rules;
  readonly #interval;
  readonly #valid;

  /** @param mirror the name of the file, without its directory */
  constructor({ version, mirror }: { version: string; mirror: string }) {
    const meters = this.#meters;
    const labels = ['mirror', 'rule'] as const;
    this.#mirror = mirror;
    addProcessMetrics(meters, version);
    this.#ticks = meters.counter('gantry_mirror_ticks_total', 'Moments at which a rule was due.', [
      ...labels,
      'outcome',
    ]);
    this.#images = meters.gauge('gantry_mirror_images', 'Images of the last run, by what became of them.', [
      ...labels,
      'outcome',
    ]);
    this.#success = meters.gauge(
      'gantry_mirror_last_success_timestamp_seconds',
      'When all images of the rule were last as they should be.',
      labels,
    );
    this.#duration = meters.gauge('gantry_mirror_run_duration_seconds', 'How long the last run took.', labels);
    this.#pruned = meters.counter('gantry_mirror_pruned_tags_total', 'Tags that were deleted at targets.', labels);
    this.#rules = meters.gauge('gantry_mirror_rules', 'Rules that have a schedule.', ['mirror']);
    this.#interval = meters.gauge(
      'gantry_mirror_interval_seconds',
      'The longest time between two moments at which the rule is due.',
      labels,
    );
    this.#valid = meters.gauge('gantry_mirror_file_valid', 'Whether the file could be read when it last changed.', [
      'mirror',
    ]);
  }

  text(): Promise<Exposition> {
    return this.#meters.text();
  }

  tick(rule: string, outcome: TickOutcome): void {
    this.#ticks({ mirror: this.#mirror, rule, outcome });
  }

  ran(rule: string, images: Readonly<Record<string, number>>, seconds: number): void {
    for (const [outcome, count] of Object.entries(images)) {
      this.#images.set({ mirror: this.#mirror, rule, outcome }, count);
    }
    this.#duration.set({ mirror: this.#mirror, rule }, seconds);
  }

  succeeded(rule: string, at: Date): void {
    this.#success.set({ mirror: this.#mirror, rule }, at.getTime() / 1000);
  }

  pruned(rule: string, tags: number): void {
    this.#pruned({ mirror: this.#mirror, rule }, tags);
  }

  /** All rules that have a schedule: `sync.0` to the longest time between two moments at which it is due, in seconds. */
  scheduled(rules: ReadonlyMap<string, number>): void {
    this.#rules.set({ mirror: this.#mirror }, rules.size);
    this.#interval.reset(); // a rule that left the file is not late
    for (const [rule, seconds] of rules) this.#interval.set({ mirror: this.#mirror, rule }, seconds);
  }

  read(isValid: boolean): void {
    this.#valid.set({ mirror: this.#mirror }, isValid ? 1 : 0);
  }
}
