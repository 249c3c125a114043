import { Command } from '@commander-js/extra-typings';
import { redisSettings } from '../../app/farm.ts';
import { startFarmServer } from '../../app/farm-server.ts';
import { aborted, redisHost } from '../../app/service.ts';
import { type Cli, configOf } from '../cli.ts';
import { parsePort, redisCaOption, redisOption, verboseOption } from '../options.ts';

export const command = (cli: Cli) =>
  new Command('server')
    .addOption(redisOption())
    .addOption(redisCaOption())
    .option('--port <port>', 'where /metrics, /healthz and /readyz are', parsePort, 9465)
    .option('--host <host>', 'the address for them', '0.0.0.0')
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
The queue, lanes, runs and workers of the whole farm, for Prometheus. Exit code 0 after SIGTERM or Ctrl-C.

Example:
  gantry server --redis redis://queue.example:6379 & curl -s localhost:9465/metrics | grep ^gantry_`,
    )
    .action(async (flags) => {
      cli.isService = true;
      const redis = redisSettings(configOf(cli, {}), flags);
      await using server = await startFarmServer(redis, { port: flags.port, host: flags.host }, cli);
      cli.log(`server: redis ${redisHost(redis.url)}, metrics on ${server.url}/metrics`);
      await aborted(cli.signal);
    });
