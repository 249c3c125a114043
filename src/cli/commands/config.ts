import { Command, Option } from '@commander-js/extra-typings';
import { GantryError } from '../../errors.ts';
import type { MirrorFile } from '../../mirror/file/types.ts';
import type { Cli } from '../cli.ts';
import { quietOption, verboseOption } from '../options.ts';
import { write } from '../output.ts';

const DEFAULT_FILE = 'mirror.yml';

export const command = (cli: Cli) =>
  new Command('config')
    .addCommand(validation(cli))
    .addCommand(printing(cli))
    .addCommand(schema(cli))
    .addHelpText(
      'after',
      `
Examples:
  gantry config validate mirror.yml
  gantry config print -f mirror.yml
  gantry config schema > mirror.schema.json`,
    );

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

const fileOption = (): Option<'-f, --file <file>'> =>
  new Option('-f, --file <file>', `the mirror file (default: ${DEFAULT_FILE})`);

const validation = (cli: Cli) =>
  new Command('validate')
    .description('check a mirror file, without a request to any registry')
    .argument('[file]', 'the mirror file, as with -f')
    .addOption(fileOption())
    .addOption(quietOption('print nothing when it is good'))
    .addOption(verboseOption())
    .action(async (argument, flags) => {
      const file = await load(cli, argument, flags.file);
      await warn(cli, file);
      const said = [counted(file.rules.length, 'rule'), counted(file.warnings.length, 'warning')];
      if (flags.quiet !== true) await write(cli, `${file.file}: ${said.join(', ')}\n`);
    });

const printing = (cli: Cli) =>
  new Command('print')
    .description('print a mirror file as gantry understands it: defaults filled in, templates expanded, secrets hidden')
    .argument('[file]', 'the mirror file, as with -f')
    .addOption(fileOption())
    .addOption(verboseOption())
    .action(async (argument, flags) => {
      const file = await load(cli, argument, flags.file);
      await warn(cli, file);
      const { printMirrorFile } = await import('../../mirror/file/print.ts');
      await write(cli, printMirrorFile(file));
    });

const schema = (cli: Cli) =>
  new Command('schema').description('print the JSON Schema of mirror files, for editors').action(async () => {
    const { mirrorJsonSchema } = await import('../../mirror/file/schema.ts');
    await write(cli, `${JSON.stringify(mirrorJsonSchema(), null, 2)}\n`);
  });

/** YAML and its schema take longer to load than most commands take. */
async function load(cli: Cli, argument: string | undefined, flag: string | undefined): Promise<MirrorFile> {
  if (argument !== undefined && flag !== undefined && argument !== flag) {
    throw new GantryError('USAGE', 'two mirror files are given; leave out -f or the argument', { origin: 'user' });
  }
  const { loadMirrorFile } = await import('../../app/mirror-file.ts');
  return loadMirrorFile(argument ?? flag ?? DEFAULT_FILE, cli.env);
}

async function warn(cli: Cli, { warnings }: MirrorFile): Promise<void> {
  const { formatProblem } = await import('../../mirror/file/build.ts');
  for (const warning of warnings) cli.log(`gantry: warning: ${formatProblem(warning)}`);
}
