import { Command, Option } from '@commander-js/extra-typings';
import type { Imported } from '../../mirror/import/import.ts';
import type { Cli } from '../cli.ts';
import { verboseOption } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  new Command('import')
    .addCommand(skopeo(cli))
    .addCommand(imageSyncer(cli))
    .addHelpText(
      'after',
      `
A mirror file goes to stdout, what has no counterpart in it to stderr. Passwords are not carried over: variables stand for them.

Examples:
  gantry import skopeo sync.yml --target registry.example.com/mirror > mirror.yml
  gantry import image-syncer images.yaml --auth auth.yaml > mirror.yml`,
    );

const targetOption = (): Option<'--target <prefix>'> =>
  new Option('--target <prefix>', 'registry, and maybe a path in it, to mirror to (default: the variable ${TARGET})');

const skopeo = (cli: Cli) =>
  new Command('skopeo')
    .description('translate the YAML file of skopeo sync')
    .argument('<file>', 'what `skopeo sync --src yaml` reads')
    .addOption(targetOption())
    .option('--scoped', 'as `skopeo sync --scoped`: put the whole name of a source behind the target')
    .addOption(verboseOption())
    .action(async (file, flags) => {
      const [{ readTextFile }, { importSkopeo }] = await Promise.all([
        import('../../app/mirror-file.ts'),
        import('../../mirror/import/skopeo.ts'),
      ]);
      await print(cli, importSkopeo(readTextFile(file), file, flags));
    });

const imageSyncer = (cli: Cli) =>
  new Command('image-syncer')
    .description('translate the images file of image-syncer, or its older configuration file')
    .argument('<file>', 'what `image-syncer --images` or `--config` reads')
    .option('--auth <file>', 'what `image-syncer --auth` reads')
    .addOption(targetOption())
    .addOption(verboseOption())
    .action(async (file, flags) => {
      const [{ readTextFile }, { importImageSyncer }] = await Promise.all([
        import('../../app/mirror-file.ts'),
        import('../../mirror/import/image-syncer.ts'),
      ]);
      const auth = flags.auth === undefined ? undefined : { text: readTextFile(flags.auth), file: flags.auth };
      await print(cli, importImageSyncer(readTextFile(file), file, { target: flags.target, auth }));
    });

async function print(cli: Cli, { text, notes }: Imported): Promise<void> {
  for (const note of notes) cli.log(`gantry: ${note}`);
  await write(cli, text);
}
