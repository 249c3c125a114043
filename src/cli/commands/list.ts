import { Command } from '@commander-js/extra-typings';
import type { ContentInfo } from '../../content/ports.ts';
import { type Cli, storeOf } from '../cli.ts';
import { formatOption, quietOption, storeOption, verboseOption } from '../options.ts';
import { printItems, type View } from '../output.ts';
import { bytesText, durationText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('list')
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(quietOption('print only digests'))
    .addOption(verboseOption())
    .addHelpText('after', '\nExample:\n  gantry list -q | xargs gantry verify')
    .action(async (flags) => {
      const found: ContentInfo[] = [];
      for await (const info of (await storeOf(cli, flags)).walk(cli)) found.push(info);
      await printItems(cli, found, view, flags);
    });

const view: View<ContentInfo> = {
  header: ['DIGEST', 'SIZE', 'AGE'],
  row: ({ digest, size, createdAt }) => [
    digest,
    bytesText(size),
    durationText(Math.max(0, Date.now() - createdAt.getTime())),
  ],
  json: ({ digest, size, createdAt }) => ({ digest, size, createdAt: createdAt.toISOString() }),
};
