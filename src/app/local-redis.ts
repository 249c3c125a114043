/** A redis-server of our own on the loopback interface, which keeps its data in a directory and ends when we do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { FileLocks } from '../store/file-lock.ts';
import { localFs } from '../store/node-fs.ts';
import type { Env } from './config.ts';

export interface LocalRedis extends AsyncDisposable {
  readonly url: string;
  /** When it has ended, whether asked to or not. */
  readonly ended: Promise<void>;
  /** The end of what it wrote. */
  log(): string;
}

/** What is kept of its log. */
const LOG_CHARS = 2_000;
const PORT_TRIES = 5;

/**
 * Its end is ours: the shell waits for the end of its stdin, which comes however we die, and then stops Redis and waits until
 * that has written all it knows. It lets go of stdout, so that there the end of Redis itself is seen.
 */
const KEEPER = 'redis-server "$@" </dev/null & exec >/dev/null; read -r _; kill $!; wait $!';

/**
 * Starts one, on the port of the last time where that is free.
 * @throws GantryError USAGE when redis-server is missing, or the directory is in use; IO when it does not start
 */
export async function startRedis(dir: string, env: Env, opts: CallOptions): Promise<LocalRedis> {
  if (!(await isOnPath('redis-server', env))) {
    throw new GantryError('USAGE', 'there is no redis-server on the PATH', {
      origin: 'user',
      hint: 'install it: apt-get install redis-server, dnf install redis, brew install redis',
    });
  }
  await using stack = new AsyncDisposableStack();
  await mkdir(dir, { recursive: true, mode: 0o700 }); // what is queued is nobody else's business
  stack.use(await lock(dir));
  const portFile = join(dir, 'port');
  const lastPort = Number(await readFile(portFile, 'utf8').catch(() => '0'));
  for (let tries = 1; ; tries += 1) {
    opts.signal.throwIfAborted();
    const port = tries === 1 && lastPort > 0 ? lastPort : await freePort();
    const child = stack.use(new Child(dir, port, env));
    if (await child.ready(opts)) {
      await writeFile(portFile, String(port));
      const owned = stack.move();
      const stop = (): Promise<void> => owned.disposeAsync();
      return {
        url: `redis://127.0.0.1:${port}`,
        ended: child.ended,
        log: () => child.log,
        [Symbol.asyncDispose]: stop,
      };
    }
    if (tries < PORT_TRIES && child.log.includes('Address already in use')) continue;
    throw new GantryError('IO', `redis-server does not start in ${dir}: ${child.log.trim().split('\n').at(-1) ?? ''}`);
  }
}

class Child implements AsyncDisposable {
  readonly ended: Promise<void>;
  log = '';
  readonly #child: ChildProcess;
  readonly #output: NodeJS.EventEmitter;

  constructor(dir: string, port: number, env: Env) {
    const settings = {
      bind: '127.0.0.1',
      port,
      dir,
      appendonly: 'yes',
      appendfsync: 'everysec',
      save: '',
      'maxmemory-policy': 'noeviction',
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    // In a group of its own: Ctrl-C must not reach it before the workers have given back what they have.
    const child = spawn('sh', ['-c', KEEPER, 'sh', ...args], {
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    child.stdin.on('error', () => undefined);
    this.#child = child;
    this.#output = child.stdout;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.log = `${this.log}${text}`.slice(-LOG_CHARS);
    });
    this.ended = once(child.stdout, 'close').then(() => undefined);
  }

  /** False when it ended before it was. */
  async ready({ signal }: CallOptions): Promise<boolean> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const seen = async (): Promise<boolean> => {
      while (!this.log.includes('Ready to accept connections')) await once(this.#output, 'data', { signal: either });
      return true;
    };
    try {
      return await Promise.race([seen(), this.ended.then(() => false)]);
    } finally {
      stop.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.stdin?.end();
    await once(this.#child, 'exit');
  }
}

async function lock(dir: string): Promise<AsyncDisposable> {
  const locks = new FileLocks(localFs, { staleMs: 10_000 });
  const attempt = await locks.tryAcquire(join(dir, 'up.lock'));
  if (attempt.state === 'held') return attempt.lock;
  throw new GantryError('USAGE', `a farm runs in ${dir} already`, {
    origin: 'user',
    hint: 'stop it first, or name other directories with --store and --redis-dir',
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new GantryError('INTERNAL', 'not a TCP port');
  return address.port;
}

async function isOnPath(program: string, env: Env): Promise<boolean> {
  for (const dir of (env['PATH'] ?? '').split(delimiter)) {
    const found = access(join(dir, program), constants.X_OK);
    if (
      await found.then(
        () => true,
        () => false,
      )
    )
      return true;
  }
  return false;
}
