import { Command } from '@commander-js/extra-typings';
import { GantryError } from '../../errors.ts';
import type { LaneStatus } from '../../flow/farm-status.ts';
import type { Farm } from '../../queue/farm.ts';
import { registryName } from '../../registry/registry-name.ts';
import type { Cli } from '../cli.ts';
import { laneView } from '../farm-lane-view.ts';
import { onFarm, withFarmOptions } from '../farm-options.ts';
import { orNull, parseLimit, parseQuota } from '../farm-text.ts';
import { formatOption, quietOption } from '../options.ts';
import { printItems } from '../output.ts';

export const command = (cli: Cli) =>
  new Command('lanes')
    .addHelpText(
      'after',
      `
A lane is the queue of one registry. What limits it holds over all workers together.

Examples:
  gantry lanes --redis redis://queue:6379
  gantry lanes set docker.io --concurrency 8 --quota 100/6h
  gantry lanes set docker.io --quota none
  gantry lanes pause docker.io`,
    )
    .addCommand(list(cli), { isDefault: true })
    .addCommand(set(cli))
    .addCommand(turn(cli, 'pause', 'let no worker take anything more of a lane; what goes on ends'))
    .addCommand(turn(cli, 'resume', 'let workers go on with a lane that is paused'));

const list = (cli: Cli) =>
  withFarmOptions(new Command('list'))
    .description('list all lanes: what waits, and what holds it up')
    .addOption(formatOption())
    .addOption(quietOption('print only names'))
    .action((flags) => onFarm(cli, flags, async (farm) => printItems(cli, await farm.lanes(cli), laneView, flags)));

const set = (cli: Cli) =>
  withFarmOptions(new Command('set'))
    .description('limit a registry, also before there is anything to do for it')
    .argument('<lane>', 'a registry: docker.io, localhost:5000', registryName)
    .option('--concurrency <n>', 'nodes handled at a time over all workers, or none', parseLimit)
    .option('--quota <n/time>', 'counted requests in a period, such as 100/6h, or none', parseQuota)
    .addOption(formatOption())
    .addHelpText('after', '\nExample:\n  gantry lanes set docker.io --concurrency 8 --quota 100/6h')
    .action(async (lane, { concurrency, quota, ...flags }) => {
      if (concurrency === undefined && quota === undefined) {
        throw new GantryError('USAGE', 'nothing is to be set', {
          origin: 'user',
          hint: 'give --concurrency, --quota, or both',
        });
      }
      const settings = {
        ...(concurrency === undefined ? {} : { concurrency: orNull(concurrency) }),
        ...(quota === undefined ? {} : { quota: orNull(quota) }),
      };
      await onFarm(cli, flags, async (farm) => {
        await farm.settings.set(lane, settings);
        await printItems(cli, await only(farm, lane, cli), laneView, flags);
      });
    });

const turn = (cli: Cli, verb: 'pause' | 'resume', description: string) =>
  withFarmOptions(new Command(verb))
    .description(description)
    .argument('<lane>', 'as `gantry lanes` shows it', registryName)
    .addOption(formatOption())
    .action((lane, flags) =>
      onFarm(cli, flags, async (farm) => {
        await farm.settings[verb](lane);
        await printItems(cli, await only(farm, lane, cli), laneView, flags);
      }),
    );

/** How a lane stands now. */
const only = async (farm: Farm, lane: string, cli: Cli): Promise<LaneStatus[]> =>
  (await farm.lanes(cli)).filter(({ name }) => name === lane);
