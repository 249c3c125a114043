import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { killGroup, own } from './own.ts';

const ANSWER_WITHIN_MS = 15_000;
const END_WITHIN_MS = 5_000;

/** Ends a process that was spawned with `detached: true`: asks first, then does not ask. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  killGroup(child, 'SIGTERM');
  const late = setTimeout(() => killGroup(child, 'SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(late);
}

/** A module of the benchmark in a process of its own, so that it does not share a loop with what measures. See `beService`. */
export class Service implements AsyncDisposable {
  /** What it told when it was ready. */
  readonly said: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, said: string) {
    this.#child = child;
    this.said = said;
  }

  /** @param module a file beside this one */
  static async start(module: string, args: readonly string[]): Promise<Service> {
    const file = join(import.meta.dirname, module);
    const child = own(fork(file, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], detached: true }));
    try {
      return new Service(child, await nextMessage(child));
    } catch (err) {
      await end(child);
      throw err;
    }
  }

  ask(question: string): Promise<string> {
    const answer = nextMessage(this.#child);
    this.#child.send(question);
    return answer;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return end(this.#child);
  }
}

async function nextMessage(child: ChildProcess): Promise<string> {
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
  try {
    const gone = once(child, 'exit', { signal }).then(() => {
      throw new Error(`${child.spawnargs.slice(1).join(' ')} has ended`);
    });
    const [message]: unknown[] = await Promise.race([once(child, 'message', { signal }), gone]);
    return String(message);
  } finally {
    over.abort();
  }
}

export interface ServiceParts {
  /** What it tells when it is ready. */
  readonly says?: string;
  readonly answer?: (question: string) => string;
  readonly close: () => Promise<void>;
}

/** What the module of a service calls once it is ready. It ends when it is told to, or with the benchmark. */
export function beService({ says = '', answer, close }: ServiceParts): void {
  const stop = (): void => {
    process.off('SIGTERM', stop).off('disconnect', stop);
    void close().finally(() => process.exit());
  };
  process.once('SIGTERM', stop).once('disconnect', stop);
  process.on('message', (question) => process.send?.(answer?.(String(question)) ?? ''));
  process.send?.(says);
}
