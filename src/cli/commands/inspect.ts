import { Command } from '@commander-js/extra-typings';
import { inspectImage, type ImageDescription } from '../../app/inspect.ts';
import { openRegistries, resolversOf } from '../../app/wiring.ts';
import { parseReference } from '../../oci/reference.ts';
import { type Cli, configOf, storeOf } from '../cli.ts';
import { formatOption, registrySettings, storeOption, verboseOption, withRegistryOptions } from '../options.ts';
import { write } from '../output.ts';
import { bytesText, tableText } from '../units.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(new Command('inspect').argument('<ref>', 'an image, such as docker.io/library/redis:7'))
    .option('--platform <platform>', 'which entry of an index to describe (default: that of this machine)')
    .option('--remote', 'ask the registry, also when the store has the image')
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nFrom the store when it has the image, else from the registry.\n\nExample:\n  gantry inspect docker.io/library/redis:7 --format json | jq .config.Env',
    )
    .action(async (text, flags) => {
      const config = configOf(cli, flags);
      await using client = openRegistries(config, registrySettings(flags, config, cli));
      const parts = {
        store: flags.remote === true ? undefined : await storeOf(cli, flags),
        resolver: resolversOf(client),
      };
      const found = await inspectImage(parts, parseReference(text), { ...cli, platform: flags.platform });
      await write(
        cli,
        flags.format === 'table' ? asText(found) : `${JSON.stringify(found, null, flags.format === 'json' ? 2 : 0)}\n`,
      );
    });

function asText(image: ImageDescription): string {
  const rows = [
    ['name', image.name],
    ['digest', image.digest],
    ['type', image.mediaType],
    ['from', image.from],
    ...image.platforms.map((platform, i) => [i === 0 ? 'platforms' : '', `${platform.platform}  ${platform.digest}`]),
    ...(image.created === undefined ? [] : [['created', image.created]]),
    ...(image.platform === undefined ? [] : [['platform', image.platform]]),
    ['size', `${bytesText(image.size)} in ${image.layers.length} layers`],
    ...image.layers.map((layer, i) => [
      i === 0 ? 'layers' : '',
      `${layer.digest}  ${bytesText(layer.size).padStart(10)}  ${layer.mediaType}`,
    ]),
    ...Object.entries(image.config).map(([key, value]) => [key, JSON.stringify(value)]),
    ...Object.entries(image.annotations).map(([key, value]) => [key, value]),
  ];
  return tableText(rows);
}
