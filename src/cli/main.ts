/** Entry of the command line: finds the command, runs it, and turns what it throws into one line and an exit code. */
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { gantryVersion } from '../app/version.ts';
import { exitCodeOf, GantryError } from '../errors.ts';
import type { Cli } from './cli.ts';
import { printError } from './print-error.ts';
import { installSignals } from './signals.ts';
import { COMMANDS, type CommandEntry } from './table.ts';

export async function main(argv: readonly string[]): Promise<void> {
  const abort = new AbortController();
  const cli: Cli = {
    signal: abort.signal,
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    exitCode: 0,
    verbose: argv.includes('-v') || argv.includes('--verbose'),
    log: (line) => process.stderr.write(`${line}\n`),
  };
  const signals = installSignals(abort);
  endOnClosedPipe(abort);
  try {
    await run(argv, cli);
    process.exitCode = signals.exitCode ?? cli.exitCode;
  } catch (err) {
    process.exitCode = signals.exitCode ?? report(err, cli);
  } finally {
    signals[Symbol.dispose]();
  }
}

async function run(argv: readonly string[], cli: Cli): Promise<void> {
  const [name] = argv;
  const entry = COMMANDS.find((each) => each.name === name);
  const program = new Command('gantry')
    .description('Moves container images in bulk.')
    .version(gantryVersion(), '-V, --version')
    .helpOption('-h, --help', 'show help')
    .showSuggestionAfterError()
    .exitOverride();
  for (const each of COMMANDS) {
    if (each === entry) program.addCommand(await loaded(each, cli));
    else program.command(`${each.name} ${each.args}`.trim()).helpGroup(`${each.group}:`).description(each.summary);
  }
  program.addHelpText('after', '\nRun `gantry COMMAND --help` for what a command takes.');
  if (argv.length === 0) {
    program.outputHelp();
    return;
  }
  if (name === 'help') {
    const topic = COMMANDS.find((each) => each.name === argv[1]);
    if (topic !== undefined) {
      await run([topic.name, '--help'], cli);
      return;
    }
  }
  await program.parseAsync([...argv], { from: 'user' });
}

async function loaded(entry: CommandEntry, cli: Cli): Promise<CommandUnknownOpts> {
  const made = (await entry.load()).command(cli).helpGroup(`${entry.group}:`).description(entry.summary);
  for (const each of [made, ...made.commands]) each.exitOverride();
  return made;
}

function report(err: unknown, cli: Cli): number {
  // commander has printed its own message already, and help is no error.
  if (err instanceof CommanderError) return err.exitCode === 0 ? 0 : 2;
  printError(err, cli);
  return exitCodeOf(err);
}

/** `gantry fetch-object ... | head` ends when head does: quietly, and without reading on from the registry. */
function endOnClosedPipe(abort: AbortController): void {
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code === 'EPIPE') process.exit(0);
    abort.abort(new GantryError('IO', `cannot write to stdout: ${err.code ?? err.message}`, { cause: err }));
  });
  process.stderr.on('error', () => undefined); // there is nobody left to tell
}
