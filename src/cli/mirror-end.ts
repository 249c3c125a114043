/** The end of a mirror run or check: what is printed, what is written to files, and the exit code. */
import { type Failure, type MirrorImage, targetName } from '../app/mirror/outcome.ts';
import { BAD, type MirrorReport, type ReportRule, ruleFailures } from '../app/mirror/report.ts';
import { assertPlace, writeFileWhole } from '../app/mirror/write-file.ts';
import { ERROR_POLICY, exitCodeOf } from '../errors.ts';
import { hasFailed } from '../mirror/prune/text.ts';
import type { PruneResult } from '../mirror/prune/types.ts';
import type { Cli } from './cli.ts';
import { reportText } from './mirror-view.ts';
import { type Format, write } from './output.ts';
import { PARTIAL } from './run-result.ts';

/** The exit code of a check that found something to do. */
export const WOULD_CHANGE = 8;

export interface EndFlags {
  readonly format: Format;
  readonly quiet?: true | undefined;
  readonly report?: string | undefined;
}

/** Before anything is asked of a registry. @throws GantryError USAGE when the report could not be written in the end */
export async function assertPlaces({ report }: Pick<EndFlags, 'report'>): Promise<void> {
  if (report !== undefined) await assertPlace(report);
}

/**
 * Files come first, because what goes to a pipe may find its reader gone. One that cannot be written does not keep the rest back.
 * @param onEnd told of the exit code, then
 */
export async function endMirror(
  cli: Cli,
  report: MirrorReport,
  pruned: readonly PruneResult[],
  flags: EndFlags,
  onEnd?: (exitCode: number) => Promise<void>,
): Promise<void> {
  const [written] = await Promise.allSettled([writeReport(report, flags)]);
  const exitCode = exitCodeOfReport(report, pruned);
  await onEnd?.(written.status === 'rejected' ? exitCodeOf(written.reason) : exitCode);
  if (flags.format === 'json') await write(cli, `${JSON.stringify(report, null, 2)}\n`);
  else if (flags.format === 'jsonl')
    await write(cli, report.images.map((image) => `${JSON.stringify(image)}\n`).join(''));
  else if (flags.quiet !== true) await write(cli, reportText(report, pruned, cli.verbose));
  tellFailures(cli, report);
  cli.exitCode = exitCode;
  if (written.status === 'rejected') throw written.reason;
}

async function writeReport(report: MirrorReport, { report: path }: EndFlags): Promise<void> {
  if (path !== undefined) await writeFileWhole(path, `${JSON.stringify(report, null, 2)}\n`);
}

/** A farm has the images; what did not come so far is told here, and nowhere else. */
export function endDetached(cli: Cli, rules: readonly ReportRule[], settled: readonly MirrorImage[]): void {
  tellFailures(cli, { rules, images: settled });
  const failed = rules.some((rule) => ruleFailures(rule).length > 0) || settled.some(({ outcome }) => BAD.has(outcome));
  if (failed) cli.exitCode = PARTIAL;
}

function tellFailures(cli: Cli, { rules, images }: Pick<MirrorReport, 'rules' | 'images'>): void {
  for (const rule of rules) {
    for (const failure of ruleFailures(rule)) tell(cli, rule.rule, failure);
  }
  for (const image of images) {
    const { rule, source, outcome, error, why } = image;
    if (outcome === 'moved') cli.stderr.write(`gantry: ${rule}: ${source}: ${why ?? ''}\n`);
    if (outcome === 'failed' && error !== undefined) tell(cli, `${rule}: ${source} -> ${targetName(image)}`, error);
  }
  const cancelled = images.filter(({ outcome }) => outcome === 'cancelled').length;
  if (cancelled > 0) cli.stderr.write(`gantry: ${cancelled} images were cancelled\n`);
}

const tell = (cli: Cli, where: string, { code, message, hint, transient }: Failure): void => {
  if (code === 'CANCELLED') return; // whoever stopped it knows
  const again = transient ? '; it may go well the next time' : '';
  cli.stderr.write(`gantry: ${where}: ${message}${hint === undefined ? '' : ` (${hint})`}${again}\n`);
};

/** As of other runs: that of the failure when all failed alike, 3 when some are as they should be; then 8 when something would change. */
function exitCodeOfReport({ rules, images }: MirrorReport, pruned: readonly PruneResult[]): number {
  const failures = [...rules.flatMap(ruleFailures), ...images.flatMap(({ error }) => error ?? [])];
  const moved = images.some(({ outcome }) => outcome === 'moved');
  if (failures.length > 0 || moved) {
    const codes = new Set(failures.map(({ code }) => ERROR_POLICY[code].exit));
    const [only = PARTIAL] = codes;
    return images.some(isGood) ? PARTIAL : codes.size > 1 ? 1 : only;
  }
  if (pruned.some(hasFailed)) return PARTIAL;
  const wouldCopy = images.some(({ outcome }) => outcome === 'missing' || outcome === 'changed');
  const wouldDelete = pruned.some(({ tags }) => tags.some(({ state }) => state === 'due'));
  return wouldCopy || wouldDelete ? WOULD_CHANGE : 0;
}

const isGood = ({ outcome }: MirrorImage): boolean => !BAD.has(outcome) && outcome !== 'skipped';
