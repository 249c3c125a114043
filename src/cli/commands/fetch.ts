import { Command } from '@commander-js/extra-typings';
import type { Cli } from '../cli.ts';
import { fetchImages, withPullOptions } from '../pulling.ts';

export const command = (cli: Cli) =>
  withPullOptions(new Command('fetch'))
    .argument('<ref>', 'an image, such as docker.io/library/redis:7')
    .addHelpText(
      'after',
      `
The image gets no name, so that \`gantry gc\` deletes what it brought unless a later pull names it.

Example:
  gantry fetch docker.io/library/redis:latest`,
    )
    .action((ref, flags) => fetchImages(cli, [ref], flags));
