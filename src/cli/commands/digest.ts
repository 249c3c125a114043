import { Command } from '@commander-js/extra-typings';
import { openRegistries, resolversOf } from '../../app/wiring.ts';
import { parseReference } from '../../oci/reference.ts';
import { type Cli, configOf } from '../cli.ts';
import { formatOption, registrySettings, verboseOption, withRegistryOptions } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(new Command('digest').argument('<ref>', 'an image, such as docker.io/library/redis:7'))
    .addOption(formatOption())
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nAsks the registry, with a HEAD where that is enough.\n\nExample:\n  gantry digest docker.io/library/redis:7',
    )
    .action(async (text, flags) => {
      const config = configOf(cli, {});
      await using client = openRegistries(config, registrySettings(flags, config, cli));
      const { name, desc } = await resolversOf(client).resolve(parseReference(text), cli);
      const object = { name, digest: desc.digest, mediaType: desc.mediaType, size: desc.size };
      await write(
        cli,
        flags.format === 'table'
          ? `${desc.digest}\n`
          : `${JSON.stringify(object, null, flags.format === 'json' ? 2 : 0)}\n`,
      );
    });
