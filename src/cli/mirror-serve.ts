/** `mirror serve`: runs rules on a farm whenever they are due. */
import { Command, InvalidArgumentError } from '@commander-js/extra-typings';
import { redisSettings } from '../app/farm.ts';
import { GantryError } from '../errors.ts';
import type { MirrorFile } from '../mirror/file/types.ts';
import { type Cli, configOf } from './cli.ts';
import { DEFAULT_FILE } from './mirror-options.ts';
import {
  parsePort,
  redisCaOption,
  redisOption,
  registrySettings,
  verboseOption,
  withRegistryOptions,
} from './options.ts';

export const serveCommand = (cli: Cli) =>
  withRegistryOptions(
    new Command('serve')
      .description('run rules on a farm by their schedule or interval, until it is stopped')
      .option('-f, --file <file>', `the mirror file (default: ${DEFAULT_FILE})`)
      .addOption(redisOption())
      .addOption(redisCaOption())
      .option(
        '--name <name>',
        'tells its schedules from those of other files in this Redis (default: its path)',
        parseName,
      )
      .option('--metrics-port <port>', 'where /metrics, /healthz and /readyz are', parsePort, 9466)
      .option('--metrics-host <host>', 'the address for them', '0.0.0.0'),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
Lists sources and prunes by itself; the workers of the farm copy, with the credentials that they have. The file is
read again when it changes, and on SIGHUP. Exit code 0 after SIGTERM or Ctrl-C; runs go on. See docs/mirror-serve.md.

Example:
  gantry mirror serve -f mirror.yml --redis redis://queue.example:6379`,
    )
    .action(async (flags) => {
      cli.isService = true;
      const { file: path = DEFAULT_FILE, name } = flags;
      if (path === '-') {
        throw new GantryError('USAGE', 'a file that is served cannot come from stdin: it is read again', {
          origin: 'user',
        });
      }
      const config = configOf(cli, {});
      // YAML and its schema take longer to load than most commands take.
      const [{ serveMirror }, { formatProblem }] = await Promise.all([
        import('../app/mirror/serve.ts'),
        import('../mirror/file/build.ts'),
      ]);
      const settings = {
        path,
        name,
        redis: redisSettings(config, flags),
        registries: registrySettings(flags, config, cli),
        metrics: { port: flags.metricsPort, host: flags.metricsHost },
        log: cli.log,
        onReload: (reload: () => void) => {
          cli.onHangup = reload;
        },
        onWarnings: ({ warnings }: MirrorFile) => {
          for (const warning of warnings) cli.log(`gantry: warning: ${formatProblem(warning)}`);
        },
      };
      if (!(await serveMirror(config, settings, cli))) process.exit(0); // else BullMQ waits for its Redis for ever
    });

function parseName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError('Say letters, digits and "-", 64 at most.');
}
