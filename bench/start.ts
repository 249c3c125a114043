import { spawnSync } from 'node:child_process';
import { cp, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { median, table } from './report.ts';

const WARM_UPS = 2;

export interface StartOptions {
  /** `127.0.0.1:port/repository:tag` of an image to pull again and again. */
  readonly reference: string;
  readonly workspace: string;
  readonly bin: string;
  readonly rounds: number;
  readonly say: (line: string) => void;
}

export interface StartRow {
  readonly what: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly failure?: string;
}

interface Probe {
  readonly what: string;
  readonly args: readonly string[];
  readonly times: number[];
  failure?: string;
}

function runProbe(probe: Probe): number {
  const started = performance.now();
  const { status, stderr, error } = spawnSync(process.execPath, probe.args, { encoding: 'utf8', timeout: 60_000 });
  const took = performance.now() - started;
  if (status !== 0) probe.failure = error?.message ?? `exit ${status}: ${stderr.trim().slice(-160)}`;
  return took;
}

function run(file: string, args: readonly string[], cwd: string): void {
  // What an outer `npm run` exports would be taken as options by this npm.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  const { status, stderr, error } = spawnSync(file, args, { cwd, env, encoding: 'utf8', timeout: 10 * 60_000 });
  if (status !== 0) throw new Error(`${file} ${args[0]}: ${error?.message ?? stderr.trim().slice(-300)}`);
}

/**
 * Installs what `npm pack` makes of the checkout, as a user would. Packs a copy: `npm pack` builds, and a benchmark
 * changes nothing in the checkout.
 * @returns the path of the installed entry point
 */
async function install(bin: string, workspace: string): Promise<string> {
  const checkout = dirname(dirname(bin));
  const copy = join(workspace, 'checkout');
  const skipped = new Set(['.git', 'node_modules', 'dist']);
  await mkdir(copy);
  for (const entry of await readdir(checkout)) {
    if (!skipped.has(entry)) await cp(join(checkout, entry), join(copy, entry), { recursive: true });
  }
  await symlink(join(checkout, 'node_modules'), join(copy, 'node_modules'));
  run('npm', ['pack', '--silent', '--pack-destination', workspace], copy);
  const tarball = (await readdir(workspace)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack made no tarball');
  const home = join(workspace, 'installed');
  await mkdir(home);
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', home, join(workspace, tarball)], home);
  return join(home, 'node_modules', 'gantry', 'bin', basename(bin));
}

const probesOf = (where: string, bin: string, store: string, reference: string): Probe[] => [
  { what: `${where}: gantry --version`, args: [bin, '--version'], times: [] },
  { what: `${where}: gantry --help`, args: [bin, '--help'], times: [] },
  { what: `${where}: gantry pull, nothing to do`, args: [bin, 'pull', '-q', '--store', store, reference], times: [] },
];

function rowOf(probe: Probe): StartRow {
  const { what, times, failure } = probe;
  const row = { what, medianMs: median(times), minMs: Math.min(...times) };
  return failure === undefined ? row : { ...row, failure };
}

/** How long gantry takes to start, from the checkout (types are stripped at each start) and as installed. */
export async function measureStart(options: StartOptions): Promise<StartRow[]> {
  const { workspace, bin, reference, say } = options;
  const store = join(workspace, 'store');
  const probes: Probe[] = [
    { what: 'node -e 0', args: ['-e', '0'], times: [] },
    ...probesOf('checkout', bin, store, reference),
  ];
  try {
    probes.push(...probesOf('installed', await install(bin, workspace), store, reference));
  } catch (err) {
    say(`not measured as installed: ${err instanceof Error ? err.message : String(err)}`);
  }
  for (let round = -WARM_UPS; round < options.rounds; round++) {
    for (const probe of probes) {
      const took = runProbe(probe);
      if (round >= 0) probe.times.push(took);
    }
  }
  await rm(store, { recursive: true, force: true });
  return probes.map(rowOf);
}

export function describeStart(rows: readonly StartRow[]): string {
  const bare = rows[0]?.medianMs ?? 0;
  const body = rows.map((r) => [
    r.what,
    r.medianMs.toFixed(0),
    r.minMs.toFixed(0),
    (r.medianMs - bare).toFixed(0),
    r.failure === undefined ? '' : `FAILED: ${r.failure}`,
  ]);
  return table(['', 'median ms', 'min ms', 'over node', ''], body);
}
