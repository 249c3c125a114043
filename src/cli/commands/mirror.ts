import { Command } from '@commander-js/extra-typings';
import type { Cli } from '../cli.ts';
import { checkCommand } from '../mirror-check.ts';
import { planCommand } from '../mirror-plan.ts';
import { runCommand } from '../mirror-run.ts';
import { serveCommand } from '../mirror-serve.ts';

export const command = (cli: Cli) =>
  new Command('mirror')
    .addCommand(checkCommand(cli))
    .addCommand(planCommand(cli))
    .addCommand(runCommand(cli))
    .addCommand(serveCommand(cli))
    .addHelpText(
      'after',
      `
What a mirror file can say: docs/mirror-file.md. How to live with it: docs/mirror.md.

Examples:
  gantry mirror check -f mirror.yml
  gantry mirror plan -f mirror.yml -o plan.json && gantry mirror run --plan plan.json
  gantry mirror run -f mirror.yml --report report.json
  gantry mirror run --retry-failed report.json`,
    );
