import { messageOf } from '../../errors.ts';
import type { ServeMetrics } from '../../metrics/serve-metrics.ts';
import type { MirrorRule } from '../../mirror/file/types.ts';
import { hasFailed, pruneLine } from '../../mirror/prune/text.ts';
import type { Farm } from '../../queue/farm.ts';
import type { Tick } from '../../queue/schedules.ts';
import type { Log } from '../service.ts';
import type { Served, ServedFile } from './serve-file.ts';
import { type RuleResult, runRule } from './serve-rule.ts';

interface TicksParts {
  readonly farm: Farm;
  readonly served: ServedFile;
  readonly metrics: ServeMetrics;
  readonly log: Log;
  /** The same line once a minute. */
  readonly problem: Log;
}

/** What is done when a rule is due. */
export class Ticks {
  readonly #parts: TicksParts;

  constructor(parts: TicksParts) {
    this.#parts = parts;
  }

  /** Rejects only when the process ends before the run does. */
  take(tick: Tick): Promise<void> {
    return this.#parts.served.use(async (served) => {
      const rule = served.rules.get(tick.schedule);
      if (rule === undefined) return; // another process has a newer file
      if (await this.#isOpen(tick)) {
        this.#parts.metrics.tick(rule.id, 'skipped');
        this.#parts.log(`${rule.id}: due, and skipped: the run before is not over`);
        return;
      }
      await this.#run(tick, served, rule);
    });
  }

  async #isOpen({ isOverlapping, run, lastRun }: Tick): Promise<boolean> {
    if (isOverlapping) return true;
    if (lastRun === undefined || lastRun === run) return false;
    // Its process may have been killed while the farm went on with it.
    const known = await this.#parts.farm.run(lastRun).catch(() => undefined);
    return known?.state === 'running';
  }

  async #run(tick: Tick, served: Served, rule: MirrorRule): Promise<void> {
    const { farm, metrics, log, problem } = this.#parts;
    const beganMs = performance.now();
    let isCounted = false;
    try {
      const result = await runRule(farm, served, rule, {
        signal: tick.signal,
        run: tick.run,
        onStarted: async (run, images) => {
          // Images whose tag has moved meanwhile go into a second run.
          if (!isCounted) metrics.tick(rule.id, 'started');
          isCounted = true;
          log(`${rule.id}: run ${run} started, ${images} images`);
          await tick.started(run);
        },
        onAway: () => problem(`${rule.id}: redis does not answer; its run is followed when it is back`),
      });
      this.#tell(rule.id, result, (performance.now() - beganMs) / 1000);
    } catch (err) {
      tick.signal.throwIfAborted();
      metrics.tick(rule.id, 'failed');
      log(`${rule.id}: ${messageOf(err)}`);
    }
  }

  #tell(rule: string, { run, images, failures, pruned }: RuleResult, seconds: number): void {
    const { metrics, log } = this.#parts;
    const bad = (images['failed'] ?? 0) + (images['cancelled'] ?? 0);
    if (run === undefined && failures.length === 0) metrics.tick(rule, 'started'); // there was nothing to hand out
    if (bad + failures.length > 0) metrics.tick(rule, 'failed');
    else metrics.succeeded(rule, new Date());
    metrics.ran(rule, images, seconds);
    for (const { message } of failures) log(`${rule}: ${message}`);
    if (run !== undefined) {
      const counts = Object.entries(images).filter(([, count]) => count > 0);
      const hint = bad > 0 ? ` (gantry runs show --failed ${run})` : '';
      const told = counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ');
      log(`${rule}: run ${run} ended after ${seconds.toFixed(1)} s: ${told}${hint}`);
    }
    for (const result of pruned) {
      metrics.pruned(rule, result.tags.filter(({ state }) => state === 'deleted').length);
      const line = pruneLine(result);
      if (line !== undefined) log(`${rule}: ${line}`);
    }
    if (pruned.some(hasFailed)) metrics.tick(rule, 'failed');
  }
}
