import { Command, Option } from '@commander-js/extra-typings';
import { neededContent } from '../../handlers/needed.ts';
import { type Cli, storeOf } from '../cli.ts';
import { formatOption, parseDuration, storeOption, verboseOption } from '../options.ts';
import { write } from '../output.ts';
import { bytesText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('gc')
    .option('--dry-run', 'only tell what would go')
    .addOption(
      new Option('--ingests-older-than <time>', 'also unfinished writes that have not moved for so long')
        .argParser(parseDuration)
        .default(86_400_000, '24h'),
    )
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(verboseOption())
    .addHelpText('after', '\nSafe beside running pulls: what they rely on stays.\n\nExample:\n  gantry gc --dry-run')
    .action(async (flags) => {
      const store = await storeOf(cli, flags);
      const dryRun = flags.dryRun === true;
      const how = { signal: cli.signal, dryRun, ingestsOlderThanMs: flags.ingestsOlderThan };
      const empty = { blobs: [], ingests: [] };
      const { blobs, ingests } = (await store.exists())
        ? await store.collect((provider, opts) => neededContent(store.names, provider, opts), how)
        : empty;
      if (flags.format !== 'table') {
        const object = {
          dryRun,
          blobs: blobs.map(({ digest, size }) => ({ digest, size })),
          ingests: ingests.map(({ ref }) => ref),
        };
        await write(cli, `${JSON.stringify(object, null, flags.format === 'json' ? 2 : 0)}\n`);
        return;
      }
      for (const { digest } of blobs) await write(cli, `${digest}\n`);
      for (const { ref } of ingests) await write(cli, `${ref}\n`);
      const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
      const verb = dryRun ? 'would be deleted' : 'deleted';
      cli.log(`${blobs.length} blobs (${bytesText(bytes)}) and ${ingests.length} unfinished writes ${verb}`);
    });
