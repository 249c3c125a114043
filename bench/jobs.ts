import { contenders, type ContenderName } from './contenders.ts';
import { serveCorpus, type CorpusPlan } from './corpus.ts';
import { openMirrorTarget } from './mirror.ts';
import { largePlan, pullPlan, type LargeSizes } from './plans.ts';
import { comparePulls, describeRows, type PullOptions, type Row } from './pull.ts';
import { serveJob } from './serve.ts';
import { describeStart, measureStart } from './start.ts';

export interface JobOptions {
  readonly cache: string;
  readonly workspace: string;
  readonly bin: string;
  readonly rounds: number;
  readonly only: readonly ContenderName[];
  readonly sizes: LargeSizes;
  /** Progress, for people: stderr. */
  readonly say: (line: string) => void;
}

export interface JobResult {
  /** For people: stdout. */
  readonly text: string;
  readonly data: unknown;
  /** Nothing of gantry's failed or was incomplete. */
  readonly ok: boolean;
  /** Whether peers were compared, so that the result says nothing if one is missing. */
  readonly compares: boolean;
}

export const CONTENDER_NAMES: ReadonlySet<string> = new Set(contenders('', 1).map((c) => c.name));

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

const allGood = (rows: readonly Row[]): boolean => rows.every((r) => r.kind !== 'gantry' || r.complete);

const serve = (options: JobOptions, plan: CorpusPlan): ReturnType<typeof serveCorpus> =>
  serveCorpus(options.cache, plan, `${options.workspace}/registry`, options.say);

async function corpusJob(options: JobOptions): Promise<JobResult> {
  const { corpus, registry } = await serve(options, pullPlan());
  await registry[Symbol.asyncDispose]();
  const { bytes, tarBytes, images, blobs, digest } = corpus;
  const text = `corpus: ${images.length} images, ${blobs.length} blobs, ${mb(bytes)} (${mb(tarBytes)} of tar), ${digest}`;
  return {
    text,
    data: { bytes, tarBytes, images: images.length, blobs: blobs.length, digest },
    ok: true,
    compares: false,
  };
}

async function pullJob(options: JobOptions, mode: PullOptions['mode']): Promise<JobResult> {
  const { corpus, registry } = await serve(options, pullPlan());
  await using running = registry;
  const { images, bytes, digest } = corpus;
  const rows = await comparePulls({ ...options, host: running.host, corpus, images, mode });
  const what = mode === 'fresh' ? 'into one new layout' : 'again, all is there';
  const title = `pull of ${images.length} tags, ${mb(bytes)} of distinct blobs, ${what}; medians of ${options.rounds}`;
  const text = `${title}\n\n${describeRows(rows, mode === 'fresh' ? bytes : 0)}`;
  return { text, data: { corpus: { digest, bytes, images: images.length }, rows }, ok: allGood(rows), compares: true };
}

/** From one docker-registry into another. */
async function mirrorJob(options: JobOptions, mode: PullOptions['mode']): Promise<JobResult> {
  const { corpus, registry } = await serve(options, pullPlan());
  await using source = registry;
  const { images, bytes, digest } = corpus;
  await using destination = await openMirrorTarget(options.bin, `${options.workspace}/target`, corpus);
  const rows = await comparePulls({ ...options, host: source.host, corpus, images, mode, destination });
  const what = mode === 'fresh' ? 'into an empty registry' : 'again, all is there';
  const title = `mirror of ${images.length} tags, ${mb(bytes)} of distinct blobs, ${what}; medians of ${options.rounds}`;
  const text = `${title}\n\n${describeRows(rows, mode === 'fresh' ? bytes : 0)}`;
  return { text, data: { corpus: { digest, bytes, images: images.length }, rows }, ok: allGood(rows), compares: true };
}

/** Memory: the peaks should depend neither on the size of a blob nor on how many come at once. */
async function largeJob(options: JobOptions): Promise<JobResult> {
  const { corpus, registry } = await serve(options, largePlan(options.sizes));
  await using running = registry;
  const parts: string[] = [];
  const results: { image: string; bytes: number; rows: Row[] }[] = [];
  for (const image of corpus.images) {
    options.say(`${image.repository}:`);
    const rows = await comparePulls({ ...options, host: running.host, corpus, images: [image], mode: 'fresh' });
    const bytes = corpus.blobs.filter((b) => image.blobs.includes(b.digest)).reduce((sum, b) => sum + b.size, 0);
    results.push({ image: image.repository, bytes, rows });
    const layers = image.blobs.length - 1;
    parts.push(`pull of ${layers} layer${layers === 1 ? '' : 's'}, ${mb(bytes)}\n\n${describeRows(rows, bytes)}`);
  }
  return { text: parts.join('\n\n'), data: { results }, ok: results.every((r) => allGood(r.rows)), compares: true };
}

async function startJob(options: JobOptions): Promise<JobResult> {
  const { corpus, registry } = await serve(options, pullPlan());
  await using running = registry;
  const [image] = corpus.images;
  if (!image) throw new Error('the corpus is empty');
  const reference = `${running.host}/${image.repository}:${image.tag}`;
  const rows = await measureStart({ ...options, reference });
  const text = `start-up, medians of ${options.rounds}\n\n${describeStart(rows)}`;
  return { text, data: { rows }, ok: rows.every((r) => r.failure === undefined), compares: false };
}

export interface Job {
  readonly about: string;
  readonly rounds: number;
  run(options: JobOptions): Promise<JobResult>;
}

export const JOBS: Readonly<Record<string, Job>> = {
  pull: { about: 'pull 72 tags into one new OCI layout', rounds: 3, run: (o) => pullJob(o, 'fresh') },
  noop: { about: 'pull them again into a layout that has everything', rounds: 3, run: (o) => pullJob(o, 'again') },
  mirror: { about: 'mirror 72 tags into an empty registry', rounds: 3, run: (o) => mirrorJob(o, 'fresh') },
  'mirror-noop': { about: 'mirror them again, nothing to do', rounds: 5, run: (o) => mirrorJob(o, 'again') },
  large: { about: 'memory: one large layer, and many at once', rounds: 1, run: largeJob },
  start: { about: 'start-up time of gantry, from the checkout and as installed', rounds: 20, run: startJob },
  serve: { about: 'a store as a registry beside docker-registry, to the same clients', rounds: 5, run: serveJob },
  corpus: { about: 'only build and check the images that pull, noop and start use', rounds: 1, run: corpusJob },
};
