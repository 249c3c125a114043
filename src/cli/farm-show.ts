/** A run on a farm while it goes on, and its end: shown as a pull in this process is. */
import type { DispatchEvent, RunResult } from '../flow/dispatcher.ts';
import type { Farm } from '../queue/farm.ts';
import type { Cli } from './cli.ts';
import { openTeller, type Teller } from './farm-teller.ts';
import { type Format, write } from './output.ts';
import { openProgress, type ProgressMode } from './progress/progress.ts';
import { endWith, printResults } from './run-result.ts';

export interface ShowFlags {
  readonly format: Format;
  readonly progress: ProgressMode;
  readonly quiet?: true | undefined;
}

export interface Shown {
  readonly teller: Teller;
  readonly onEvent: (event: DispatchEvent) => void;
}

/** Shows how a run of so many images goes, prints its results and sets the exit code. */
export async function showRun(
  cli: Cli,
  farm: Farm,
  flags: ShowFlags,
  images: number,
  follow: (shown: Shown) => Promise<RunResult>,
): Promise<void> {
  const quiet = flags.quiet ?? false;
  const mode = quiet ? 'quiet' : flags.progress;
  let result: RunResult;
  {
    using progress = openProgress(cli, mode, images);
    using teller = openTeller(cli, farm, mode);
    const onEvent = (event: DispatchEvent): void => {
      progress.onEvent(event);
      teller.onEvent(event);
    };
    result = await follow({ teller, onEvent });
  }
  await printResults(cli, result, { format: flags.format, quiet });
  endWith(cli, result);
}

/** Follows a run until it ends, and exits as the pull would that asked for it. A signal leaves the run alone. */
export async function watchRun(cli: Cli, farm: Farm, run: string, flags: ShowFlags): Promise<void> {
  await farm.run(run);
  const roots = await farm.rootsOf(run);
  await showRun(cli, farm, flags, roots.length, ({ teller: { watch, onAway }, onEvent }) => {
    watch(run);
    return farm.dispatcher({ leaveOnAbort: true, onAway }).follow(run, roots, { signal: cli.signal, onEvent });
  });
}

/** Prints the id of a run; as JSON an object. */
export const printRun = (cli: Cli, run: string, format: Format): Promise<void> =>
  write(cli, format === 'table' ? `${run}\n` : `${JSON.stringify({ run })}\n`);
