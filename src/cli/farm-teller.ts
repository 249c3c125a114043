/** What is said on stderr beside the progress of a run on a farm: its id, and why it does not move. */
import type { DispatchEvent } from '../flow/dispatcher.ts';
import type { Farm } from '../queue/farm.ts';
import type { Cli } from './cli.ts';
import type { ProgressMode } from './progress/progress.ts';

const EVERY_MS = 10_000;

export interface Teller extends Disposable {
  /** Also tells which run it is. */
  readonly submitted: (run: string) => void;
  readonly watch: (run: string) => void;
  readonly onEvent: (event: DispatchEvent) => void;
  readonly onAway: () => void;
}

export function openTeller(cli: Cli, farm: Farm, mode: ProgressMode): Teller {
  const asJson = mode === 'json'; // one object a line, as progress has it then
  const say = (reasons: readonly string[]): void => {
    if (reasons.length === 0) return;
    if (asJson) cli.log(JSON.stringify({ kind: 'waiting', reasons }));
    else for (const reason of reasons) cli.log(`gantry: waiting: ${reason}`);
  };
  let timer: NodeJS.Timeout | undefined;
  let hasMoved = false;
  const look = async (run: string): Promise<void> => {
    const isStill = !hasMoved;
    hasMoved = false;
    if (isStill) say(await farm.waitReasons(run, cli));
  };
  const atStart = async (run: string): Promise<void> => {
    if ((await farm.workers(cli)).length === 0) say(await farm.waitReasons(run, cli));
  };
  const quietly = (work: Promise<void>): void => void work.catch(() => undefined); // an outage is told by onAway
  const watch = (run: string): void => {
    clearInterval(timer);
    timer = setInterval(() => quietly(look(run)), EVERY_MS);
    quietly(atStart(run));
  };
  return {
    submitted: (run) => {
      if (asJson) cli.log(JSON.stringify({ kind: 'run', run }));
      else if (mode !== 'quiet') cli.log(`run ${run}`);
      watch(run);
    },
    watch,
    onEvent: (event) => {
      hasMoved ||= event.kind !== 'node' || event.event.kind !== 'waiting';
    },
    onAway: () => say([`redis at ${farm.host} does not answer`]),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
