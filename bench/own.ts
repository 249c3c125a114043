import type { ChildProcess } from 'node:child_process';

/** Every process that the benchmark has started and that still runs. All of them lead a group of their own. */
const alive = new Set<ChildProcess>();

/** Signals the whole group of a process that was spawned with `detached: true`. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: it ended by itself.
  }
}

/** Remembers a process, so that none outlives the benchmark however that ends. */
export function own<T extends ChildProcess>(child: T): T {
  alive.add(child);
  child.once('exit', () => alive.delete(child));
  return child;
}

/** Ends what was started when this process ends, also on ctrl-c. */
export function endAllOnExit(): void {
  process.once('exit', () => {
    for (const child of alive) killGroup(child, 'SIGKILL');
  });
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
}
