/** `mirror plan`: what a run would move, as data and in short. */
import { Command } from '@commander-js/extra-typings';
import { jobOf } from '../app/mirror/job.ts';
import { makePlan } from '../app/mirror/plan.ts';
import type { Amount, MirrorPlan } from '../app/mirror/plan-file.ts';
import { ruleReports } from '../app/mirror/report.ts';
import { RequestCounter } from '../app/mirror/request-count.ts';
import { assertPlace, writeFileWhole } from '../app/mirror/write-file.ts';
import { resolversOf } from '../app/wiring.ts';
import { ERROR_POLICY } from '../errors.ts';
import { expandRules } from '../mirror/plan/expand.ts';
import type { Cli } from './cli.ts';
import { loadFile, mirrorFileOption, openMirrored } from './mirror-options.ts';
import { counted, requestLines } from './mirror-view.ts';
import { parseBytes, quietOption, verboseOption, withRegistryOptions } from './options.ts';
import { write } from './output.ts';
import { PARTIAL } from './run-result.ts';
import { bytesText, durationText } from './units.ts';

export const planCommand = (cli: Cli) =>
  withRegistryOptions(
    new Command('plan')
      .description('work out what a run would move, and write it down')
      .addOption(mirrorFileOption())
      .option('-o, --output <file>', 'where the plan goes (default: stdout)')
      .option('--rate <bytes>', 'bytes per second to reckon with, such as 20M (default: measured)', parseBytes)
      .addOption(quietOption('no summary'))
      .addOption(verboseOption()),
  )
    .addHelpText(
      'after',
      `
Reads the manifests of what is missing or changed, which registries count, and asks the targets which blobs they have.
The plan names images and digests and has no credentials in it: it can be reviewed and kept.`,
    )
    .action(async (flags) => {
      if (flags.output !== undefined) await assertPlace(flags.output);
      const file = await loadFile(cli, flags.file);
      const counter = new RequestCounter();
      await using client = openMirrored(cli, flags, file, counter);
      const planned = await expandRules(file.rules, client, cli);
      const parts = { resolver: resolversOf(client), file: file.file, rate: flags.rate, counter };
      const plan = await makePlan({ ...parts, job: jobOf(planned), rules: ruleReports(planned) }, cli);
      cli.signal.throwIfAborted();
      const text = `${JSON.stringify(plan, null, 2)}\n`;
      if (flags.output === undefined) await write(cli, text);
      else await writeFileWhole(flags.output, text);
      if (flags.quiet !== true) for (const line of summary(plan)) cli.log(line);
      for (const { rule, source, error } of plan.failures)
        cli.stderr.write(`gantry: ${rule}: ${source}: ${error.message}\n`);
      cli.exitCode = exitCodeOf(plan);
    });

function summary({ images, unchanged, targets, requests, eta }: MirrorPlan): string[] {
  const missing = images.filter(({ outcome }) => outcome === 'missing').length;
  const gets = requests.run.map(({ registry, manifestGets }) => `${registry} ${manifestGets}`).join(', ');
  return [
    `${counted(images.length, 'image')} to copy: ${missing} missing, ${images.length - missing} changed; ${unchanged} as they should be`,
    ...targets.map(targetLine),
    ...(gets === '' ? [] : [`manifest GETs that a run costs: ${gets}`]),
    ...(eta === null
      ? []
      : [`about ${durationText(eta.seconds * 1000)} at ${bytesText(eta.bytesPerSecond)}/s (${eta.basis})`]),
    ...requestLines(requests.plan),
  ];
}

function targetLine({ registry, send, mount, present, manifests }: MirrorPlan['targets'][number]): string {
  const parts = [amountText('send', send), amountText('mount', mount), amountText('there already', present)];
  return `${registry}: ${[...parts.flat(), counted(manifests, 'manifest')].join(', ')}`;
}

const amountText = (verb: string, { blobs, bytes }: Amount): string[] =>
  blobs === 0 ? [] : [`${verb} ${counted(blobs, 'blob')} of ${bytesText(bytes)}`];

function exitCodeOf({ failures, images, unchanged }: MirrorPlan): number {
  const codes = new Set(failures.map(({ error }) => ERROR_POLICY[error.code].exit));
  const [only] = codes;
  if (only === undefined) return 0;
  return images.length + unchanged > 0 ? PARTIAL : codes.size > 1 ? 1 : only;
}
