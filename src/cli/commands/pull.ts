import { Command } from '@commander-js/extra-typings';
import type { Cli } from '../cli.ts';
import { pullImages, withPullOptions } from '../pulling.ts';

export const command = (cli: Cli) =>
  withPullOptions(new Command('pull'))
    .argument('<ref...>', 'images, such as docker.io/library/redis:7')
    .addHelpText(
      'after',
      `
What is in the store already is not fetched again, and what was interrupted goes on where it stopped.

Examples:
  gantry pull docker.io/library/redis:latest
  gantry pull --platform linux/arm64,linux/amd64 ghcr.io/org/app:1 quay.io/org/db:2
  gantry pull -q --format jsonl localhost:5000/app:1 | jq -r .digest`,
    )
    .action((refs, flags) => pullImages(cli, refs, flags, true));
