import { Command } from '@commander-js/extra-typings';
import { parseDigest } from '../../oci/digest.ts';
import { type Cli, storeOf } from '../cli.ts';
import { quietOption, storeOption, verboseOption } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  new Command('path')
    .argument('<digest...>', 'content of the store')
    .addOption(storeOption())
    .addOption(quietOption('print only the paths'))
    .addOption(verboseOption())
    .addHelpText('after', '\nExample:\n  tar tzf "$(gantry path -q sha256:...)"')
    .action(async (texts, flags) => {
      const store = await storeOf(cli, flags);
      for (const digest of texts.map(parseDigest)) {
        const path = await store.path(digest, cli);
        await write(cli, flags.quiet === true ? `${path}\n` : `${digest} ${path}\n`);
      }
    });
