import { Command } from '@commander-js/extra-typings';
import { openRegistries, resolversOf } from '../../app/wiring.ts';
import { parseReference } from '../../oci/reference.ts';
import { fetchManifest } from '../../app/remote-image.ts';
import { type Cli, configOf } from '../cli.ts';
import { registrySettings, verboseOption, withRegistryOptions } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(new Command('manifest').argument('<ref>', 'an image, such as docker.io/library/redis:7'))
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nAs the registry sends it, verified against its digest.\n\nExample:\n  gantry manifest docker.io/library/redis:7 | jq .',
    )
    .action(async (text, flags) => {
      const config = configOf(cli, {});
      await using client = openRegistries(config, registrySettings(flags, config, cli));
      const { bytes } = await fetchManifest(resolversOf(client), parseReference(text), cli);
      await write(cli, bytes);
    });
