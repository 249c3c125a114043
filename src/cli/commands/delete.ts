import { Command } from '@commander-js/extra-typings';
import { exitCodeOf, GantryError } from '../../errors.ts';
import { neededContent } from '../../handlers/needed.ts';
import { parseDigest } from '../../oci/digest.ts';
import { type Cli, storeOf } from '../cli.ts';
import { storeOption, verboseOption } from '../options.ts';
import { write } from '../output.ts';
import { printError } from '../print-error.ts';

export const command = (cli: Cli) =>
  new Command('delete')
    .argument('<digest...>', 'content of the store')
    .option('--force', 'also what an image needs')
    .addOption(storeOption())
    .addOption(verboseOption())
    .addHelpText(
      'after',
      '\nTo be rid of an image say `gantry images rm NAME`, then `gantry gc`.\n\nExample:\n  gantry list -q | xargs gantry delete',
    )
    .action(async (texts, flags) => {
      const digests = texts.map(parseDigest);
      const store = await storeOf(cli, flags);
      const needed = flags.force === true ? undefined : await neededContent(store.names, store, cli);
      for (const digest of new Set(digests)) {
        try {
          if (needed?.has(digest) === true) throw inUse(digest);
          await store.delete(digest, cli);
          await write(cli, `${digest}\n`);
        } catch (err) {
          cli.signal.throwIfAborted();
          printError(err, cli); // the others are deleted all the same
          cli.exitCode = exitCodeOf(err);
        }
      }
    });

const inUse = (digest: string): GantryError =>
  new GantryError('IN_USE', `an image needs ${digest}`, {
    origin: 'user',
    digest,
    hint: 'remove its names with `gantry images rm`, or say --force',
  });
