/** What a run came to, in numbers: one line for those who collect logs. docs/json.md describes it. */
import type { ErrorCode, ErrorOrigin } from '../../errors.ts';
import type { ImageResult } from '../../flow/dispatcher.ts';
import { nodeKey } from '../../flow/handler.ts';
import type { Outcome } from '../mirror/outcome.ts';
import { type MirrorReport, ruleFailures, sum } from '../mirror/report.ts';
import type { RequestCount } from '../mirror/request-count.ts';
import { gantryVersion } from '../version.ts';

export const BATCH_OUTCOMES = ['done', 'equal', 'skipped', 'failed', 'cancelled'] as const;
type BatchOutcome = (typeof BATCH_OUTCOMES)[number];

/** What became of the images of a run. */
export interface Tally {
  /** Each image once. */
  readonly images: Readonly<Record<BatchOutcome, number>>;
  /** Of images, and of what could not be listed. */
  readonly failures: ReadonlyMap<ErrorCode, number>;
  /** What came over the wire. */
  readonly bytes: number;
  /** Blobs that a target took from another of its repositories. */
  readonly mounted: number;
}

export type BatchState = 'done' | 'partial' | 'failed' | 'cancelled';

export interface Summary {
  readonly kind: 'summary';
  /** When it ended. */
  readonly time: string;
  readonly started: string;
  readonly command: string;
  readonly job: string;
  /** The id of the run on the farm. */
  readonly run?: string;
  readonly version: string;
  readonly state: BatchState;
  readonly exitCode: number;
  readonly images: Readonly<Record<BatchOutcome | 'total', number>>;
  readonly failures: Readonly<Partial<Record<ErrorCode, number>>>;
  readonly bytes: number;
  readonly mounted: number;
  /** Of this process, over all registries. */
  readonly requests?: Omit<RequestCount, 'registry'>;
  readonly durationMs: number;
  readonly bytesPerSecond: number;
  /** What ended the run before it could tell of images. */
  readonly error?: { readonly code: ErrorCode; readonly origin: ErrorOrigin; readonly message: string };
}

export interface SummaryParts extends Tally {
  readonly command: string;
  readonly job: string;
  readonly run: string | undefined;
  readonly exitCode: number;
  readonly startedAt: Date;
  readonly endedAt: Date;
  /** Undefined where others ask the registries. */
  readonly requests: readonly RequestCount[] | undefined;
  readonly error: Summary['error'];
}

export function summaryOf(parts: SummaryParts): Summary {
  const { command, job, run, exitCode, startedAt, endedAt, images, bytes, mounted, requests, error } = parts;
  const durationMs = Math.max(0, endedAt.getTime() - startedAt.getTime());
  return {
    kind: 'summary',
    time: endedAt.toISOString(),
    started: startedAt.toISOString(),
    command,
    job,
    ...(run === undefined ? {} : { run }),
    version: gantryVersion(),
    state: stateOf(exitCode),
    exitCode,
    images: { total: sum(BATCH_OUTCOMES, (outcome) => images[outcome]), ...images },
    failures: Object.fromEntries(parts.failures),
    bytes,
    mounted,
    ...(requests === undefined ? {} : { requests: requestsOf(requests) }),
    durationMs,
    bytesPerSecond: Math.round((bytes * 1000) / Math.max(1, durationMs)),
    ...(error === undefined ? {} : { error }),
  };
}

/** Exit codes of commands that a signal stopped: by SIGHUP, SIGINT, SIGTERM. */
const STOPPED: ReadonlySet<number> = new Set([129, 130, 143]);
const PARTIAL = 3;

function stateOf(exitCode: number): BatchState {
  if (exitCode === 0) return 'done';
  if (STOPPED.has(exitCode)) return 'cancelled';
  return exitCode === PARTIAL ? 'partial' : 'failed';
}

const requestsOf = (counts: readonly RequestCount[]): Omit<RequestCount, 'registry'> => ({
  head: sum(counts, ({ head }) => head),
  manifestGets: sum(counts, ({ manifestGets }) => manifestGets),
  lists: sum(counts, ({ lists }) => lists),
  other: sum(counts, ({ other }) => other),
});

/** Of a run without images, but for what kept it from them. */
export const tallyOfError = (code: ErrorCode): Tally => ({
  images: imagesOf([]),
  failures: failuresOf([code]),
  bytes: 0,
  mounted: 0,
});

export function tallyOfRun(images: readonly ImageResult[]): Tally {
  // Two names for one thing share its transfer.
  const moved = [...new Map(images.map((image) => [nodeKey(image.root), image])).values()];
  return {
    images: imagesOf(images.map(outcomeOf)),
    failures: failuresOf(images.flatMap(({ error }) => error?.code ?? [])),
    bytes: sum(moved, ({ bytes }) => bytes),
    mounted: sum(moved, ({ mounted }) => mounted),
  };
}

function outcomeOf({ state, skipped, isEqual, bytes, mounted }: ImageResult): BatchOutcome {
  if (state !== 'done') return state;
  if (skipped !== undefined) return 'skipped';
  // What hangs on an image that is equal may have been missing.
  return isEqual && bytes === 0 && mounted === 0 ? 'equal' : 'done';
}

const OF_MIRROR: Readonly<Record<Outcome, BatchOutcome>> = {
  missing: 'failed',
  changed: 'failed',
  copied: 'done',
  equal: 'equal',
  immutable: 'equal',
  skipped: 'skipped',
  moved: 'failed',
  failed: 'failed',
  cancelled: 'cancelled',
};

export const tallyOfReport = ({ images, rules, totals }: MirrorReport): Tally => ({
  images: imagesOf(images.map(({ outcome }) => OF_MIRROR[outcome])),
  failures: failuresOf(
    [...rules.flatMap(ruleFailures), ...images.flatMap(({ error }) => error ?? [])].map(({ code }) => code),
  ),
  bytes: totals.bytes,
  mounted: totals.mounted,
});

function imagesOf(outcomes: readonly BatchOutcome[]): Tally['images'] {
  const counts = { done: 0, equal: 0, skipped: 0, failed: 0, cancelled: 0 };
  for (const outcome of outcomes) counts[outcome] += 1;
  return counts;
}

/** That something was stopped is no failure. */
function failuresOf(codes: readonly ErrorCode[]): Tally['failures'] {
  const counts = new Map<ErrorCode, number>();
  for (const code of codes) if (code !== 'CANCELLED') counts.set(code, (counts.get(code) ?? 0) + 1);
  return counts;
}
