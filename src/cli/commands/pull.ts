import { Command } from '@commander-js/extra-typings';
import { asBatch } from '../batch.ts';
import type { Cli } from '../cli.ts';
import { farmOfPull, pullOnFarm, withFarmPullOptions } from '../farm-pull.ts';
import { imagesFrom } from '../image-list.ts';
import { pullHere, withPullOptions } from '../pulling.ts';

export const command = (cli: Cli) =>
  withFarmPullOptions(withPullOptions(new Command('pull')))
    .argument('[ref...]', 'images, such as docker.io/library/redis:7')
    .option('-f, --file <file>', 'also the images that this file lists, one a line, # for comments; - for stdin')
    .addHelpText(
      'after',
      `
What is in the store already is not fetched again, and what was interrupted goes on where it stopped.

With --redis the workers of a farm pull into their store. Ctrl-C then cancels the run; --detach leaves it alone.

Examples:
  gantry pull docker.io/library/redis:latest
  gantry pull --platform linux/arm64,linux/amd64 ghcr.io/org/app:1 quay.io/org/db:2
  gantry pull -q --format jsonl localhost:5000/app:1 | jq -r .digest
  gantry pull --redis redis://queue:6379 -f images.txt
  run=$(gantry pull --redis redis://queue:6379 -f images.txt --detach) && gantry runs watch $run`,
    )
    .action(async (texts, flags, self) => {
      const farm = farmOfPull(flags, self);
      await asBatch(cli, 'pull', flags, async (batch) => {
        const refs = await imagesFrom(cli, texts, flags.file);
        if (farm === undefined) await pullHere(cli, refs, flags, { named: true, batch });
        else await pullOnFarm(cli, refs, flags, { reached: farm, batch });
      });
    });
