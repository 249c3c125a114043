import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { closed, listen } from './listen.ts';
import { type Running, runOk, start } from './process.ts';
import { type TempDir, tempDir } from './temp.ts';
import { certificates } from './tls.ts';

export interface TestRedisOptions {
  /** A file of all writes, synced every second: data survives restart() and, but for the last second, kill(). */
  readonly appendonly?: boolean;
  readonly password?: string;
  /** TLS only, with the certificate for localhost of test/support/tls.ts. */
  readonly tls?: boolean;
  /** Such as `2mb`; no bound unless given. */
  readonly maxmemory?: string;
  readonly maxmemoryPolicy?: string;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await closed(server);
  return port;
}

async function argumentsOf(options: TestRedisOptions, dir: string, port: number): Promise<string[]> {
  const { appendonly = false, password, tls = false, maxmemory, maxmemoryPolicy = 'noeviction' } = options;
  const { server, caFile } = tls ? await certificates() : {};
  const settings = {
    port: tls ? 0 : port,
    bind: '127.0.0.1',
    dir,
    save: '',
    appendonly: appendonly ? 'yes' : 'no',
    appendfsync: 'everysec',
    'maxmemory-policy': maxmemoryPolicy,
    ...(maxmemory === undefined ? {} : { maxmemory }),
    ...(password === undefined ? {} : { requirepass: password }),
    ...(tls ? { 'tls-port': port, 'tls-auth-clients': 'no' } : {}),
    ...(tls ? { 'tls-cert-file': server?.certFile, 'tls-key-file': server?.keyFile, 'tls-ca-cert-file': caFile } : {}),
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** A redis-server on a loopback port and with a directory of its own, which keep through restart() and kill(). */
export class TestRedis implements AsyncDisposable {
  readonly port: number;
  /** With the password, where there is one. */
  readonly url: string;
  /** File of the CA to trust; with `tls` only. */
  readonly ca: string | undefined;
  readonly #options: TestRedisOptions;
  readonly #temp: TempDir;
  #process: Running;

  private constructor(
    port: number,
    ca: string | undefined,
    options: TestRedisOptions,
    temp: TempDir,
    process: Running,
  ) {
    const user = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`;
    this.port = port;
    this.url = `${options.tls === true ? 'rediss' : 'redis'}://${user}127.0.0.1:${port}`;
    this.ca = ca;
    this.#options = options;
    this.#temp = temp;
    this.#process = process;
  }

  static async start(options: TestRedisOptions = {}): Promise<TestRedis> {
    await using stack = new AsyncDisposableStack();
    const temp = stack.use(await tempDir('gantry-redis-'));
    const ca = options.tls === true ? (await certificates()).caFile : undefined;
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      const process = await launch(options, temp.path, port, attempt < 5);
      if (process === undefined) continue;
      stack.move();
      return new TestRedis(port, ca, options, temp, process);
    }
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Of the process that runs now. */
  get pid(): number {
    return this.#process.pid;
  }

  /** After kill(): on the same port, with what the directory holds. */
  async start(): Promise<void> {
    if (!this.#process.ended) throw new Error(`redis-server runs as ${this.pid}`);
    for (let attempt = 1; ; attempt += 1) {
      const process = await launch(this.#options, this.#temp.path, this.port, attempt < 50);
      if (process !== undefined) {
        this.#process = process;
        return;
      }
      await sleep(100); // somebody's outgoing connection has the port
    }
  }

  /** Ends it in good order and starts it again. */
  async restart(): Promise<void> {
    this.resumeProcess(); // a stopped process does not hear SIGTERM
    this.#process.kill('SIGTERM');
    await this.#process.done;
    await this.start();
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#process.done;
  }

  /** Connections stay, and the kernel accepts new ones, but nothing is answered. */
  pauseProcess(): void {
    this.#process.kill('SIGSTOP');
  }

  resumeProcess(): void {
    this.#process.kill('SIGCONT');
  }

  /** Runs one command by redis-cli; lists come one element a line. Rejects on an error reply. */
  async command(...args: readonly string[]): Promise<string> {
    const tls = this.ca === undefined ? [] : ['--tls', '--cacert', this.ca];
    const { password } = this.#options;
    const env = { ...process.env, ...(password === undefined ? {} : { REDISCLI_AUTH: password }) };
    const { stdout } = await runOk('redis-cli', ['-e', '-p', String(this.port), ...tls, ...args], { env });
    return stdout.replace(/\n$/, '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }
}

/** Resolves when the server takes commands; to undefined when the port is taken and the caller `mayRetry`. */
async function launch(
  options: TestRedisOptions,
  dir: string,
  port: number,
  mayRetry: boolean,
): Promise<Running | undefined> {
  const process = start('redis-server', await argumentsOf(options, dir, port));
  try {
    await process.waitForOutput(/Ready to accept connections/);
    return process;
  } catch (err) {
    await process[Symbol.asyncDispose]();
    if (mayRetry && process.stdout.includes('Address already in use')) return undefined;
    throw err;
  }
}
