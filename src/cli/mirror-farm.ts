/** `mirror run --redis`: the workers of a farm copy, and this process follows. */
import { basename } from 'node:path';
import type { Command, CommandUnknownOpts, OptionValues } from '@commander-js/extra-typings';
import type { FarmFlags } from '../app/farm.ts';
import type { JobItem } from '../app/mirror/job.ts';
import type { MirrorImage } from '../app/mirror/outcome.ts';
import { copyItems, type Dispatch } from '../app/mirror/run.ts';
import { dispatchPull } from '../app/pull.ts';
import { GantryError } from '../errors.ts';
import type { Farm } from '../queue/farm.ts';
import { refuseResults } from './batch-options.ts';
import type { Cli } from './cli.ts';
import { farmFlags, givenOptions, maybeFarmOption, onFarm } from './farm-options.ts';
import { printRun } from './farm-show.ts';
import { openTeller } from './farm-teller.ts';
import { redisCaOption } from './options.ts';
import type { Format } from './output.ts';
import { openProgress, type ProgressMode } from './progress/progress.ts';

export const withMirrorFarmOptions = <Args extends unknown[], Opts extends OptionValues>(
  command: Command<Args, Opts>,
) =>
  command
    .addOption(maybeFarmOption('let the workers of the farm at this Redis copy'))
    .addOption(redisCaOption())
    .option('--detach', 'with --redis: print the id of the run and do not wait for it')
    .option('--new', 'with --redis: a run of its own, even while one of the same request is open');

/** A farm, and how it is used. */
export interface FarmRun {
  readonly reached: FarmFlags;
  readonly isDetached: boolean;
  readonly isNew: boolean;
}

interface GivenFlags {
  readonly redis?: string | true | undefined;
  readonly redisCa?: string | undefined;
  readonly detach?: true | undefined;
  readonly new?: true | undefined;
}

const OF_FARMS = new Set(['redisCa', 'detach', 'new']);
/** Workers have settings of their own for it. */
const OF_WORKERS = new Set(['concurrency']);

/** What --redis says; undefined: this process copies. @throws GantryError USAGE when other flags do not fit */
export function farmOfMirror(flags: GivenFlags, command: CommandUnknownOpts): FarmRun | undefined {
  const reached = farmFlags(flags);
  const [alone] = reached === undefined ? givenOptions(command, OF_FARMS) : [];
  if (alone !== undefined) throw new GantryError('USAGE', `${alone} goes with --redis only`, { origin: 'user' });
  const [theirs] = reached === undefined ? [] : givenOptions(command, OF_WORKERS);
  if (theirs !== undefined) {
    throw new GantryError('USAGE', `${theirs} does not go with --redis: the workers copy`, {
      origin: 'user',
      hint: `give ${theirs} to \`gantry worker\``,
    });
  }
  if (flags.detach === true) refuseResults(command);
  return reached && { reached, isDetached: flags.detach === true, isNew: flags.new === true };
}

export interface FarmRunOptions {
  /** The mirror file's name, for those who look at the runs of the farm. */
  readonly name: string;
  readonly rules: number;
  readonly format: Format;
  readonly progress: ProgressMode;
  readonly quiet?: true | undefined;
}

/** Undefined: nobody waits for it. */
export const mirrorOnFarm = (
  cli: Cli,
  { reached, isDetached, isNew }: FarmRun,
  items: readonly JobItem[],
  options: FarmRunOptions,
): Promise<{ run: string; images: readonly MirrorImage[] } | undefined> =>
  onFarm(cli, reached, async (farm) => {
    const labels = { mirror: basename(options.name), rules: String(options.rules) };
    const submit = { labels, isNew };
    if (!isDetached) return follow(cli, farm, items, { ...options, submit });
    const roots = items.map(({ root }) => root);
    if (roots.length === 0) cli.log('gantry: there is nothing to copy');
    else await printRun(cli, await farm.submit(roots, submit), options.format);
    return undefined;
  });

type Submit = NonNullable<Parameters<Farm['submit']>[1]>;

async function follow(
  cli: Cli,
  farm: Farm,
  items: readonly JobItem[],
  options: FarmRunOptions & { readonly submit: Submit },
): Promise<{ run: string; images: readonly MirrorImage[] }> {
  const mode = options.quiet === true ? 'quiet' : options.progress;
  let run = '';
  using progress = openProgress(cli, mode, items.length, { onlyNews: !cli.verbose });
  using teller = openTeller(cli, farm, mode);
  const onSubmitted = (id: string): void => {
    if (run === '') run = id;
    teller.submitted(id);
  };
  const dispatcher = farm.dispatcher({ submit: options.submit, onSubmitted, onAway: teller.onAway });
  const dispatch: Dispatch = (roots, opts) => dispatchPull(dispatcher, roots, opts);
  const images = await copyItems(items, dispatch, {
    signal: cli.signal,
    onEvent: (event) => {
      progress.onEvent(event);
      teller.onEvent(event);
    },
  });
  return { run, images };
}
