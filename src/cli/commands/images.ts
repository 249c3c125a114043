import { Command } from '@commander-js/extra-typings';
import { type ImageEntry, listImages } from '../../app/images.ts';
import type { ContentStore } from '../../store/content-store.ts';
import { parseReference } from '../../oci/reference.ts';
import { type Cli, storeOf } from '../cli.ts';
import { formatOption, quietOption, storeOption, verboseOption } from '../options.ts';
import { printItems, type View, write } from '../output.ts';
import { bytesText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('images')
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(quietOption('print only names'))
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nNames that other tools have written into the layout are listed, too.\n\nExample:\n  gantry images rm docker.io/library/redis:latest && gantry gc',
    )
    .action(async (flags) => {
      const store = await storeOf(cli, flags);
      const namesOnly = flags.quiet === true && flags.format === 'table';
      const entries = namesOnly
        ? (await store.names.list(cli)).map((each) => ({ ...each, size: 0 }))
        : await listImages(store, cli);
      await printItems(cli, entries, view, flags);
    })
    .addCommand(removal(cli));

const removal = (cli: Cli) =>
  new Command('rm')
    .description('remove names; `gantry gc` then deletes what nothing else needs')
    .argument('<name...>', 'names, as `gantry images` shows them')
    .addOption(storeOption())
    .addOption(verboseOption())
    .action(async (texts, _flags, self) => {
      // --store belongs to both: before `rm` the parent takes it.
      const { store: dir } = self.optsWithGlobals();
      const store = await storeOf(cli, { store: typeof dir === 'string' ? dir : undefined });
      for (const text of texts) {
        const name = await knownName(store, text, cli);
        await store.names.remove(name, cli);
        await write(cli, `${name}\n`);
      }
    });

/** As it is written, for the names of other tools; else as a reference. */
async function knownName(store: ContentStore, text: string, cli: Cli): Promise<string> {
  const found = await store.names.lookup(text, cli);
  return found === undefined ? parseReference(text).name : text;
}

const view: View<ImageEntry> = {
  header: ['REF', 'TYPE', 'DIGEST', 'SIZE'],
  row: ({ name, desc, size }) => [name, desc.mediaType, desc.digest, bytesText(size)],
  json: ({ name, desc, size }) => ({ name, mediaType: desc.mediaType, digest: desc.digest, size }),
};
