import { Command } from '@commander-js/extra-typings';
import { redisSettings } from '../../app/farm.ts';
import { runWorker } from '../../app/farm-worker.ts';
import { type Cli, configOf } from '../cli.ts';
import {
  lanesOption,
  parseCount,
  parsePort,
  redisCaOption,
  redisOption,
  registrySettings,
  storeOption,
  verboseOption,
  withRegistryOptions,
} from '../options.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(
    new Command('worker')
      .addOption(redisOption())
      .addOption(redisCaOption())
      .addOption(storeOption())
      .option('--concurrency <n>', 'tickets handled at a time', parseCount(1), 32)
      .addOption(lanesOption())
      .option('--metrics-port <port>', 'where /metrics, /healthz and /readyz are', parsePort, 9464)
      .option('--metrics-host <host>', 'the address for them', '0.0.0.0')
      .option('--name <name>', 'what it is called (default: host name and process id)'),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
Takes tickets until it is stopped, then gives back what it has in hand: another worker goes on where it was.
Exit code 0 after SIGTERM or Ctrl-C; a second one ends it at once. See docs/farm.md.

Example:
  gantry worker --redis redis://queue.example:6379 --store /srv/images --lanes docker.io,ghcr.io`,
    )
    .action(async (flags) => {
      cli.isService = true;
      using _orphan = endWithParent();
      const config = configOf(cli, flags);
      const { lanes, name } = flags;
      const settings = {
        redis: redisSettings(config, flags),
        registries: registrySettings(flags, config, cli),
        concurrency: flags.concurrency,
        metrics: { port: flags.metricsPort, host: flags.metricsHost },
        log: cli.log,
        ...(lanes === undefined ? {} : { lanes }),
        ...(name === undefined ? {} : { name }),
      };
      if (!(await runWorker(config, settings, cli))) process.exit(0); // else BullMQ waits for its Redis for ever
    });

/** Under `gantry up`, which may die without a word: its end of the channel closes then. */
function endWithParent(): Disposable {
  const end = (): boolean => process.kill(process.pid, 'SIGTERM');
  if (process.connected) process.once('disconnect', end);
  return { [Symbol.dispose]: () => process.off('disconnect', end) };
}
