import { Command } from '@commander-js/extra-typings';
import { openRegistries } from '../../app/wiring.ts';
import { parseRepository } from '../../oci/reference.ts';
import { type Cli, configOf } from '../cli.ts';
import { formatOption, registrySettings, verboseOption, withRegistryOptions } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(new Command('ls').argument('<repo>', 'a repository, such as docker.io/library/redis'))
    .addOption(formatOption())
    .addOption(verboseOption())
    .addHelpText('after', '\nExample:\n  gantry ls docker.io/library/redis | sort -V | tail')
    .action(async (text, flags) => {
      const { repository } = parseRepository(text);
      const config = configOf(cli, {});
      await using client = openRegistries(config, registrySettings(flags, config, cli));
      const all: string[] = [];
      for await (const page of client.tags(repository, cli)) {
        // Page by page, so that a list of fifty thousand starts at once and ends with a closed pipe.
        if (flags.format === 'table') await write(cli, page.map((tag) => `${tag}\n`).join(''));
        else if (flags.format === 'jsonl')
          await write(cli, page.map((tag) => `${JSON.stringify({ repository, tag })}\n`).join(''));
        else all.push(...page);
      }
      if (flags.format === 'json') await write(cli, `${JSON.stringify({ repository, tags: all }, null, 2)}\n`);
    });
