import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { ContenderName } from './contenders.ts';
import { FARM_JOBS } from './farm-jobs.ts';
import { CONTENDER_NAMES, JOBS as PULL_JOBS, type JobOptions } from './jobs.ts';
import { endAllOnExit } from './own.ts';
import { describeMachine, machineFacts, missingPeers, writeJson } from './report.ts';
import { openWorkspace } from './workspace.ts';

const JOBS = { ...PULL_JOBS, ...FARM_JOBS };

const EXIT = { ok: 0, failed: 1, usage: 2, doesNotCount: 3 } as const;

const HELP = `usage: npm run bench -- JOB [options]

jobs:
${Object.entries(JOBS)
  .map(([name, { about }]) => `  ${name.padEnd(8)} ${about}`)
  .join('\n')}

options:
  --rounds N       measured rounds (${Object.entries(JOBS)
    .map(([name, { rounds }]) => `${name} ${rounds}`)
    .join(', ')})
  --only A,B       only these contenders: ${[...CONTENDER_NAMES].join(', ')}
  --gantry FILE    gantry's entry point (bin/gantry.js of this checkout)
  --cache DIR      where images and results are kept ($XDG_CACHE_HOME/gantry-bench)
  --json FILE      where the result goes (results/JOB-TIME.json in the cache)
  --big SIZE       large: bytes of the one layer, with K, M or G (2G)
  --many NxSIZE    large: the other image's layers (16x200M)
  -h, --help

exit codes: 0 done, 1 gantry failed or its result is incomplete, 2 usage, 3 done, but does not count: crane or oras is missing
`;

class UsageError extends Error {}

function parseSize(text: string): number {
  const match = /^(\d{1,9})([KMG]?)$/i.exec(text);
  const unit = { '': 1, K: 1e3, M: 1e6, G: 1e9 }[(match?.[2] ?? '').toUpperCase()];
  const size = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!(size > 0 && size <= 8e9)) throw new UsageError(`not a size between 1 and 8G: ${text}`); // what a tar header can say
  return size;
}

function parseMany(text: string): { count: number; each: number } {
  const match = /^(\d{1,3})x(.+)$/.exec(text);
  const count = Number(match?.[1] ?? 0);
  if (count < 1) throw new UsageError(`--many wants something like 16x200M, not ${text}`);
  return { count, each: parseSize(match?.[2] ?? '') };
}

function parseRounds(text: string): number {
  const rounds = Number(text);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000) throw new UsageError(`not a number of rounds: ${text}`);
  return rounds;
}

const isContender = (name: string): name is ContenderName => CONTENDER_NAMES.has(name);

function parseOnly(text: string | undefined): ContenderName[] {
  const names = text?.split(',') ?? [];
  const wrong = names.filter((name) => !isContender(name));
  if (wrong.length > 0) throw new UsageError(`no such contender: ${wrong.join(', ')}`);
  return names.filter(isContender);
}

const defaultCache = (): string => join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'gantry-bench');

const parse = (argv: readonly string[]) =>
  parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      only: { type: 'string' },
      gantry: { type: 'string', default: join(import.meta.dirname, '..', 'bin', 'gantry.js') },
      cache: { type: 'string', default: defaultCache() },
      json: { type: 'string' },
      big: { type: 'string', default: '2G' },
      many: { type: 'string', default: '16x200M' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });

async function runJob(name: string, values: ReturnType<typeof parse>['values']): Promise<number> {
  const job = Object.hasOwn(JOBS, name) ? JOBS[name] : undefined;
  if (!job) throw new UsageError(`no such job: ${name}`);
  const rounds = values.rounds === undefined ? job.rounds : parseRounds(values.rounds);
  const given = {
    rounds,
    only: parseOnly(values.only),
    sizes: { big: parseSize(values.big), ...parseMany(values.many) },
  };
  const cache = resolve(values.cache);
  const bin = resolve(values.gantry);
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  if (!existsSync(bin) && (given.only.length === 0 || given.only.includes('gantry')))
    say(`gantry is not there: ${bin}`);

  const machine = machineFacts();
  const when = new Date().toISOString();
  await using workspace = await openWorkspace(cache);
  const options: JobOptions = { ...given, cache, bin, workspace: workspace.dir, say };
  const { text, data, ok, compares } = await job.run(options);

  const missing = compares ? missingPeers(machine) : [];
  const absent = missing.length === 0 ? '' : `\nTHIS RESULT DOES NOT COUNT: ${missing.join(' and ')} not on PATH\n`;
  process.stdout.write(`\n${text}\n\n${describeMachine(machine)}\n${absent}`);
  const file = resolve(values.json ?? join(cache, 'results', `${name}-${when.replaceAll(/[:.]/g, '-')}.json`));
  await writeJson(file, { job: name, when, counts: missing.length === 0, rounds, machine, ...Object(data) });
  say(`result: ${file}`);
  if (!ok) return EXIT.failed;
  return missing.length === 0 ? EXIT.ok : EXIT.doesNotCount;
}

const isParseError = (err: unknown): boolean =>
  err instanceof Error && 'code' in err && String(err.code).startsWith('ERR_PARSE_ARGS');

async function main(argv: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(argv);
    if (values.help) {
      process.stdout.write(HELP);
      return EXIT.ok;
    }
    const [name, ...rest] = positionals;
    if (name === undefined || rest.length > 0) throw new UsageError('one job is wanted');
    return await runJob(name, values);
  } catch (err) {
    const usage = err instanceof UsageError || isParseError(err);
    process.stderr.write(`bench: ${err instanceof Error ? err.message : String(err)}\n`);
    if (usage) process.stderr.write(HELP);
    return usage ? EXIT.usage : EXIT.failed;
  }
}

endAllOnExit();
process.exitCode = await main(process.argv.slice(2));
