import { basename } from 'node:path';
import { mirrorMetrics } from '../../metrics/mirror-metrics.ts';
import type { MirrorImage } from './outcome.ts';
import { BAD, countOutcomes, type MirrorReport, ruleFailures, sum } from './report.ts';

/** What a run did, by rule. @param before what an earlier run has told */
export async function metricsOfReport(report: MirrorReport, before: string): Promise<string> {
  const [began, ended] = [new Date(report.started), new Date(report.ended)];
  const byRule = Map.groupBy(report.images, ({ rule }) => rule);
  const isGood = (images: readonly MirrorImage[]): boolean => images.every(({ outcome }) => !BAD.has(outcome));
  const rules = report.rules.map((rule) => {
    const images = byRule.get(rule.rule) ?? [];
    return {
      rule: rule.rule,
      images: countOutcomes(images),
      bytes: sum(images, ({ bytes = 0 }) => bytes),
      isSuccess: isGood(images) && ruleFailures(rule).length === 0,
    };
  });
  const run = { mirror: basename(report.file), endedAt: ended, durationMs: ended.getTime() - began.getTime(), rules };
  return (await mirrorMetrics(run, before)).body;
}
