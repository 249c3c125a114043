/** `pull --redis`: stores a request for the workers of a farm, and follows it as if it were a pull of this process. */
import { Option, type Command, type CommandUnknownOpts, type OptionValues } from '@commander-js/extra-typings';
import { tallyOfRun } from '../app/batch/summary.ts';
import { commonTarget, type FarmFlags } from '../app/farm.ts';
import { dispatchPull, pullRoots } from '../app/pull.ts';
import { GantryError } from '../errors.ts';
import type { RunResult } from '../flow/dispatcher.ts';
import type { Reference } from '../oci/reference.ts';
import type { Farm } from '../queue/farm.ts';
import type { Batch } from './batch.ts';
import { refuseResults } from './batch-options.ts';
import { type Cli, storeOf } from './cli.ts';
import { farmFlags, givenOptions, maybeFarmOption, onFarm } from './farm-options.ts';
import { printRun, showRun } from './farm-show.ts';
import { redisCaOption } from './options.ts';
import { matcherOf, type PullFlags } from './pulling.ts';
import { exitCodeOfRun } from './run-result.ts';

export interface FarmPullFlags extends PullFlags {
  readonly redis?: string | true | undefined;
  readonly redisCa?: string | undefined;
  readonly target?: string | undefined;
  readonly detach?: true | undefined;
  readonly new?: true | undefined;
}

export const withFarmPullOptions = <Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) =>
  command
    .addOption(maybeFarmOption('let the workers of the farm at this Redis pull'))
    .addOption(redisCaOption())
    .addOption(
      new Option('--target <id>', 'the store of the farm, by its id (default: that of its workers)').conflicts('store'),
    )
    .option('--detach', 'print the id of the run and do not wait for it')
    .option('--new', 'a run of its own, even while one of the same request is open');

/** What workers have settings of their own for. */
const OF_WORKERS = new Set(
  'concurrency plainHttp insecure caFile hostsDir maxPerRegistry limitRate connectTimeout retries'.split(' '),
);
const OF_FARMS = new Set(['redisCa', 'target', 'detach', 'new']);

/** What --redis says; undefined: this process pulls. @throws GantryError USAGE when other flags do not fit */
export function farmOfPull(flags: FarmPullFlags, command: CommandUnknownOpts): FarmFlags | undefined {
  const farm = farmFlags(flags);
  if (flags.detach === true) refuseResults(command);
  const [wrong] = givenOptions(command, farm === undefined ? OF_FARMS : OF_WORKERS);
  if (wrong === undefined) return farm;
  if (farm === undefined) throw new GantryError('USAGE', `${wrong} goes with --redis only`, { origin: 'user' });
  throw new GantryError('USAGE', `${wrong} does not go with --redis: the workers pull`, {
    origin: 'user',
    hint: `give ${wrong} to \`gantry worker\``,
  });
}

export const pullOnFarm = (
  cli: Cli,
  refs: readonly Reference[],
  flags: FarmPullFlags,
  { reached, batch }: { readonly reached: FarmFlags; readonly batch: Batch },
): Promise<void> =>
  onFarm(cli, reached, async (farm) => {
    const platforms = matcherOf(flags);
    const target = await targetOf(cli, farm, flags);
    const roots = pullRoots({ refs, platforms }, target);
    const submit = { labels: { target, platforms: platforms.text }, isNew: flags.new === true };
    if (flags.detach === true) return printRun(cli, await farm.submit(roots, submit), flags.format);
    let run: string | undefined;
    const onEnd = (result: RunResult): Promise<void> =>
      batch.ended({ ...tallyOfRun(result.images), exitCode: exitCodeOfRun(result), run });
    const shown = { flags, images: roots.length, onEnd };
    await showRun(cli, farm, shown, async ({ teller: { onAway, submitted }, onEvent }) => {
      const onSubmitted = (id: string): void => {
        run = id;
        submitted(id);
      };
      const dispatcher = farm.dispatcher({ submit, onSubmitted, onAway });
      const result = await dispatchPull(dispatcher, roots, { signal: cli.signal, onEvent });
      if (run !== undefined && cli.signal.aborted) await tellCancelled(cli, farm, run);
      return result;
    });
  });

async function targetOf(cli: Cli, farm: Farm, flags: FarmPullFlags): Promise<string> {
  if (flags.target !== undefined) return storeId(flags.target);
  return flags.store === undefined ? commonTarget(farm, cli) : (await storeOf(cli, flags)).id();
}

/** Checked, since it becomes part of keys. @throws GantryError INVALID */
function storeId(text: string): string {
  if (/^[\w.-]{1,80}$/.test(text)) return text;
  throw new GantryError('INVALID', `not the id of a store: ${JSON.stringify(text.slice(0, 80))}`, {
    origin: 'user',
    hint: 'a store has it in its file gantry/id',
  });
}

/** What became of the run after a signal; without an answer of Redis nobody knows. */
async function tellCancelled(cli: Cli, farm: Farm, run: string): Promise<void> {
  const status = await farm.run(run).catch(() => undefined);
  if (status?.state === 'cancelled') cli.log(`gantry: run ${run} cancelled (with --detach it would go on)`);
  if (status === undefined) cli.log(`gantry: run ${run} may go on (\`gantry runs cancel ${run}\`)`);
}
