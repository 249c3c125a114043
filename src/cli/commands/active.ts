import { Command } from '@commander-js/extra-typings';
import type { IngestStatus } from '../../content/ports.ts';
import { type Cli, storeOf } from '../cli.ts';
import { formatOption, quietOption, storeOption, verboseOption } from '../options.ts';
import { printItems, type View } from '../output.ts';
import { bytesText, durationText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('active')
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(quietOption('print only the names of the ingests'))
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nAlso shows what a killed process has left; the next pull goes on with it, `gantry gc` deletes it after a day.',
    )
    .action(async (flags) => printItems(cli, await (await storeOf(cli, flags)).active(cli), view, flags));

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
