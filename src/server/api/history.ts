/** How runs went lately: samples, taken while the server runs. */
import type { CallOptions } from '../../call.ts';
import type { FarmView, RunStatus } from '../../flow/farm-status.ts';
import type { HistoryJson } from './schema.ts';

export interface HistoryTimes {
  readonly everyMs: number;
  /** Of each run. */
  readonly keepMs: number;
  /** After the last sample of a run, which is taken when it has ended. */
  readonly keepEndedMs: number;
}

const TIMES: HistoryTimes = { everyMs: 5000, keepMs: 3_600_000, keepEndedMs: 600_000 };
/** The newest. */
const MAX_RUNS = 50;
/** So many are looked at for those that run. */
const MAX_LISTED = 100;

type Point = HistoryJson['points'][number];

interface Kept {
  readonly points: Point[];
  /** Of the last sample, milliseconds since 1970. */
  at: number;
  bytes: number;
  hasEnded: boolean;
}

export class History implements Disposable {
  readonly #view: FarmView;
  readonly #times: HistoryTimes;
  readonly #opts: CallOptions;
  readonly #runs = new Map<string, Kept>();
  readonly #timer: NodeJS.Timeout;
  #isReading = false;

  /** Samples from now on, until it is disposed. A farm that does not answer leaves a gap. */
  constructor(view: FarmView, opts: CallOptions, times: Partial<HistoryTimes> = {}) {
    this.#view = view;
    this.#opts = opts;
    this.#times = { ...TIMES, ...times };
    this.#timer = setInterval(() => void this.#sample().catch(() => undefined), this.#times.everyMs);
  }

  of(id: string): HistoryJson {
    return { stepMs: this.#times.everyMs, points: this.#runs.get(id)?.points ?? [] };
  }

  /** Over the last step; null where that is not known, and for a run that has ended. */
  rateOf({ id, state }: RunStatus): number | null {
    return state === 'running' ? (this.#runs.get(id)?.points.at(-1)?.bytesPerSecond ?? null) : null;
  }

  async #sample(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const runs = await this.#view.runs({ ...this.#opts, limit: MAX_LISTED });
      const at = Date.now();
      const running = runs.filter(({ state }) => state === 'running').slice(0, MAX_RUNS);
      const ended = runs.filter(({ id, state }) => state !== 'running' && this.#runs.get(id)?.hasEnded === false);
      for (const run of [...running, ...ended]) this.#add(run, at);
      for (const [id, kept] of this.#runs) if (at - kept.at > this.#times.keepEndedMs) this.#runs.delete(id);
    } finally {
      this.#isReading = false;
    }
  }

  #add(run: RunStatus, at: number): void {
    const { everyMs, keepMs } = this.#times;
    const isYoung = at - run.createdAt <= 2 * everyMs;
    const kept = this.#runs.get(run.id) ?? {
      points: [],
      at: isYoung ? run.createdAt : at,
      bytes: isYoung ? 0 : run.bytes,
      hasEnded: false,
    };
    this.#runs.set(run.id, kept);
    const tookMs = at - kept.at;
    if (tookMs > 0) {
      const { known, done, failed, skipped } = run.nodes;
      kept.points.push({
        at: new Date(at).toISOString(),
        bytesPerSecond: Math.max(0, Math.round(((run.bytes - kept.bytes) * 1000) / tookMs)),
        openNodes: run.state === 'running' ? Math.max(0, known - done - failed - skipped) : 0,
        imagesDone: run.images.done,
      });
      if (kept.points.length > keepMs / everyMs) kept.points.shift();
    }
    Object.assign(kept, { at, bytes: run.bytes, hasEnded: run.state !== 'running' });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
