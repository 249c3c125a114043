import { type ChildProcess, spawn } from 'node:child_process';
import { own } from './own.ts';
import { end } from './service.ts';

const READY_WITHIN_MS = 20_000;

/** A gantry command that goes on until it is disposed. */
export interface Program extends AsyncDisposable {
  /** How it told that it is ready. */
  readonly ready: RegExpMatchArray;
  readonly pid: number;
}

/** @param bin gantry's entry point. Resolves when stderr has what `ready` looks for. */
export async function startProgram(bin: string, args: readonly string[], ready: RegExp): Promise<Program> {
  const stdio = ['ignore', 'ignore', 'pipe'] as const;
  const child = own(spawn(process.execPath, [bin, ...args], { stdio: [...stdio], detached: true }));
  const stop = (): Promise<void> => end(child);
  try {
    return { ready: await told(child, ready), pid: child.pid ?? -1, [Symbol.asyncDispose]: stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

function told(child: ChildProcess, ready: RegExp): Promise<RegExpMatchArray> {
  const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
  let text = '';
  const fail = (why: string): void => reject(new Error(`${child.spawnargs.slice(1, 3).join(' ')} ${why}: ${text}`));
  const late = setTimeout(() => fail('is not ready'), READY_WITHIN_MS);
  child.once('error', reject).once('exit', () => fail('has ended'));
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-10_000);
    const match = ready.exec(text);
    if (match !== null) resolve(match);
  });
  return promise.finally(() => clearTimeout(late));
}
