import { spawnSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { contenders, type Contender, type ContenderName, type PullTask } from './contenders.ts';
import type { Corpus, CorpusImage } from './corpus.ts';
import { measure, type Measured } from './measure.ts';
import { mebibytes, median, seconds, table } from './report.ts';
import { verifyFiles, verifyLayout, type Verdict } from './verify.ts';

type Say = (line: string) => void;

export interface PullOptions {
  readonly host: string;
  readonly corpus: Corpus;
  readonly images: readonly CorpusImage[];
  /** On the disk of the cache. */
  readonly workspace: string;
  /** gantry's entry point. */
  readonly bin: string;
  readonly rounds: number;
  readonly only: readonly ContenderName[];
  /** `fresh`: into a new layout; `again`: into one that has everything. */
  readonly mode: 'fresh' | 'again';
  readonly say: Say;
  /** A layout for each contender unless given. */
  readonly destination?: Destination;
}

/** Where content goes, and how it is told that all of it came there. */
export interface Destination {
  readonly contenders: readonly Contender[];
  /** What the task says beyond a pull. */
  readonly to?: string;
  /** Makes it empty. */
  drop(task: PullTask): Promise<void>;
  /** `deep`: every byte. */
  verify(contender: Contender, task: PullTask, deep: boolean): Promise<Verdict>;
}

const layouts = (bin: string, images: number): Destination => ({
  contenders: contenders(bin, images),
  drop: (task) => rm(task.target, { recursive: true, force: true }),
  verify: ({ kind }, task, deep) => (kind === 'floor' ? verifyFiles(task) : verifyLayout(task, deep)),
});

export interface Row {
  readonly name: ContenderName;
  readonly variant: string;
  readonly kind: Contender['kind'];
  /** Every round gave all images. */
  readonly complete: boolean;
  readonly note: string;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly processKiB: number;
  readonly treeKiB: number;
  /** Wall time as a part of the best complete peer's. */
  readonly ratio: number | null;
  readonly runs: readonly Measured[];
}

interface Entry {
  readonly destination: Destination;
  readonly contender: Contender;
  readonly task: PullTask;
  readonly runs: Measured[];
  /** The run in which memory was looked at. */
  memory: Measured | undefined;
  verdict: Verdict;
}

/**
 * Memory that is full of other files makes each write look for room first: up to 0.4 s of a pull, most for whoever writes most at a time. Only
 * root may empty it; what the warm-up reads is back before anything is measured.
 */
const emptyPageCache = (): void =>
  void spawnSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches'], { stdio: 'ignore' });

/** Nothing of the run before is still being written while the next one is measured. */
const settleDisk = (): void => void spawnSync('sync');

const nothingBroken = (note: string): Verdict => ({ complete: true, note });

async function runOnce(entry: Entry, what: 'time' | 'memory'): Promise<Measured> {
  const { contender, task } = entry;
  await mkdir(task.scratch, { recursive: true });
  const command = await contender.prepare(task);
  settleDisk();
  const measured = await measure(command, join(task.scratch, `${contender.name}.log`), what);
  const found = await entry.destination.verify(contender, task, what === 'memory');
  const note = [measured.failure, found.note].filter(Boolean).join('; ');
  const complete = found.complete && measured.failure === undefined;
  entry.verdict =
    complete && entry.verdict.complete ? nothingBroken(note || entry.verdict.note) : { complete: false, note };
  return measured;
}

const drop = ({ destination, task }: Entry): Promise<void> => destination.drop(task);

/** A run whose time does not count: fills caches and, for `again`, the layout. Its memory does, and every byte of its result is checked. */
async function warmUp(entry: Entry, mode: PullOptions['mode'], say: Say): Promise<Measured> {
  await drop(entry);
  const first = await runOnce(entry, 'memory');
  const measured = mode === 'again' && entry.verdict.complete ? await runOnce(entry, 'memory') : first;
  entry.memory = measured;
  if (mode === 'fresh') await drop(entry);
  const { contender, verdict } = entry;
  const end = verdict.complete ? verdict.note : `INCOMPLETE: ${verdict.note}`;
  say(`  ${contender.name}, ${contender.variant}: ${seconds(measured.wallMs)} s ${end}`);
  return measured;
}

/** Of the ways to call one program, the fastest that gave everything. */
async function chooseVariants(all: readonly Entry[], options: PullOptions): Promise<Entry[]> {
  options.say('warm-up (not counted; the faster way of calling a program goes on):');
  const best = new Map<ContenderName, { entry: Entry; wallMs: number }>();
  for (const entry of all) {
    const { wallMs } = await warmUp(entry, options.mode, options.say);
    const { name } = entry.contender;
    const rival = best.get(name);
    const better =
      !rival ||
      (entry.verdict.complete && !rival.entry.verdict.complete) ||
      (entry.verdict.complete === rival.entry.verdict.complete && wallMs < rival.wallMs);
    if (better) best.set(name, { entry, wallMs });
  }
  const chosen = new Set([...best.values()].map((b) => b.entry));
  for (const entry of all) if (!chosen.has(entry)) await drop(entry);
  return [...chosen];
}

function entriesOf(options: PullOptions): Entry[] {
  const { host, corpus, images, workspace } = options;
  const used = new Set(images.flatMap((i) => i.blobs));
  const blobs = corpus.blobs.filter((b) => used.has(b.digest));
  const { destination = layouts(options.bin, images.length) } = options;
  const to = destination.to === undefined ? {} : { to: destination.to };
  return destination.contenders
    .filter((c) => options.only.length === 0 || options.only.includes(c.name))
    .filter((c) => options.mode === 'fresh' || c.kind !== 'floor')
    .map((contender, i) => ({
      destination,
      contender,
      task: {
        host,
        images,
        blobs,
        target: join(workspace, `layout-${i}`),
        scratch: join(workspace, 'scratch'),
        ...to,
      },
      runs: [],
      memory: undefined,
      verdict: nothingBroken(''),
    }));
}

function rowsOf(entries: readonly Entry[]): Row[] {
  const rows = entries.map(({ contender, runs, memory, verdict }) => ({
    name: contender.name,
    variant: contender.variant,
    kind: contender.kind,
    ...verdict,
    wallMs: median(runs.map((r) => r.wallMs)),
    cpuMs: median(runs.map((r) => r.cpuMs)),
    processKiB: memory?.processKiB ?? 0,
    treeKiB: memory?.treeKiB ?? 0,
    runs,
  }));
  const best = Math.min(...rows.filter((r) => r.kind === 'peer' && r.complete).map((r) => r.wallMs));
  return rows.map((row) => ({ ...row, ratio: Number.isFinite(best) && row.complete ? row.wallMs / best : null }));
}

/** Every contender pulls all images, in turn, for some rounds. */
export async function comparePulls(options: PullOptions): Promise<Row[]> {
  emptyPageCache();
  const entries = await chooseVariants(entriesOf(options), options);
  for (let round = 1; round <= options.rounds; round++) {
    const told: string[] = [];
    const first = round % entries.length; // nobody is always the first
    for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
      if (options.mode === 'fresh') await drop(entry);
      entry.runs.push(await runOnce(entry, 'time'));
      if (options.mode === 'fresh') await drop(entry);
      told.push(`${entry.contender.name} ${seconds(entry.runs.at(-1)?.wallMs ?? 0)} s`);
    }
    options.say(`round ${round}: ${told.join(', ')}`);
  }
  for (const entry of entries) await drop(entry);
  return rowsOf(entries);
}

const spread = (runs: readonly Measured[]): string => {
  const walls = runs.map((r) => r.wallMs);
  return `${seconds(Math.min(...walls))}-${seconds(Math.max(...walls))}`;
};

export function describeRows(rows: readonly Row[], bytes: number): string {
  const head = ['', 'wall s', 'from-to', 'x best peer', 'CPU s', 'peak MiB', 'tree MiB', 'MB/s', 'how'];
  const body = rows.map((r) => [
    r.name,
    seconds(r.wallMs),
    spread(r.runs),
    r.ratio?.toFixed(2) ?? '-',
    seconds(r.cpuMs),
    mebibytes(r.processKiB),
    mebibytes(r.treeKiB),
    bytes > 0 && r.complete ? (bytes / 1000 / r.wallMs).toFixed(0) : '-',
    `${r.variant}${r.complete ? '' : '; INCOMPLETE'}${r.note === '' ? '' : `; ${r.note}`}`,
  ]);
  return table(head, body);
}
