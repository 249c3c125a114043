/** A run on a farm while it goes on, and its end: shown as a pull in this process is. */
import { tallyOfRun } from '../app/batch/summary.ts';
import type { DispatchEvent, RunResult } from '../flow/dispatcher.ts';
import type { Farm } from '../queue/farm.ts';
import { Batch } from './batch.ts';
import type { Cli } from './cli.ts';
import { openTeller, type Teller } from './farm-teller.ts';
import { type Format, write } from './output.ts';
import { openProgress, type ProgressMode } from './progress/progress.ts';
import { endWith, exitCodeOfRun, printResults } from './run-result.ts';

export interface ShowFlags {
  readonly format: Format;
  readonly progress: ProgressMode;
  readonly quiet?: true | undefined;
}

export interface Shown {
  readonly teller: Teller;
  readonly onEvent: (event: DispatchEvent) => void;
}

export interface ShowOptions {
  readonly flags: ShowFlags;
  /** How many there are. */
  readonly images: number;
  /** Told of the results before they are printed. */
  readonly onEnd: (result: RunResult) => Promise<void>;
}

/** Shows how a run goes, prints its results and sets the exit code. */
export async function showRun(
  cli: Cli,
  farm: Farm,
  { flags, images, onEnd }: ShowOptions,
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
  await onEnd(result);
  await printResults(cli, result, { format: flags.format, quiet });
  endWith(cli, result);
}

/** Follows a run until it ends, and exits as the pull would that asked for it. A signal leaves the run alone. */
export async function watchRun(cli: Cli, farm: Farm, run: string, flags: ShowFlags): Promise<void> {
  await farm.run(run);
  const roots = await farm.rootsOf(run);
  const batch = new Batch(cli, 'runs watch', flags);
  const onEnd = async (result: RunResult): Promise<void> => {
    const { createdAt, endedAt = Date.now() } = await farm.run(run);
    const times = { startedAt: new Date(createdAt), endedAt: new Date(endedAt) };
    await batch.ended({ ...tallyOfRun(result.images), exitCode: exitCodeOfRun(result), run, times });
  };
  await showRun(cli, farm, { flags, images: roots.length, onEnd }, ({ teller: { watch, onAway }, onEvent }) => {
    watch(run);
    return farm.dispatcher({ leaveOnAbort: true, onAway }).follow(run, roots, { signal: cli.signal, onEvent });
  });
  await batch.close();
}

/** Prints the id of a run; as JSON an object. */
export const printRun = (cli: Cli, run: string, format: Format): Promise<void> =>
  write(cli, format === 'table' ? `${run}\n` : `${JSON.stringify({ run })}\n`);
