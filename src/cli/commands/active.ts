import { Command } from '@commander-js/extra-typings';
import type { IngestStatus } from '../../content/ports.ts';
import type { ActiveTransfer, WorkerStatus } from '../../flow/farm-status.ts';
import { type Cli, storeOf } from '../cli.ts';
import { farmFlags, maybeFarmOption, onFarm } from '../farm-options.ts';
import { ageText, isoOf } from '../farm-text.ts';
import { formatOption, quietOption, redisCaOption, storeOption, verboseOption } from '../options.ts';
import { printItems, type View } from '../output.ts';
import { bytesText, durationText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('active')
    .addOption(storeOption())
    .addOption(maybeFarmOption('what all workers of the farm at this Redis transfer').conflicts('store'))
    .addOption(redisCaOption())
    .addOption(formatOption())
    .addOption(quietOption('print only the names of the ingests'))
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
Also shows what a killed process has left; the next pull goes on with it, \`gantry gc\` deletes it after a day.

Examples:
  gantry active
  gantry active --redis redis://queue:6379`,
    )
    .action(async (flags) => {
      const farm = farmFlags(flags);
      if (farm === undefined) return printItems(cli, await (await storeOf(cli, flags)).active(cli), view, flags);
      const workers = await onFarm(cli, farm, (it) => it.workers(cli));
      return printItems(cli, workers.flatMap(transfersOf), farmView, flags);
    });

const view: View<IngestStatus> = {
  header: ['REF', 'OFFSET', 'TOTAL', 'AGE', 'UPDATED'],
  row: ({ ref, offset, total, startedAt, updatedAt }) => [
    ref,
    bytesText(offset),
    total === undefined ? '-' : bytesText(total),
    durationText(Date.now() - startedAt.getTime()),
    `${durationText(Math.max(0, Date.now() - updatedAt.getTime()))} ago`,
  ],
  json: ({ ref, offset, total, expected, startedAt, updatedAt }) => ({
    ref,
    offset,
    total: total ?? null,
    expected: expected ?? null,
    startedAt: startedAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }),
};

interface Transfer extends ActiveTransfer {
  /** The id of its worker. */
  readonly worker: string;
}

const transfersOf = ({ id: worker, active }: WorkerStatus): Transfer[] => active.map((each) => ({ ...each, worker }));

const farmView: View<Transfer> = {
  header: ['REF', 'WORKER', 'OFFSET', 'TOTAL', 'RATE', 'AGE'],
  row: ({ ref, worker, offset, total, bytesPerSecond, startedAt }) => [
    ref,
    worker,
    bytesText(offset),
    total === undefined ? '-' : bytesText(total),
    `${bytesText(bytesPerSecond)}/s`,
    ageText(startedAt),
  ],
  json: ({ ref, worker, run, lane, offset, total, bytesPerSecond, startedAt }) => ({
    ref,
    worker,
    run,
    lane,
    offset,
    total: total ?? null,
    bytesPerSecond,
    startedAt: isoOf(startedAt),
  }),
};
