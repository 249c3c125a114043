import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanEnv, gantry, type Gantry, type RunResult, run, spawnGantry } from './process.ts';
import { tempDir } from './temp.ts';

/** A user with a home and a store of their own, and `gantry` on the PATH of their shell. */
export interface User extends AsyncDisposable {
  readonly home: string;
  readonly store: string;
  /** What their programs get. */
  readonly env: NodeJS.ProcessEnv;
  gantry(args: readonly string[], env?: NodeJS.ProcessEnv, input?: string): Promise<RunResult>;
  spawn(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Gantry>;
  sh(script: string, env?: NodeJS.ProcessEnv): Promise<RunResult>;
}

export const GANTRY_BIN = join(import.meta.dirname, '../../bin/gantry.js');

/** One for all users: to compile everything anew would take longer than what most tests do. */
const COMPILE_CACHE = join(tmpdir(), 'gantry-test-compile-cache');

export async function newUser(): Promise<User> {
  const dir = await tempDir('gantry-user-');
  const [home, store, bin] = [dir.join('home'), dir.join('store'), dir.join('bin')];
  await mkdir(home);
  await mkdir(bin);
  await writeFile(join(bin, 'gantry'), `#!/bin/sh\nexec "${process.execPath}" "${GANTRY_BIN}" "$@"\n`);
  await chmod(join(bin, 'gantry'), 0o755);
  const own = { GANTRY_STORE: store, NODE_COMPILE_CACHE: COMPILE_CACHE, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  const options = (env: NodeJS.ProcessEnv = {}) => ({ home, env: { ...own, ...env } });
  return {
    home,
    store,
    env: cleanEnv(home, own),
    gantry: (args, env, input) => gantry(args, { ...options(env), ...(input === undefined ? {} : { input }) }),
    spawn: (args, env) => spawnGantry(args, options(env)),
    sh: (script, env) => run('sh', ['-c', script], { env: cleanEnv(home, { ...own, ...env }) }),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** The files below a directory, sorted; empty where there is none. */
export async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

/** What a directory holds: a hash for each file. */
export async function contents(dir: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const path of await filesBelow(dir)) {
    const bytes = await readFile(path);
    found[relative(dir, path)] = createHash('sha256').update(bytes).digest('hex');
  }
  return found;
}

/** Resolves when an unfinished write of the store has so many bytes on the disk: no event tells an outsider. */
export async function keptBytes({ store }: Pick<User, 'store'>, atLeast = 100_000): Promise<void> {
  for (const deadline = performance.now() + 20_000; performance.now() < deadline;) {
    for (const path of await filesBelow(join(store, 'ingest'))) {
      const size = await stat(path).then(
        (info) => info.size,
        () => 0,
      );
      if (path.endsWith('.part') && size >= atLeast) return;
    }
    await sleep(5);
  }
  throw new Error('no unfinished write in 20 s');
}
