/** What `copy` and `push` share: options, progress, results. */
import type { Command, OptionValues } from '@commander-js/extra-typings';
import type { Archives } from '../archive/archives.ts';
import { tallyOfRun } from '../app/batch/summary.ts';
import { type CopyPair, copyImages } from '../app/copy.ts';
import { KnownPlaces } from '../app/known-places.ts';
import { GantryError } from '../errors.ts';
import { formatSelection, selectedPlatforms } from '../handlers/copy-selection.ts';
import { formatPlatform, hostPlatform, parseMatcher } from '../oci/platform.ts';
import type { Resolver } from '../remote/ports.ts';
import type { Batch } from './batch.ts';
import { type BatchFlags, withBatchOptions } from './batch-options.ts';
import { type Cli, configOf } from './cli.ts';
import {
  formatOption,
  parseCount,
  progressOption,
  quietOption,
  type RegistryFlags,
  verboseOption,
  withRegistryOptions,
} from './options.ts';
import type { Format } from './output.ts';
import { openProgress } from './progress/progress.ts';
import { endWith, exitCodeOfRun, printResults } from './run-result.ts';

/** More than a registry is asked for at a time: a node that waits for an answer of one side keeps no connection to the other. */
const DEFAULT_CONCURRENCY = 32;

export interface CopyFlags extends RegistryFlags, BatchFlags {
  readonly platform?: string | undefined;
  readonly allPlatforms?: true | undefined;
  readonly concurrency: number;
  readonly format: Format;
  /** Of `copy` alone, as are the next two: a store has nothing of the kind. */
  readonly referrers?: true | undefined;
  readonly digestTags?: true | undefined;
  readonly fastCheck?: true | undefined;
}

export function withCopyOptions<Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) {
  return withBatchOptions(
    withRegistryOptions(
      command
        .option(
          '--platform <list>',
          'platforms with commas between them (default: linux on the architecture of this machine)',
        )
        .option('-a, --all-platforms', 'all platforms, and what comes with them: the index as it is')
        .option('--concurrency <n>', 'nodes handled at a time', parseCount(1), DEFAULT_CONCURRENCY)
        .addOption(formatOption())
        .addOption(progressOption())
        .addOption(quietOption('no progress; print TARGET@DIGEST for each image'))
        .addOption(verboseOption()),
    ),
  );
}

export function selectionOf(flags: CopyFlags): string {
  const { platform, allPlatforms, referrers = false, digestTags = false, fastCheck = false } = flags;
  const attached = { referrers, digestTags, fastCheck };
  if (platform !== undefined && allPlatforms === true) {
    throw new GantryError('USAGE', 'say --platform or --all-platforms, not both', { origin: 'user' });
  }
  if (allPlatforms === true) return formatSelection({ attached });
  const { text } = parseMatcher(platform ?? formatPlatform(hostPlatform()));
  return formatSelection({ ...selectedPlatforms(text), attached });
}

/** Copies in this process, shows how it goes, prints the results and sets the exit code. */
export async function copyHere(
  cli: Cli,
  resolver: Resolver,
  pairs: readonly CopyPair[],
  flags: CopyFlags,
  { batch, archives }: { readonly batch: Batch; readonly archives?: Pick<Archives, 'commit'> },
): Promise<boolean> {
  const quiet = flags.quiet ?? false;
  const request = { pairs, selection: selectionOf(flags), concurrency: flags.concurrency };
  const progress = openProgress(cli, quiet ? 'quiet' : flags.progress, pairs.length);
  const onEvent = progress.onEvent.bind(progress);
  const commit = archives?.commit.bind(archives);
  await using places = new KnownPlaces(configOf(cli, {}));
  const opts = { signal: cli.signal, onEvent, places, ...(commit === undefined ? {} : { commit }) };
  const result = await copyImages(resolver, request, opts).finally(() => {
    progress[Symbol.dispose]();
  });
  await batch.ended({ ...tallyOfRun(result.images), exitCode: exitCodeOfRun(result), isCounted: true });
  await printResults(cli, result, { format: flags.format, quiet });
  endWith(cli, result);
  return result.images.every(({ state }) => state === 'done');
}
