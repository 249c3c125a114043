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
        const made = (await entry.load()).command(cli, commands);
        const flags = [made, ...made.commands].flatMap(({ options }) =>
          options.flatMap(({ short, long, description }) =>
            [long, short].flatMap((flag) => (flag ? [{ flag, description }] : [])),
          ),
        );
        known.push({
          name: entry.name,
          summary: entry.summary,
          words: made.commands.map((each) => each.name()),
          flags: [...new Map(flags.map((each) => [each.flag, each])).values()],
        });
      }
      await write(cli, completionScript(shell, known));
    });
