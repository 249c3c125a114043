/** The same content from docker-registry and from `gantry server`, to the same clients. */
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Bound, boundRows, describeBounds } from './bounds.ts';
import { referenceOf } from './contenders.ts';
import { type Corpus, inParallel, serveCorpus } from './corpus.ts';
import type { JobOptions, JobResult } from './jobs.ts';
import { type Command, measure } from './measure.ts';
import { servePlan } from './plans.ts';
import { startProgram } from './program.ts';
import { median, seconds, table } from './report.ts';

/** What gantry promises of docker-registry's throughput. */
const LEAST = 0.8;
/** Times that the one large blob is sent in a run, and that each small thing is asked for. */
const BIG_TIMES = 16;
const SMALL_TIMES = 8;
const SMALL_BYTES = 64_000;

interface Server {
  readonly name: 'docker-registry' | 'gantry';
  readonly host: string;
  readonly pid: number;
}

/** What clients ask for in one run: for each of them its paths, one after another on one connection. */
interface Load {
  readonly name: string;
  readonly requests: number;
  readonly bytes: number;
  readonly lanes: readonly (readonly string[])[];
}

interface Figures {
  readonly wallMs: number;
  /** Of the server: user and system time. */
  readonly cpuMs: number;
  readonly failure?: string;
}

interface Row extends Figures {
  readonly load: string;
  readonly server: Server['name'];
  readonly runs: readonly Figures[];
}

interface Thing {
  readonly path: string;
  readonly size: number;
}

function loadOf(name: string, things: readonly Thing[], lanes: number): Load {
  const paths = Array.from({ length: lanes }, (_, lane) =>
    things.filter((_thing, i) => i % lanes === lane).map(({ path }) => path),
  );
  return { name, requests: things.length, bytes: things.reduce((sum, { size }) => sum + size, 0), lanes: paths };
}

/** @param source the registry that the names in gantry's store tell */
function loadsOf(corpus: Corpus, source: string): readonly Load[] {
  const blobs = corpus.blobs.map(({ repository, digest, size }) => ({
    path: `/v2/${repository}/blobs/${digest}`,
    size,
  }));
  const largestFirst = blobs.toSorted((a, b) => b.size - a.size);
  const [big] = largestFirst;
  if (big === undefined) throw new Error('the corpus is empty');
  const manifests = corpus.images.map(({ repository, tag, size }) => ({
    path: `/v2/${repository}/manifests/${tag}?ns=${source}`,
    size,
  }));
  const small = [...manifests, ...blobs.filter(({ size }) => size <= SMALL_BYTES)];
  const often = <T>(things: readonly T[], times: number): T[] => Array.from({ length: times }, () => things).flat();
  return [
    loadOf('one large blob, 4 clients', often([big], BIG_TIMES), 4),
    loadOf('every blob, 8 clients', largestFirst, 8),
    loadOf('small blobs and manifests, 8 clients', often(small, SMALL_TIMES), 8),
  ];
}

/** User and system time of a process, in ms: proc_pid_stat(5), in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function commandOf(load: Load, server: Server, dir: string): Promise<Command> {
  await mkdir(dir, { recursive: true });
  const files: string[] = [];
  for (const [i, lane] of load.lanes.entries()) {
    const file = join(dir, `curl.${i}`);
    await writeFile(file, lane.map((path) => `url = "http://${server.host}${path}"\noutput = /dev/null\n`).join(''));
    files.push(file);
  }
  const accept = 'accept: application/vnd.oci.image.manifest.v1+json';
  const script = `printf '%s\\n' "$@" | xargs -P ${files.length} -n 1 curl -sfgH '${accept}' -K`;
  return { file: 'sh', args: ['-c', script, 'sh', ...files] };
}

async function runOnce(load: Load, server: Server, dir: string): Promise<Figures> {
  const command = await commandOf(load, server, dir);
  const before = cpuMs(server.pid);
  const { wallMs, failure } = await measure(command, join(dir, 'log'), 'time');
  const figures = { wallMs, cpuMs: cpuMs(server.pid) - before };
  return failure === undefined ? figures : { ...figures, failure };
}

/** Every blob is what its digest says; so all is in the page cache, too. */
async function verify(corpus: Corpus, server: Server): Promise<void> {
  await inParallel(corpus.blobs, 4, async ({ repository, digest }) => {
    const response = await fetch(`http://${server.host}/v2/${repository}/blobs/${digest}`);
    const hash = createHash('sha256');
    for await (const chunk of response.body ?? []) hash.update(chunk);
    if (`sha256:${hash.digest('hex')}` !== digest) throw new Error(`${server.name} sent something else as ${digest}`);
  });
}

function rowsOf(load: Load, servers: readonly Server[], runs: ReadonlyMap<Server, readonly Figures[]>): Row[] {
  return servers.map((server) => {
    const all = runs.get(server) ?? [];
    const failure = all.find((run) => run.failure !== undefined)?.failure;
    const row = {
      load: load.name,
      server: server.name,
      wallMs: median(all.map((run) => run.wallMs)),
      cpuMs: median(all.map((run) => run.cpuMs)),
      runs: all,
    };
    return failure === undefined ? row : { ...row, failure };
  });
}

/** In turn, each round beginning with the other. */
async function compare(load: Load, servers: readonly Server[], options: JobOptions): Promise<Row[]> {
  const runs = new Map<Server, Figures[]>(servers.map((server) => [server, []]));
  for (let round = 0; round <= options.rounds; round++) {
    for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
      const figures = await runOnce(load, server, join(options.workspace, 'scratch'));
      if (round === 0) continue; // connections, compiled code, caches of metadata
      runs.get(server)?.push(figures);
      options.say(`${load.name}: ${server.name} ${seconds(figures.wallMs)} s`);
    }
  }
  return rowsOf(load, servers, runs);
}

function describe(loads: readonly Load[], rows: readonly Row[]): string {
  const body = rows.map(({ load: name, server, wallMs, cpuMs: cpu, failure }) => {
    const load = loads.find((each) => each.name === name);
    const { requests = 0, bytes = 0 } = load ?? {};
    const rates = [(bytes / 1000 / wallMs).toFixed(0), (requests / (wallMs / 1000)).toFixed(0)];
    return [name, server, seconds(wallMs), ...rates, seconds(cpu), failure === undefined ? '' : `FAILED: ${failure}`];
  });
  return table(['', 'server', 'wall s', 'MB/s', 'requests/s', 'server CPU s', ''], body);
}

function boundsOf(loads: readonly Load[], rows: readonly Row[]): Bound[] {
  return loads.map(({ name }) => {
    const of = (server: Server['name']): number =>
      rows.find((row) => row.load === name && row.server === server)?.wallMs ?? Number.NaN;
    const value = of('docker-registry') / of('gantry');
    return { what: `${name}: x docker-registry's throughput`, value, least: LEAST, digits: 2 };
  });
}

/** How fast a store is served. */
export async function serveJob(options: JobOptions): Promise<JobResult> {
  const { bin, workspace, say } = options;
  const { corpus, registry } = await serveCorpus(options.cache, servePlan(), join(workspace, 'registry'), say);
  await using running = registry;
  const store = join(workspace, 'store');
  say('pulling what gantry serves');
  const references = corpus.images.map((image) => referenceOf(running.host, image));
  await promisify(execFile)(process.execPath, [bin, 'pull', '-q', '--store', store, ...references]);
  await using program = await startProgram(
    bin,
    ['server', '--store', store, '--port', '0'],
    /listens on http:\/\/(\S+)/,
  );
  const servers: readonly Server[] = [
    { name: 'docker-registry', host: running.host, pid: running.pid },
    { name: 'gantry', host: program.ready[1] ?? '', pid: program.pid },
  ];
  for (const server of servers) await verify(corpus, server);
  const loads = loadsOf(corpus, running.host);
  const rows: Row[] = [];
  for (const load of loads) rows.push(...(await compare(load, servers, options)));
  const bounds = boundsOf(loads, rows);
  const title = `serving ${corpus.blobs.length} blobs of ${(corpus.bytes / 1e6).toFixed(0)} MB; medians of ${options.rounds}`;
  const text = `${title}\n\n${describe(loads, rows)}\n\n${describeBounds(bounds)}`;
  const ok = rows.every((row) => row.failure === undefined);
  return { text, data: { corpus: { digest: corpus.digest }, rows, bounds: boundRows(bounds) }, ok, compares: false };
}
