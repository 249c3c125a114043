/** What `pull` and `fetch` share: they differ in whether names are recorded. */
import type { Command, OptionValues } from '@commander-js/extra-typings';
import { tallyOfRun } from '../app/batch/summary.ts';
import { pull, type PullRequest } from '../app/pull.ts';
import { openRegistries, resolversOf } from '../app/wiring.ts';
import { GantryError } from '../errors.ts';
import { formatPlatform, hostPlatform, matchAll, type PlatformMatcher, parseMatcher } from '../oci/platform.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { asBatch, type Batch } from './batch.ts';
import { type BatchFlags, withBatchOptions } from './batch-options.ts';
import { type Cli, configOf, storeOf } from './cli.ts';
import { distinct } from './image-list.ts';
import {
  formatOption,
  parseCount,
  progressOption,
  quietOption,
  type RegistryFlags,
  registrySettings,
  storeOption,
  verboseOption,
  withRegistryOptions,
} from './options.ts';
import type { Format } from './output.ts';
import { openProgress } from './progress/progress.ts';
import { endWith, exitCodeOfRun, printResults } from './run-result.ts';

/** More than a registry is asked for at a time: a node that is being written to the disk keeps no connection. */
const DEFAULT_CONCURRENCY = 32;

export interface PullFlags extends RegistryFlags, BatchFlags {
  readonly platform?: string | undefined;
  readonly allPlatforms?: true | undefined;
  readonly concurrency: number;
  readonly store?: string | undefined;
  readonly format: Format;
}

export function withPullOptions<Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) {
  return withBatchOptions(
    withRegistryOptions(
      command
        .option(
          '--platform <list>',
          'platforms with commas between them (default: linux on the architecture of this machine)',
        )
        .option('-a, --all-platforms', 'all platforms, and what comes with them')
        .option('--concurrency <n>', 'nodes handled at a time', parseCount(1), DEFAULT_CONCURRENCY)
        .addOption(storeOption())
        .addOption(formatOption())
        .addOption(progressOption())
        .addOption(quietOption('no progress; print REPOSITORY@DIGEST for each image'))
        .addOption(verboseOption()),
    ),
  );
}

/** Fetches in this process what the texts name, and names nothing. */
export const fetchImages = (cli: Cli, texts: readonly string[], flags: PullFlags): Promise<void> =>
  asBatch(cli, 'fetch', flags, (batch) =>
    pullHere(cli, distinct(texts.map(parseReference)), flags, { named: false, batch }),
  );

/** Pulls in this process, shows how it goes, prints the results and sets the exit code. */
export async function pullHere(
  cli: Cli,
  refs: readonly Reference[],
  flags: PullFlags,
  { named, batch }: { readonly named: boolean; readonly batch: Batch },
): Promise<void> {
  const platforms = matcherOf(flags);
  const config = configOf(cli, flags);
  const store = await storeOf(cli, flags); // told before anything is asked of a registry
  await using client = openRegistries(config, {
    ...registrySettings(flags, config, cli),
    observer: batch.requests,
  });
  const request: PullRequest = { refs, platforms, concurrency: flags.concurrency, named };
  const quiet = flags.quiet ?? false;
  const progress = openProgress(cli, quiet ? 'quiet' : flags.progress, refs.length);
  const onEvent = progress.onEvent.bind(progress);
  const result = await pull({ store, resolver: resolversOf(client) }, request, { signal: cli.signal, onEvent }).finally(
    () => {
      progress[Symbol.dispose]();
    },
  );
  await batch.ended({ ...tallyOfRun(result.images), exitCode: exitCodeOfRun(result), isCounted: true });
  await printResults(cli, result, { format: flags.format, quiet });
  endWith(cli, result);
}

/** The platforms that the flags say. @throws GantryError USAGE, INVALID */
export function matcherOf({ platform, allPlatforms }: PullFlags): PlatformMatcher {
  if (platform !== undefined && allPlatforms === true) {
    throw new GantryError('USAGE', 'say --platform or --all-platforms, not both', { origin: 'user' });
  }
  return allPlatforms === true ? matchAll : parseMatcher(platform ?? formatPlatform(hostPlatform()));
}
