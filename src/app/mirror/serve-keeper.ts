import { messageOf } from '../../errors.ts';
import type { ServeMetrics } from '../../metrics/serve-metrics.ts';
import { longestPauseMs } from '../../mirror/file/schedule.ts';
import type { Schedules } from '../../queue/schedules.ts';
import type { Log } from '../service.ts';
import { type Served, type ServedFile, schedulesOf } from './serve-file.ts';

interface KeeperParts {
  readonly served: ServedFile;
  readonly schedules: Schedules;
  readonly metrics: ServeMetrics;
  readonly log: Log;
}

/** Keeps schedules as the mirror file says, whenever it says something else. */
export class Keeper {
  readonly #parts: KeeperParts;
  /** One change after the other: two at once would undo each other's. */
  #last: Promise<void> = Promise.resolve();
  /** What the metrics tell the schedules of. */
  #told: Served | undefined;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { served, metrics, log } = this.#parts;
    metrics.read(true);
    await this.#set();
    const { rules } = served.current.file;
    const without = rules.length - served.current.rules.size;
    if (without > 0) log(`${without} of ${rules.length} rules have neither schedule nor interval: they never run here`);
  }

  /** Reads the file if it was written since. Also makes schedules again that Redis has lost. */
  look(): Promise<void> {
    return this.#next(async () => {
      if (this.#parts.served.isStale) await this.#reload();
      else await this.#set();
    });
  }

  reload(): Promise<void> {
    return this.#next(() => this.#reload());
  }

  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #reload(): Promise<void> {
    const { served, metrics, log } = this.#parts;
    try {
      served.reload();
    } catch (err) {
      metrics.read(false);
      log(`the file is not taken, and the old rules stay: ${messageOf(err)}`);
      return;
    }
    metrics.read(true);
    const { made, removed } = await this.#set();
    log(`read the file again: ${made.length} schedules new or changed, ${removed.length} gone`);
  }

  #set() {
    const { served, schedules, metrics } = this.#parts;
    const wanted = schedulesOf(served.current);
    if (this.#told !== served.current) {
      const { rules } = served.current;
      metrics.scheduled(new Map(wanted.map(({ id, when }) => [rules.get(id)?.id ?? id, longestPauseMs(when) / 1000])));
      this.#told = served.current;
    }
    return schedules.set(wanted);
  }
}
