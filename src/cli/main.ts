/** Entry of the command line: finds the command, runs it, and turns what it throws into one line and an exit code. */
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { gantryVersion } from '../app/version.ts';
import { exitCodeOf, GantryError } from '../errors.ts';
import type { Cli, CommandEntry } from './cli.ts';
import { stdoutError } from './output.ts';
import { printError } from './print-error.ts';
import { installSignals } from './signals.ts';
import { COMMANDS } from './table.ts';

export async function main(argv: readonly string[]): Promise<void> {
  const abort = new AbortController();
  const cli: Cli = {
    signal: abort.signal,
    env: process.env,
    // Opened by those who read it: there may be none.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    exitCode: 0,
    get stopCode() {
      return signals.exitCode;
    },
    verbose: argv.includes('-v') || argv.includes('--verbose'),
    log: (line) => process.stderr.write(`${line}\n`),
  };
  const signals = installSignals(abort, { onHangup: () => cli.onHangup });
  endOnClosedPipe(abort);
  const stopped = (): number | undefined =>
    cli.isService === true && signals.stoppedBy !== undefined ? 0 : signals.exitCode;
  try {
    await run(argv, cli);
    process.exitCode = stopped() ?? cli.exitCode;
  } catch (err) {
    process.exitCode = stopped() ?? report(err, cli, argv[0]);
  } finally {
    if (signals.stoppedBy !== undefined && cli.isService !== true) cli.log(`gantry: stopped by ${signals.stoppedBy}`);
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
    .commandsGroup('Service:')
    .helpCommand('help [command]', 'show help for a command');
  tame(program);
  for (const each of COMMANDS) {
    if (each === entry) program.addCommand(await loaded(each, cli));
    else program.command(`${each.name} ${each.args}`.trim()).helpGroup(`${each.group}:`).description(each.summary);
  }
  program.addHelpText('after', '\nRun `gantry COMMAND --help` for what a command takes.');
  const [, topic] = argv;
  if (name === undefined || (name === 'help' && topic === undefined)) program.outputHelp();
  // The topic is not loaded here; an unknown one is told as such.
  else if (name === 'help' && topic !== undefined) {
    await run(COMMANDS.some((each) => each.name === topic) ? [topic, '--help'] : [topic], cli);
  } else await program.parseAsync([...argv], { from: 'user' });
}

async function loaded(entry: CommandEntry, cli: Cli): Promise<CommandUnknownOpts> {
  const made = (await entry.load()).command(cli, COMMANDS).helpGroup(`${entry.group}:`).description(entry.summary);
  for (const each of [made, ...made.commands]) tame(each);
  return made;
}

/** commander throws in place of exiting, and what it has to say is said by `report`. */
const tame = (command: CommandUnknownOpts): unknown =>
  command.exitOverride().configureOutput({ outputError: () => undefined });

function report(err: unknown, cli: Cli, name: string | undefined): number {
  if (err instanceof CommanderError) {
    if (err.exitCode === 0) return 0; // help was asked for
    if (err.code === 'commander.help') return 2; // a command without its subcommand has shown which there are
    const text = err.message.replace(/^error: /, '').replaceAll('\n', ' ');
    const command = COMMANDS.some((each) => each.name === name) ? `gantry ${name}` : 'gantry';
    printError(new GantryError('USAGE', text, { origin: 'user', hint: `see \`${command} --help\`` }), cli);
    return 2;
  }
  printError(err, cli);
  return exitCodeOf(err);
}

/** `gantry fetch-object ... | head` ends when head does: quietly, and without reading on from the registry. */
function endOnClosedPipe(abort: AbortController): void {
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code === 'EPIPE') process.exit(0);
    abort.abort(stdoutError(err));
  });
  process.stderr.on('error', () => undefined); // there is nobody left to tell
}
