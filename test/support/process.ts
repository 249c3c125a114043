import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { type TempDir, tempDir } from './temp.ts';

export interface RunOptions {
  /** All of the environment; the caller's unless given. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  /** Then SIGKILL; 60 s unless said. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A child whose output is kept. It does not outlive its scope. */
export class Running implements AsyncDisposable {
  readonly pid: number;
  /** When the child and its pipes have ended. */
  readonly done: Promise<RunResult>;
  readonly #child: ChildProcess;
  readonly #out: Buffer[] = [];
  readonly #err: Buffer[] = [];
  readonly #watchers = new Set<() => void>();
  #ended = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? -1;
    child.stdout?.on('data', (chunk: Buffer) => this.#took(this.#out, chunk));
    child.stderr?.on('data', (chunk: Buffer) => this.#took(this.#err, chunk));
    child.stdin?.on('error', () => {}); // it may end without reading
    this.done = new Promise((resolve, reject) => {
      child.once('error', (err) => {
        this.#ended = true;
        reject(err);
      });
      child.once('close', (code, signal) => {
        this.#ended = true;
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
        for (const watcher of this.#watchers) watcher();
      });
    });
    this.done.catch(() => {}); // whoever awaits it still gets it
  }

  get stdout(): string {
    return Buffer.concat(this.#out).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.#err).toString();
  }

  get ended(): boolean {
    return this.#ended;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (!this.#ended) this.#child.kill(signal);
  }

  /** Resolves when stdout or stderr has the text; rejects when the child ends without it. */
  waitForOutput(wanted: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        act();
      };
      const look = (): void => {
        const found = wanted.exec(this.stdout) ?? wanted.exec(this.stderr);
        if (found) settle(() => resolve(found));
        else if (this.#ended) settle(() => reject(new Error(`ended without ${wanted}: ${this.stdout}${this.stderr}`)));
      };
      const late = (): void => reject(new Error(`no ${wanted} in ${timeoutMs} ms: ${this.stdout}${this.stderr}`));
      const timer = setTimeout(() => settle(late), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.done.catch(() => {});
  }

  #took(into: Buffer[], chunk: Buffer): void {
    into.push(chunk);
    for (const watcher of this.#watchers) watcher();
  }
}

export function start(cmd: string, args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(cmd, args, {
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.stdin.end(options.input ?? '');
  return new Running(child);
}

/** Runs a program to its end. A program that fails is a result; one that cannot be started is an error. */
export async function run(cmd: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  await using child = start(cmd, args, options);
  const timer = setTimeout(() => child.kill(), options.timeoutMs ?? 60_000);
  try {
    return await child.done;
  } finally {
    clearTimeout(timer);
  }
}

/** As `run`, but a program that fails is an error that shows what it wrote. */
export async function runOk(cmd: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await run(cmd, args, options);
  if (result.code === 0) return result;
  throw new Error(`${cmd} ${args.join(' ')}: ${result.code ?? result.signal}\n${result.stdout}${result.stderr}`);
}

const GANTRY = join(import.meta.dirname, '../../bin/gantry.js');

/** Nothing of the user's: no home, no XDG directories, no proxies, no credentials. */
export const cleanEnv = (home: string, extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  LANG: 'C.UTF-8',
  TZ: 'UTC',
  HOME: home,
  TMPDIR: home,
  ...extra,
});

export interface GantryOptions extends RunOptions {
  /** HOME; a directory of its own unless given. */
  readonly home?: string;
  /** Flags of node, before the script. */
  readonly nodeFlags?: readonly string[];
}

export interface Gantry extends AsyncDisposable {
  readonly process: Running;
  readonly home: string;
}

/** Starts the command line as a user would; `options.env` is added to a clean environment. */
export async function spawnGantry(args: readonly string[], options: GantryOptions = {}): Promise<Gantry> {
  const own: TempDir | undefined = options.home === undefined ? await tempDir('gantry-home-') : undefined;
  const home = options.home ?? own?.path ?? '';
  const { nodeFlags = [], env, ...rest } = options;
  const child = start(process.execPath, [...nodeFlags, GANTRY, ...args], { ...rest, env: cleanEnv(home, env) });
  return {
    process: child,
    home,
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      await own?.[Symbol.asyncDispose]();
    },
  };
}

/** Runs the command line to its end. */
export async function gantry(args: readonly string[], options: GantryOptions = {}): Promise<RunResult> {
  await using running = await spawnGantry(args, options);
  const timer = setTimeout(() => running.process.kill(), options.timeoutMs ?? 60_000);
  try {
    return await running.process.done;
  } finally {
    clearTimeout(timer);
  }
}
