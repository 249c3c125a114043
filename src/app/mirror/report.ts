/** The whole of a run or a check, as it is told and kept. docs/json.md describes it. */
import type { GantryError } from '../../errors.ts';
import type { PlannedRepository, PlannedRule } from '../../mirror/plan/types.ts';
import { pruneJson } from '../../mirror/prune/text.ts';
import type { PruneResult } from '../../mirror/prune/types.ts';
import type { Selection } from '../../mirror/tags/select.ts';
import type { Job } from './job.ts';
import { failureOf, type Failure, type MirrorImage, OUTCOMES, type Outcome } from './outcome.ts';
import type { RequestCount } from './request-count.ts';

export const REPORT_VERSION = 1;

export interface ReportRepository {
  readonly source: string;
  readonly targets: readonly string[];
  /** How many tags the source has; absent where nothing was listed. */
  readonly listed?: number;
  /** Each filter, and how many tags it left. */
  readonly steps?: Selection['steps'];
  readonly error?: Failure;
}

export interface ReportRule {
  readonly rule: string;
  readonly source: string;
  readonly targets: readonly string[];
  readonly repositories: readonly ReportRepository[];
  /** Repositories of the registry that `repos` left out. */
  readonly left: number;
  readonly error?: Failure;
}

export interface MirrorReport {
  readonly document: 'mirror-report';
  readonly version: typeof REPORT_VERSION;
  readonly kind: 'check' | 'run';
  /** The id of the run. */
  readonly run: string;
  readonly started: string;
  readonly ended: string;
  readonly file: string;
  readonly totals: Totals;
  readonly requests: readonly RequestCount[];
  readonly rules: readonly ReportRule[];
  readonly images: readonly MirrorImage[];
  /** Tags that left their source; absent where nothing is pruned. */
  readonly prune?: readonly ReturnType<typeof pruneJson>[];
}

export interface Totals {
  /** Those that there are, by outcome. */
  readonly images: Readonly<Partial<Record<Outcome, number>>>;
  /** Rules and repositories that came to nothing. */
  readonly failures: number;
  readonly bytes: number;
  readonly mounted: number;
}

export interface ReportParts {
  readonly kind: MirrorReport['kind'];
  readonly run: string;
  readonly started: Date;
  readonly file: string;
  readonly rules: readonly ReportRule[];
  readonly requests: readonly RequestCount[];
  readonly images: readonly MirrorImage[];
  readonly pruned: readonly PruneResult[];
}

export function reportOf({ started, pruned, ...parts }: ReportParts): MirrorReport {
  const { kind, run, file, rules, requests, images } = parts;
  const times = { started: started.toISOString(), ended: new Date().toISOString() };
  return {
    document: 'mirror-report',
    version: REPORT_VERSION,
    kind,
    run,
    ...times,
    file,
    totals: totalsOf(images, rules),
    requests,
    rules,
    images,
    ...(pruned.length === 0 ? {} : { prune: pruned.map(pruneJson) }),
  };
}

/** Images in the order of the rules, within a rule in the order of outcomes' rows: what was settled first stays first. */
export function inOrder(rules: readonly ReportRule[], { settled }: Job, images: readonly MirrorImage[]): MirrorImage[] {
  const byRule = Map.groupBy([...images, ...settled], ({ rule }) => rule);
  return rules.flatMap(({ rule }) => byRule.get(rule) ?? []);
}

export const ruleReports = (rules: readonly PlannedRule[]): ReportRule[] =>
  rules.map(({ rule, repositories, left, error }) => ({
    rule: rule.id,
    source: rule.source,
    targets: rule.targets,
    repositories: repositories.map(repositoryReport),
    left: left.length,
    ...errorField(error),
  }));

const repositoryReport = ({ source, targets, selection, error }: PlannedRepository): ReportRepository => ({
  source,
  targets,
  ...(selection === undefined ? {} : { listed: selection.listed, steps: selection.steps }),
  ...errorField(error),
});

const errorField = (error: GantryError | undefined): { readonly error?: Failure } =>
  error === undefined ? {} : { error: failureOf(error) };

/** What a rule could not do at all. */
export const ruleFailures = ({ error, repositories }: ReportRule): Failure[] => [
  ...(error === undefined ? [] : [error]),
  ...repositories.flatMap((repository) => repository.error ?? []),
];

export const countOutcomes = (images: readonly MirrorImage[]): Partial<Record<Outcome, number>> => {
  const counts = new Map<Outcome, number>();
  for (const { outcome } of images) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const found = OUTCOMES.filter((outcome) => counts.has(outcome));
  return Object.fromEntries(found.map((outcome) => [outcome, counts.get(outcome) ?? 0]));
};

const totalsOf = (images: readonly MirrorImage[], rules: readonly ReportRule[]): Totals => ({
  images: countOutcomes(images),
  failures: rules.flatMap(ruleFailures).length,
  bytes: sum(images, ({ bytes = 0 }) => bytes),
  mounted: sum(images, ({ mounted = 0 }) => mounted),
});

export const sum = <T>(items: readonly T[], amountOf: (item: T) => number): number =>
  items.reduce((total, item) => total + amountOf(item), 0);

/** Target repositories that do not have all that they should. */
export function unfinished(rules: readonly ReportRule[], images: readonly MirrorImage[]): ReadonlySet<string> {
  const found = new Set(
    rules.flatMap((rule) => rule.repositories.flatMap(({ error, targets }) => (error === undefined ? [] : targets))),
  );
  for (const { outcome, target } of images) if (BAD.has(outcome) && target !== undefined) found.add(target);
  return found;
}

/** Outcomes of images that are not as they should be. */
export const BAD: ReadonlySet<Outcome> = new Set(['failed', 'cancelled', 'moved']);
