import { Command, Option } from '@commander-js/extra-typings';
import { ERROR_POLICY } from '../../errors.ts';
import type { ImageRecord } from '../../flow/farm-status.ts';
import type { Farm } from '../../queue/farm.ts';
import type { Cli } from '../cli.ts';
import { onFarm, withFarmOptions } from '../farm-options.ts';
import { failureGroups, imageView, runJson, runText, runView } from '../farm-run-view.ts';
import { printRun, watchRun } from '../farm-show.ts';
import { formatOption, parseCount, progressOption, quietOption } from '../options.ts';
import { type Format, printItems, write } from '../output.ts';

export const command = (cli: Cli) =>
  new Command('runs')
    .addHelpText(
      'after',
      `
A run is one request to a farm; its results are kept for a week after its end.

Examples:
  gantry runs --redis redis://queue:6379
  gantry runs show r1f2e3d4c5b
  gantry runs show --failed --format jsonl r1f2e3d4c5b | jq -r .name
  gantry runs watch r1f2e3d4c5b
  gantry runs retry r1f2e3d4c5b --error RATE_LIMITED`,
    )
    .addCommand(list(cli), { isDefault: true })
    .addCommand(show(cli))
    .addCommand(watch(cli))
    .addCommand(cancel(cli))
    .addCommand(retry(cli));

const RUN = ['<run>', 'its id, as `gantry runs` shows it'] as const;

const list = (cli: Cli) =>
  withFarmOptions(new Command('list'))
    .description('list runs, the newest first')
    .option('--limit <n>', 'no more than so many', parseCount(1), 50)
    .addOption(formatOption())
    .addOption(quietOption('print only ids'))
    .action((flags) =>
      onFarm(cli, flags, async (farm) => {
        const runs = await farm.runs({ signal: cli.signal, limit: flags.limit });
        await printItems(cli, runs, runView, flags);
      }),
    );

const show = (cli: Cli) =>
  withFarmOptions(new Command('show'))
    .description('tell how far a run is, why it waits, and what failed')
    .argument(...RUN)
    .option('--failed', 'list all images that failed instead')
    .addOption(formatOption())
    .action((id, flags) =>
      onFarm(cli, flags, (farm) => (flags.failed ? printFailed : printStatus)(cli, farm, id, flags.format)),
    );

const watch = (cli: Cli) =>
  withFarmOptions(new Command('watch'))
    .description('show the progress of a run until it ends, and exit as its pull would')
    .argument(...RUN)
    .addOption(formatOption())
    .addOption(progressOption())
    .addOption(quietOption('no progress; print REPOSITORY@DIGEST for each image'))
    .addHelpText('after', '\nCtrl-C ends the watching and leaves the run alone.')
    .action((id, flags) => onFarm(cli, flags, (farm) => watchRun(cli, farm, id, flags)));

const cancel = (cli: Cli) =>
  withFarmOptions(new Command('cancel'))
    .description('end a run before its time; what is in the store stays')
    .argument(...RUN)
    .addOption(formatOption())
    .action((id, flags) =>
      onFarm(cli, flags, async (farm) => {
        const cancelled = await farm.cancel(id);
        const { state } = await farm.run(id);
        const text = cancelled ? `run ${id} cancelled` : `run ${id} had ended before: ${state}`;
        await write(cli, `${flags.format === 'table' ? text : JSON.stringify({ run: id, cancelled, state })}\n`);
      }),
    );

const retry = (cli: Cli) =>
  withFarmOptions(new Command('retry'))
    .description('start a new run with what failed or was cancelled in another, and print its id')
    .argument(...RUN)
    .addOption(new Option('--error <code>', 'only images that failed so').choices(Object.keys(ERROR_POLICY)))
    .addOption(formatOption())
    .action((id, { error: code, ...flags }) =>
      onFarm(cli, flags, async (farm) => {
        const run = await farm.retry(id, { signal: cli.signal, ...(code === undefined ? {} : { code }) });
        if (run !== undefined) await printRun(cli, run, flags.format);
        else if (flags.format === 'table') cli.log(`nothing to retry in run ${id}`);
        else await write(cli, `${JSON.stringify({ run: null })}\n`);
      }),
    );

async function printStatus(cli: Cli, farm: Farm, id: string, format: Format): Promise<void> {
  const [run, waiting] = [await farm.run(id), await farm.waitReasons(id, cli)];
  const failures = await failureGroups(farm.images(id, cli));
  if (format === 'table') await write(cli, runText(run, waiting, failures));
  else await write(cli, `${JSON.stringify(runJson(run, waiting, failures), null, format === 'json' ? 2 : 0)}\n`);
}

/** As JSON lines without keeping them: there may be tens of thousands. */
async function printFailed(cli: Cli, farm: Farm, id: string, format: Format): Promise<void> {
  const failed: ImageRecord[] = [];
  for await (const image of farm.images(id, cli)) {
    if (image.state !== 'failed') continue;
    if (format === 'jsonl') await printItems(cli, [image], imageView, { format });
    else failed.push(image);
  }
  if (format !== 'jsonl') await printItems(cli, failed, imageView, { format });
}
