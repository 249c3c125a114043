/** Keeps a child process running. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type CallOptions, sleep } from '../call.ts';
import { ERROR_POLICY, GantryError } from '../errors.ts';
import type { Env } from './config.ts';
import type { Log } from './service.ts';

export interface Program {
  /** What people call it. */
  readonly name: string;
  /** A script, and what it gets. */
  readonly args: readonly string[];
  readonly env: Env;
  readonly log: Log;
}

/** Whoever ran for so long starts again at once; the wait after quick ends doubles up to the longest. */
const GOOD_RUN_MS = 30_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
/** What does not end when it is told to. */
const KILL_AFTER_MS = 10_000;

/**
 * Starts the program again whenever it ends, until the signal aborts; then tells it to end, and waits for that.
 * @throws GantryError USAGE when it says that it cannot be used like this: to start it again would not help
 */
export async function supervise(program: Program, { signal }: CallOptions): Promise<void> {
  let quick = 0;
  while (!signal.aborted) {
    const startedAt = performance.now();
    const how = await oneLife(program, signal);
    if (signal.aborted) return;
    if (how === `code ${ERROR_POLICY.USAGE.exit}`) {
      throw new GantryError('USAGE', `${program.name} cannot run; it says why above`, { origin: 'user' });
    }
    quick = performance.now() - startedAt < GOOD_RUN_MS ? quick + 1 : 0;
    const waitMs = quick === 0 ? 0 : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (quick - 1));
    program.log(`${program.name} ended with ${how}: starting it again in ${waitMs / 1000} s`);
    await sleep(waitMs, signal).catch(() => undefined);
  }
}

/** From its start to its end. Answers how it ended: `code 1`, `SIGKILL`. */
async function oneLife({ args, env }: Program, signal: AbortSignal): Promise<string> {
  const child = spawn(process.execPath, args, {
    env,
    // The channel tells it when we are gone; see commands/worker.ts.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: true, // in a group of its own: of a Ctrl-C we tell it, once
  });
  const end = (): void => void tellToEnd(child);
  signal.addEventListener('abort', end, { once: true });
  try {
    await once(child, 'exit');
    return child.signalCode ?? `code ${child.exitCode ?? '?'}`;
  } finally {
    signal.removeEventListener('abort', end);
  }
}

async function tellToEnd(child: ChildProcess): Promise<void> {
  const ended = new AbortController();
  child.once('exit', () => ended.abort());
  child.kill('SIGTERM');
  const isLate = await sleep(KILL_AFTER_MS, ended.signal).then(
    () => true,
    () => false,
  );
  if (isLate) child.kill('SIGKILL');
}
