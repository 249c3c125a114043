import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { mirrorMetrics } from '../../metrics/mirror-metrics.ts';
import type { MirrorImage } from './outcome.ts';
import { BAD, countOutcomes, type MirrorReport, ruleFailures, sum } from './report.ts';
import { writeFileWhole } from './write-file.ts';

/** Writes what a run did for the textfile collector of node_exporter. @throws GantryError IO */
export async function writeMetricsFile(path: string, report: MirrorReport): Promise<void> {
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
  const before = await readFile(path, 'utf8').catch(() => ''); // the first run has none
  const run = { mirror: basename(report.file), endedAt: ended, durationMs: ended.getTime() - began.getTime(), rules };
  await writeFileWhole(path, (await mirrorMetrics(run, before)).body);
}
