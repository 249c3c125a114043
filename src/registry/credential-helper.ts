/** Talks to docker-credential-NAME programs (github.com/docker/docker-credential-helpers, the protocol of its README). */
import { spawn, type ChildProcess } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { CallOptions } from '../call.ts';
import { GantryError, messageOf } from '../errors.ts';
import { pairCredentials, type Credentials } from './docker-config.ts';
import type { Secret } from '../secret.ts';

export interface HelperOptions extends CallOptions {
  /** The environment of the program, with the PATH it is looked for in. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
const MAX_OUTPUT = 64 * 1024;
const NAME = /^[A-Za-z0-9._-]+$/;

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
}

/**
 * Where the program of a helper is, or undefined. Not left to spawn: relative entries of PATH would run what lies in
 * the current directory. @throws GantryError INVALID for a name that could leave the PATH
 */
export async function findHelper(name: string, env: HelperOptions['env']): Promise<string | undefined> {
  if (!NAME.test(name) || name.length > 128) {
    throw new GantryError(
      'INVALID',
      'the name of a credential helper may have letters, digits, ".", "_" and "-" only',
      {
        origin: 'user',
      },
    );
  }
  for (const dir of (env['PATH'] ?? '').split(':').filter(isAbsolute)) {
    const file = join(dir, `docker-credential-${name}`);
    const runs = await access(file, constants.X_OK).then(
      async () => (await stat(file)).isFile(),
      () => false,
    );
    if (runs) return file;
  }
  return undefined;
}

/** What a helper keeps for a server; undefined where it has nothing. */
export async function helperGet(name: string, server: string, opts: HelperOptions): Promise<Credentials | undefined> {
  const { status, stdout } = await run(name, 'get', server, opts);
  if (status !== 0) {
    if (saysNotFound(stdout)) return undefined;
    throw failure(name, 'get', `ended with status ${status}`);
  }
  const answer = parseAnswer(stdout);
  if (answer === undefined) throw failure(name, 'get', 'did not answer with JSON that has a Username and a Secret');
  return pairCredentials(answer.username, answer.secret);
}

export async function helperStore(
  name: string,
  credentials: { readonly server: string; readonly username: string; readonly secret: Secret },
  opts: HelperOptions,
): Promise<void> {
  const { server, username, secret } = credentials;
  const input = JSON.stringify({ ServerURL: server, Username: username, Secret: secret.reveal() });
  const { status } = await run(name, 'store', input, opts);
  if (status !== 0) throw failure(name, 'store', `ended with status ${status}`);
}

/** Whether there was something to erase, as far as the helper says. */
export async function helperErase(name: string, server: string, opts: HelperOptions): Promise<boolean> {
  const { status, stdout } = await run(name, 'erase', server, opts);
  if (status === 0) return true;
  if (saysNotFound(stdout)) return false;
  throw failure(name, 'erase', `ended with status ${status}`);
}

/** The agreed texts; a program prints them to stdout and ends with 1. */
const saysNotFound = (stdout: string): boolean =>
  /^(?:credentials not found in native keychain|no credentials server URL|no credentials username)\.?$/i.test(
    stdout.trim(),
  );

function parseAnswer(stdout: string): { username: string; secret: string } | undefined {
  try {
    const answer: unknown = JSON.parse(stdout);
    if (typeof answer !== 'object' || answer === null || !('Username' in answer) || !('Secret' in answer)) {
      return undefined;
    }
    const { Username: username, Secret: secret } = answer;
    return typeof username === 'string' && typeof secret === 'string' ? { username, secret } : undefined;
  } catch {
    // Nothing of it as cause: the message of JSON.parse quotes the text, and the text is the secret.
    return undefined;
  }
}

/** Says what happened and nothing that the program printed: any of it may be the secret. */
const failure = (name: string, action: string, what: string): GantryError =>
  new GantryError('UNAUTHORIZED', `docker-credential-${name} ${action}: ${what}`, {
    origin: 'user',
    hint: `what it says about it: echo REGISTRY | docker-credential-${name} get`,
  });

async function run(name: string, action: string, input: string, opts: HelperOptions): Promise<Outcome> {
  opts.signal.throwIfAborted();
  const program = await findHelper(name, opts.env);
  if (program === undefined) throw failure(name, action, 'there is no such program in PATH');
  opts.signal.throwIfAborted();
  // A group of its own: helpers are often scripts, and what these started must end with them.
  const child = spawn(program, [action], { env: { ...opts.env }, stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  return new Promise((resolve, reject) => {
    let reason: unknown;
    const stop = (why: unknown): void => {
      reason ??= why;
      killGroup(child);
    };
    const cancel = (): void => stop(opts.signal.reason);
    const timeoutMs = opts.timeoutMs ?? TIMEOUT_MS;
    const timer = setTimeout(() => stop(timedOut(name, action, timeoutMs)), timeoutMs);
    opts.signal.addEventListener('abort', cancel, { once: true });
    const settled = (): void => {
      clearTimeout(timer);
      opts.signal.removeEventListener('abort', cancel);
    };
    const chunks: Buffer[] = [];
    let total = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      total += chunk.length;
      if (total <= MAX_OUTPUT) chunks.push(chunk);
      else stop(failure(name, action, 'printed more than 64 KiB'));
    });
    // A program that needs no input may end before it is written.
    child.stdin.on('error', () => undefined);
    child.on('error', (err) => {
      settled();
      reject(reason ?? failure(name, action, `did not start (${messageOf(err)})`));
    });
    child.on('close', (status) => {
      settled();
      if (reason === undefined) resolve({ status, stdout: Buffer.concat(chunks).toString('utf8') });
      else reject(reason);
    });
    child.stdin.end(input);
  });
}

const timedOut = (name: string, action: string, ms: number): GantryError =>
  new GantryError('TIMEOUT', `docker-credential-${name} ${action}: no answer for ${ms / 1000} s`, { origin: 'user' });

function killGroup(child: ChildProcess): void {
  if (child.pid !== undefined) {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  // What left the group may still hold the pipe, and `close` would wait for it.
  child.stdout?.destroy();
  child.stdin?.destroy();
}
