import { Argument, Command } from '@commander-js/extra-typings';
import type { Cli, CommandEntry } from '../cli.ts';
import { completionScript, type CompletionCommand } from '../completion.ts';
import { write } from '../output.ts';

export const command = (cli: Cli, commands: readonly CommandEntry[]) =>
  new Command('completion')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish'] as const))
    .addHelpText(
      'after',
      `
Examples:
  gantry completion bash > /etc/bash_completion.d/gantry
  gantry completion zsh > "\${fpath[1]}/_gantry"
  gantry completion fish > ~/.config/fish/completions/gantry.fish`,
    )
    .action(async (shell) => {
      const known: CompletionCommand[] = [];
      for (const entry of commands) {
        const { options } = (await entry.load()).command(cli, commands);
        const flags = options.flatMap(({ short, long, description }) =>
          [long, short].flatMap((flag) => (flag ? [{ flag, description }] : [])),
        );
        known.push({ name: entry.name, summary: entry.summary, flags });
      }
      await write(cli, completionScript(shell, known));
    });
