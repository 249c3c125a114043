/** `mirror run`: copies what a mirror file asks for, in this process or on a farm. */
import { randomUUID } from 'node:crypto';
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { tallyOfReport } from '../app/batch/summary.ts';
import { KnownPlaces } from '../app/known-places.ts';
import { compareImages } from '../app/mirror/compare.ts';
import { HeadStart } from '../app/mirror/head-start.ts';
import type { MirrorImage } from '../app/mirror/outcome.ts';
import { reservesOf } from '../app/mirror/quota.ts';
import { inOrder, reportOf } from '../app/mirror/report.ts';
import type { RequestCounter } from '../app/mirror/request-count.ts';
import { copyItems, dispatchHere } from '../app/mirror/run.ts';
import { resolversOf } from '../app/wiring.ts';
import type { MirrorFile } from '../mirror/file/types.ts';
import type { RegistryClient } from '../registry/client.ts';
import { asBatch, type Batch } from './batch.ts';
import { type BatchFlags, jobOfFile, refuseBatches, withBatchOptions } from './batch-options.ts';
import { type Cli, configOf } from './cli.ts';
import { assertPlaces, endDetached, type EndFlags, endMirror, WOULD_CHANGE } from './mirror-end.ts';
import { type FarmRun, farmOfMirror, mirrorOnFarm, withMirrorFarmOptions } from './mirror-farm.ts';
import { allOption, DEFAULT_FILE, mirrorFileOption, openMirrored } from './mirror-options.ts';
import { memoryOf, pruneNow, stateOption } from './mirror-prune.ts';
import { type ToDo, type Work, type WorkFlags, workOf } from './mirror-work.ts';
import {
  formatOption,
  parseCount,
  progressOption,
  quietOption,
  type RegistryFlags,
  withRegistryOptions,
} from './options.ts';
import { openProgress } from './progress/progress.ts';

/** As for other copies. */
const DEFAULT_CONCURRENCY = 32;
/** What an image has in hand at a time: some blobs, or a manifest. */
const NODES_PER_IMAGE = 4;

export interface MirrorRunFlags extends RegistryFlags, WorkFlags, EndFlags, BatchFlags {
  readonly dryRun?: true | undefined;
  readonly state?: string | undefined;
  readonly concurrency?: number | undefined;
  readonly quiet?: true | undefined;
}

export const runCommand = (cli: Cli) =>
  withMirrorFarmOptions(withRunOptions(new Command('run')))
    .description('copy what the file asks for and the targets lack')
    .addHelpText(
      'after',
      `
An image that is as it should be costs two HEADs. What fails does not stop the rest: exits with 3 when some failed.

With --redis the workers of a farm copy, with the credentials that they have. Ctrl-C then cancels the run.`,
    )
    .action(async (flags, self: CommandUnknownOpts) => {
      if (flags.dryRun === true) refuseBatches(self);
      const farm = farmOfMirror(flags, self);
      await assertPlaces(flags);
      await asBatch(cli, 'mirror run', flags, (batch) => mirrorRun(cli, flags, farm, batch));
    });

async function mirrorRun(cli: Cli, flags: MirrorRunFlags, farm: FarmRun | undefined, batch: Batch): Promise<void> {
  batch.called(jobOfFile(flags.file ?? flags.plan ?? flags.retryFailed ?? DEFAULT_FILE));
  const work = await workOf(cli, flags);
  batch.called(jobOfFile(work.name));
  await using kept = await memoryOf(cli, flags);
  const counter = batch.requests;
  await using client = openMirrored(cli, flags, work.file, counter);
  const started = new Date();
  const isHere = farm === undefined && flags.dryRun !== true;
  const head = isHere ? new HeadStart(resolversOf(client), cli) : undefined;
  const toDo = await work.expand(client, head?.begin.bind(head));
  const { job, rules, planned } = toDo;
  const done = await carryOut(cli, flags, { work, toDo, client, farm, counter, head });
  if (done === undefined) {
    endDetached(cli, rules, job.settled);
    return;
  }
  const { run, kind } = done;
  const images = inOrder(rules, job, done.images);
  const isDryRun = kind === 'check';
  const pruned = await pruneNow(cli, { client, planned, rules, images, memory: kept.memory, isDryRun });
  const parts = { kind, run, started, file: work.name, rules, images, pruned, requests: counter.counts };
  const report = reportOf(parts);
  const onEnd = (exitCode: number): Promise<void> =>
    batch.ended({
      ...tallyOfReport(report),
      exitCode,
      run: farm === undefined || run === '' ? undefined : run,
      isCounted: true,
      metrics: async (before) => (await import('../app/mirror/report-metrics.ts')).metricsOfReport(report, before),
    });
  await endMirror(cli, report, pruned, flags, isDryRun ? undefined : onEnd);
  if (isDryRun && cli.exitCode === WOULD_CHANGE) cli.exitCode = 0;
}

const withRunOptions = (command: Command) =>
  withBatchOptions(
    withRegistryOptions(
      command
        .addOption(mirrorFileOption())
        .option('--plan <file>', 'do what this plan says, and nothing else')
        .option('--replan', 'with --plan: copy images whose tag has moved since as they are now')
        .option('--retry-failed <report>', 'only what failed or was cancelled, by the report of an earlier run')
        .option('--dry-run', 'only tell what would change, as `mirror check` does')
        .option(
          '--keep-going',
          'for those used to it from other tools: one image never stops another, with or without it',
        )
        .option('--report <file>', 'write what became of every image to this file, as JSON')
        .option(
          '--concurrency <n>',
          `nodes handled at a time (default: four for each image that \`parallel\` in the file allows, else ${DEFAULT_CONCURRENCY})`,
          parseCount(1),
        )
        .addOption(stateOption())
        .addOption(formatOption())
        .addOption(progressOption())
        .addOption(quietOption('print nothing but failures'))
        .addOption(allOption()),
    ),
  );

interface Parts {
  readonly work: Work;
  readonly toDo: ToDo;
  readonly client: RegistryClient;
  readonly farm: FarmRun | undefined;
  readonly counter: RequestCounter;
  /** Undefined where this process does not copy. */
  readonly head: HeadStart | undefined;
}

interface Done {
  readonly run: string;
  readonly kind: 'check' | 'run';
  readonly images: readonly MirrorImage[];
}

/** Undefined: a farm does it, and nobody waits. */
async function carryOut(cli: Cli, flags: MirrorRunFlags, parts: Parts): Promise<Done | undefined> {
  const { work, toDo, client, farm } = parts;
  const { items } = toDo.job;
  if (flags.dryRun === true) {
    return { run: randomUUID(), kind: 'check', images: await compareImages(resolversOf(client), items, cli) };
  }
  if (farm === undefined) return { run: randomUUID(), kind: 'run', images: await copyHere(cli, flags, parts) };
  if (reservesOf(items, work.file?.rules ?? []).size > 0) {
    cli.log(
      'gantry: ratelimit has no effect with --redis: `gantry lanes set` limits what all workers ask of a registry',
    );
  }
  const done = await mirrorOnFarm(cli, farm, items, { ...flags, name: work.name, rules: toDo.rules.length });
  return done === undefined ? undefined : { ...done, kind: 'run' };
}

async function copyHere(cli: Cli, flags: MirrorRunFlags, parts: Parts): Promise<readonly MirrorImage[]> {
  const { work, toDo, client, counter, head } = parts;
  const { items } = toDo.job;
  const concurrency = flags.concurrency ?? concurrencyOf(work.file);
  const quota = {
    reserves: reservesOf(items, work.file?.rules ?? []),
    remaining: (registry: string) => counter.remaining(registry),
    tell: (message: string) => cli.log(`gantry: ${message}`),
  };
  await using places = new KnownPlaces(configOf(cli, {}));
  for (const { repository, digests } of toDo.present ?? []) await places.add(repository, digests);
  const dispatch = dispatchHere(resolversOf(client), client, { concurrency, signal: cli.signal, quota, places, head });
  const mode = flags.quiet === true ? 'quiet' : flags.progress;
  using progress = openProgress(cli, mode, items.length, { onlyNews: !cli.verbose });
  const onEvent = progress.onEvent.bind(progress);
  return await copyItems(items, dispatch, { signal: cli.signal, onEvent });
}

const concurrencyOf = (file: MirrorFile | undefined): number =>
  file?.parallel === undefined ? DEFAULT_CONCURRENCY : file.parallel * NODES_PER_IMAGE;
