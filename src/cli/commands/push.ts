import { Command } from '@commander-js/extra-typings';
import { fromStore } from '../../app/push.ts';
import { openRegistries, resolversOf } from '../../app/wiring.ts';
import { parseReference } from '../../oci/reference.ts';
import { asBatch } from '../batch.ts';
import { type Cli, configOf, storeOf } from '../cli.ts';
import { copyHere, withCopyOptions } from '../copying.ts';
import { registrySettings, storeOption } from '../options.ts';

export const command = (cli: Cli) =>
  withCopyOptions(new Command('push'))
    .argument('<image>', 'an image in the store, by its name')
    .argument('[target]', 'what it is to be called, such as registry:5000/x:1 (default: its name)')
    .addOption(storeOption())
    .addHelpText(
      'after',
      `
Of an index that was pulled with some of its platforms only, say the same platforms again.

Examples:
  gantry push docker.io/library/redis:7 registry:5000/mirror/redis:7
  gantry push -a registry:5000/org/app:1`,
    )
    .action((image, target, flags) =>
      asBatch(cli, 'push', flags, async (batch) => {
        const source = parseReference(image);
        const pairs = [{ source, target: target === undefined ? source : parseReference(target) }];
        const config = configOf(cli, flags);
        const store = await storeOf(cli, flags);
        const settings = { ...registrySettings(flags, config, cli), observer: batch.requests };
        await using client = openRegistries(config, settings);
        await copyHere(cli, fromStore(store, resolversOf(client)), pairs, flags, { batch });
      }),
    );
