import { Command } from '@commander-js/extra-typings';
import { type Archives, openArchives } from '../../archive/archives.ts';
import type { CopyPair } from '../../app/copy.ts';
import { onePair, pairsTo } from '../../app/copy-names.ts';
import { openRegistries, resolversOf } from '../../app/wiring.ts';
import { GantryError } from '../../errors.ts';
import { isArchive, isTarArchive } from '../../oci/location.ts';
import { asBatch } from '../batch.ts';
import { refuseBatches } from '../batch-options.ts';
import { type Cli, configOf } from '../cli.ts';
import { copyHere, withCopyOptions } from '../copying.ts';
import { showCopies } from '../dry-run.ts';
import { registrySettings } from '../options.ts';

export const command = (cli: Cli) =>
  withCopyOptions(new Command('copy').alias('cp'))
    .argument('<source>', 'an image, such as docker.io/library/redis:7')
    .argument('[target]', 'what it is to be called, such as registry:5000/mirror/redis:7')
    .argument('[more...]', 'with --to: more images')
    .option('--to <place>', 'copy all that is named to an archive, or below a repository, under the names it has')
    .option('--overwrite', 'replace an archive file that exists')
    .option('--referrers', 'and what refers to them: signatures, SBOMs, attestations')
    .option('--digest-tags', "and what has a tag made of their digests, as cosign's signatures have")
    .option('--fast-check', 'look for neither where the target has the image already')
    .option('-n, --dry-run', 'say what would be copied; nothing is written')
    .addHelpText(
      'after',
      `
Nothing is stored here on the way. What the target has already is not sent again, and what another repository of the same
registry has is mounted from there.

Archives are sources and targets, too: oci-archive:FILE[:NAME], oci:DIR[:NAME], docker-archive:FILE[:NAME].

Examples:
  gantry copy docker.io/library/redis:7 registry:5000/mirror/redis:7
  gantry copy -a ghcr.io/org/app:1 registry:5000/org/app:1
  gantry copy -a --referrers --digest-tags ghcr.io/org/app:1 registry:5000/org/app:1
  gantry copy -a --to oci-archive:images.tar redis:7 ghcr.io/org/app:1
  gantry copy -a --to registry:5000/mirror oci-archive:images.tar`,
    )
    .action(async (source, target, more, { to, overwrite = false, ...flags }, self) => {
      if (flags.dryRun === true) refuseBatches(self);
      await asBatch(cli, 'copy', flags, async (batch) => {
        await using archives = openArchives({ overwrite });
        const pairs = await pairsOf(cli, archives, [source, target ?? [], more].flat(), to);
        if (flags.referrers === true || flags.digestTags === true) refuseArchives(pairs);
        const config = configOf(cli, {});
        const settings = { ...registrySettings(flags, config, cli), observer: batch.requests };
        await using client = openRegistries(config, settings);
        const resolver = resolversOf(client).register(archives.entry);
        if (flags.dryRun === true) return await showCopies(cli, resolver, pairs, flags);
        const done = await copyHere(cli, resolver, pairs, flags, { batch, archives });
        const unwritten = new Set(pairs.map(({ target }) => target.repository).filter(isTarArchive));
        if (!done) for (const each of unwritten) cli.stderr.write(`gantry: ${each} was not written\n`);
      });
    });

/** @throws GantryError USAGE */
function refuseArchives(pairs: readonly CopyPair[]): void {
  const archive = pairs
    .flatMap(({ source, target }) => [source, target])
    .find(({ repository }) => isArchive(repository));
  if (archive === undefined) return;
  throw new GantryError('USAGE', `--referrers and --digest-tags: ${archive.repository} holds images alone`, {
    origin: 'user',
    hint: 'what is attached to images goes from one registry to another',
  });
}

/** @throws GantryError USAGE, INVALID */
async function pairsOf(
  cli: Cli,
  archives: Archives,
  texts: readonly string[],
  to: string | undefined,
): Promise<readonly CopyPair[]> {
  if (to !== undefined) return pairsTo(archives, texts, to, cli);
  const [source, target, ...more] = texts;
  if (source !== undefined && target !== undefined && more.length === 0) return [onePair(source, target)];
  throw new GantryError('USAGE', target === undefined ? "missing required argument 'target'" : 'too many arguments', {
    origin: 'user',
    hint: 'several images go to one place with --to',
  });
}
