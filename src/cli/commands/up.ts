import { Command } from '@commander-js/extra-typings';
import { up } from '../../app/up.ts';
import { type Cli, configOf } from '../cli.ts';
import {
  lanesOption,
  parseCount,
  parsePort,
  type RegistryFlags,
  registrySettings,
  storeOption,
  verboseOption,
  withRegistryOptions,
} from '../options.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(
    new Command('up')
      .option('--workers <n>', 'worker processes', parseCount(1), 4)
      .addOption(storeOption())
      .option('--redis-dir <dir>', 'where Redis keeps what it knows (default: gantry/redis in the store)')
      .option('--port <port>', 'where the status page, the API, the metrics and the registry are', parsePort, 9465)
      .option('--host <host>', 'the address for them', '127.0.0.1')
      .option(
        '--token-file <file>',
        'a token in a file, for those who change something (default: one made in the directory of Redis)',
      )
      .option('--pull-through <rules>', 'fetch what the store lacks when it is asked for it, by the rules in this file')
      .option('--concurrency <n>', 'tickets that each worker handles at a time', parseCount(1), 32)
      .addOption(lanesOption()),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
A farm on this machine: a redis-server of its own, workers, and the server. Ctrl-C ends all of it, and what was queued goes
on the next time. See docs/farm.md.

Example:
  gantry up --workers 8 --store /srv/images`,
    )
    .action(async (flags) => {
      cli.isService = true;
      const config = configOf(cli, flags);
      const { redisDir } = flags;
      const settings = {
        workers: flags.workers,
        workerArgs: workerArgs(flags, cli),
        server: {
          listen: { port: flags.port, host: flags.host },
          tokenFile: flags.tokenFile,
          protectReads: false,
          pullThrough: flags.pullThrough,
          registries: registrySettings(flags, config, cli),
        },
        log: cli.log,
        ...(redisDir === undefined ? {} : { redisDir }),
      };
      await up(config, settings, cli);
    });

interface WorkerFlags extends RegistryFlags {
  readonly concurrency: number;
  readonly lanes?: string[] | undefined;
}

/** The options again that every worker gets. */
const workerArgs = (flags: WorkerFlags, cli: Cli): string[] =>
  [
    ['--concurrency', String(flags.concurrency)],
    ['--max-per-registry', String(flags.maxPerRegistry)],
    ['--connect-timeout', `${flags.connectTimeout}ms`],
    ['--retries', String(flags.retries)],
    flags.limitRate === undefined ? [] : ['--limit-rate', String(flags.limitRate)],
    flags.lanes === undefined ? [] : ['--lanes', flags.lanes.join(',')],
    ...(flags.caFile ?? []).map((file) => ['--ca-file', file]),
    ...(flags.hostsDir ?? []).map((dir) => ['--hosts-dir', dir]),
    flags.plainHttp === true ? ['--plain-http'] : [],
    flags.insecure === true ? ['--insecure'] : [],
    cli.verbose ? ['--verbose'] : [],
  ].flat();
