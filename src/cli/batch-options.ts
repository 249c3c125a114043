/** What commands that do one thing and end take, so that others are told how it went. */
import { basename } from 'node:path';
import {
  type Command,
  type CommandUnknownOpts,
  InvalidArgumentError,
  Option,
  type OptionValues,
} from '@commander-js/extra-typings';
import { GantryError } from '../errors.ts';
import { givenOptions } from './farm-options.ts';
import type { ProgressMode } from './progress/progress.ts';

export interface BatchFlags {
  readonly metricsTextfile?: string | undefined;
  readonly pushgateway?: string | true | undefined;
  readonly summary?: string | undefined;
  readonly job?: string | undefined;
  readonly progress: ProgressMode;
  readonly quiet?: true | undefined;
  /** Nothing is to be done, or nobody waits until it is: there is no end to tell of. */
  readonly dryRun?: true | undefined;
  readonly detach?: true | undefined;
}

const RESULTS = ['metricsTextfile', 'pushgateway', 'summary'];
const OF_BATCHES: ReadonlySet<string> = new Set(RESULTS);
const OF_RESULTS: ReadonlySet<string> = new Set(['report', ...RESULTS]);

export const withBatchOptions = <Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) =>
  command
    .option('--metrics-textfile <file>', 'in the end write metrics for the textfile collector of node_exporter')
    .option('--pushgateway [url]', 'in the end push metrics to this Pushgateway (without a URL: $GANTRY_PUSHGATEWAY)')
    .option('--summary <file>', 'in the end add a line of JSON with the numbers of the run to this file')
    .addOption(
      new Option('--job <name>', 'what the run is called there (default: the command, or the mirror file)').argParser(
        parseJob,
      ),
    );

/** It becomes a label, and a part of a path. */
export function parseJob(text: string): string {
  if (/^[\w.:-]{1,100}$/.test(text)) return text;
  throw new InvalidArgumentError('Say a name of letters, digits and any of _ . : - with 100 characters at most.');
}

/** A name for the runs of a file, such as `mirror.yml`; it is one that --job would take. */
export const jobOfFile = (path: string): string =>
  basename(path)
    .replaceAll(/[^\w.:-]/g, '_')
    .slice(-100) || 'mirror';

/** For --detach. @throws GantryError USAGE */
export const refuseResults = (command: CommandUnknownOpts): void =>
  refuse(command, OF_RESULTS, '--detach: nobody waits for the results');

/** For --dry-run. @throws GantryError USAGE */
export const refuseBatches = (command: CommandUnknownOpts): void =>
  refuse(command, OF_BATCHES, '--dry-run: it tells of runs');

function refuse(command: CommandUnknownOpts, names: ReadonlySet<string>, what: string): void {
  const [given] = givenOptions(command, names);
  if (given !== undefined) throw new GantryError('USAGE', `${given} does not go with ${what}`, { origin: 'user' });
}
