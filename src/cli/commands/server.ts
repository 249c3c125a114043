import { Command } from '@commander-js/extra-typings';
import { redisSettings } from '../../app/farm.ts';
import { aborted, redisHost } from '../../app/service.ts';
import { startGantryServer } from '../../app/server/server.ts';
import { GantryError } from '../../errors.ts';
import { type Cli, configOf } from '../cli.ts';
import {
  parsePort,
  redisCaOption,
  redisOption,
  registrySettings,
  verboseOption,
  withRegistryOptions,
} from '../options.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(
    new Command('server')
      .addOption(redisOption())
      .addOption(redisCaOption())
      .option('--store <dir>', 'serve this store as a registry (default: $GANTRY_STORE; without either, none)')
      .option('--pull-through <rules>', 'fetch what the store lacks, by the rules in this file')
      .option('--port <port>', 'where it listens', parsePort, 9465)
      .option('--host <host>', 'the address for that; 0.0.0.0 for all', '127.0.0.1')
      .option('--token-file <file>', 'a token in a file; without it nothing can be changed through this server')
      .option('--protect-reads', 'ask for the token for reading, too'),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
A status page, an API and metrics of the whole farm (--redis), and the images of a store as a registry (--store). At least one of the
two. Exit code 0 after SIGTERM or Ctrl-C. See docs/server.md.

Examples:
  gantry server --redis redis://queue.example:6379 --token-file /etc/gantry/token
  gantry server --store /srv/images --pull-through rules.yml --host 0.0.0.0 &
  skopeo inspect --tls-verify=false docker://localhost:9465/docker.io/library/redis:7`,
    )
    .action(async (flags) => {
      cli.isService = true;
      const config = configOf(cli, flags);
      const hasFarm = flags.redis !== undefined || config.redis !== undefined;
      const hasStore = flags.store !== undefined || (cli.env['GANTRY_STORE'] ?? '') !== '';
      if (!hasFarm && !hasStore) throw nothingToServe();
      if (flags.pullThrough !== undefined && !hasStore) throw nowhereToPullTo();
      if (flags.protectReads === true && flags.tokenFile === undefined) throw nothingToProtectWith();
      const redis = hasFarm ? redisSettings(config, flags) : undefined;
      const settings = {
        redis,
        hasStore,
        pullThrough: flags.pullThrough,
        listen: { port: flags.port, host: flags.host },
        tokenFile: flags.tokenFile,
        protectReads: flags.protectReads === true,
        registries: registrySettings(flags, config, cli),
        log: cli.log,
      };
      await using server = await startGantryServer(config, settings, cli);
      const what = [
        ...(redis === undefined ? [] : [`redis ${redisHost(redis.url)}`]),
        ...(hasStore ? [`store ${config.store}`] : []),
      ];
      cli.log(`server: ${what.join(', ')}, listens on ${server.url}`);
      await aborted(cli.signal);
    });

const nothingToServe = (): GantryError =>
  new GantryError('USAGE', 'neither a farm nor a store is named', {
    origin: 'user',
    hint: 'give --redis redis://HOST:6379 to show a farm, --store DIR to serve a store, or both',
  });

const nowhereToPullTo = (): GantryError =>
  new GantryError('USAGE', '--pull-through needs a store', { origin: 'user', hint: 'give --store DIR, too' });

const nothingToProtectWith = (): GantryError =>
  new GantryError('USAGE', '--protect-reads needs a token', { origin: 'user', hint: 'give --token-file FILE, too' });
