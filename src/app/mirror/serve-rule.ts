/** One rule, when it is due: listed here, copied by the workers of the farm, pruned at the end. */
import { basename } from 'node:path';
import type { CallOptions } from '../../call.ts';
import type { GantryError } from '../../errors.ts';
import type { RunResult } from '../../flow/dispatcher.ts';
import type { MirrorRule } from '../../mirror/file/types.ts';
import { expandRules } from '../../mirror/plan/expand.ts';
import type { PlannedRule } from '../../mirror/plan/types.ts';
import { rulesBeside } from '../../mirror/prune/claims.ts';
import type { PruneResult } from '../../mirror/prune/types.ts';
import type { Farm } from '../../queue/farm.ts';
import { dispatchPull } from '../pull.ts';
import { jobOf } from './job.ts';
import { pruneAfterRun } from './prune.ts';
import type { Served } from './serve-file.ts';

export interface RuleOptions extends CallOptions {
  /** A run that was started for it before. */
  readonly run: string | undefined;
  readonly onStarted: (run: string, images: number) => Promise<void>;
  readonly onAway: () => void;
}

export interface RuleResult {
  /** Undefined when there was nothing to hand to the farm. */
  readonly run: string | undefined;
  /** By what became of them. */
  readonly images: Readonly<Record<string, number>>;
  /** What could not be listed, or must not be copied. */
  readonly failures: readonly GantryError[];
  readonly pruned: readonly PruneResult[];
}

/** Redis is waited for so long: a run goes on without it being followed. */
const AWAY_MS = 600_000;

/** An abort rejects, and leaves the run alone. */
export async function runRule(farm: Farm, served: Served, rule: MirrorRule, opts: RuleOptions): Promise<RuleResult> {
  const { client, file } = served;
  const prunes = rule.prune.mode !== 'off';
  const planned = await expandRules(prunes ? rulesBeside(rule, file.rules) : [rule], client, opts);
  opts.signal.throwIfAborted();
  const own = planned.filter((each) => each.rule.id === rule.id);
  const { items, settled } = jobOf(own);
  const failures = [...failuresOf(own), ...clashesOf(own)];

  let run: string | undefined;
  let stored: Promise<void> | undefined;
  const dispatcher = farm.dispatcher({
    submit: { labels: { mirror: basename(file.file), rule: rule.id } },
    onSubmitted: (id) => {
      run = id;
      stored = opts.onStarted(id, items.length);
      stored.catch(() => undefined); // awaited below
    },
    onAway: opts.onAway,
    awayMs: AWAY_MS,
    leaveOnAbort: true,
  });
  const earlier = opts.run === undefined ? undefined : await farm.run(opts.run).catch(() => undefined);
  let result: RunResult = { images: [] };
  if (earlier !== undefined) {
    run = earlier.id;
    result = await dispatcher.follow(run, await farm.rootsOf(run), { signal: opts.signal });
  } else if (items.length > 0) {
    const roots = items.map(({ root }) => root);
    result = await dispatchPull(dispatcher, roots, { signal: opts.signal });
    await stored;
  }

  const images: Record<string, number> = { done: 0, failed: 0, cancelled: 0 };
  for (const { state } of result.images) images[state] = (images[state] ?? 0) + 1;
  const immutable = settled.filter(({ outcome }) => outcome === 'immutable').length;
  const unfinished = new Set(result.images.flatMap(({ state, root }) => (state === 'done' ? [] : [root.target])));
  for (const { outcome, target } of settled) if (outcome === 'failed' && target !== undefined) unfinished.add(target);
  const pruned = await pruneAfterRun(
    { client, planned, unfinished, onlyRules: new Set(prunes ? [rule.id] : []), memory: farm.goneTags },
    opts,
  );
  return { run, images: { ...images, immutable }, failures, pruned };
}

const failuresOf = (planned: readonly PlannedRule[]): GantryError[] =>
  planned.flatMap(({ error, repositories }) => [error, ...repositories.map((each) => each.error)]).filter(isThere);

const clashesOf = (planned: readonly PlannedRule[]): GantryError[] =>
  planned
    .flatMap(({ repositories }) => repositories)
    .flatMap(({ images }) => images.map(({ clash }) => clash))
    .filter(isThere);

const isThere = <T>(value: T | undefined): value is T => value !== undefined;
