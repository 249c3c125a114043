/** Pruning after a run of a mirror file, or a look at what it would do. docs/prune.md has the rules. */
import type { CallOptions } from '../../call.ts';
import { GantryError, isCode } from '../../errors.ts';
import type { PlannedRule } from '../../mirror/plan/types.ts';
import { pruneTargets } from '../../mirror/prune/claims.ts';
import { prune, type PruneCallOptions } from '../../mirror/prune/prune.ts';
import type { PruneMemory, PrunePorts, PruneResult, PruneTarget } from '../../mirror/prune/types.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { parseRepository, withObject } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { TagRemover } from '../../registry/delete.ts';
import { fetchManifest } from '../remote-image.ts';

export interface PruneAfterRun {
  readonly client: RegistryClient;
  /** What the rules were expanded to for the run: all rules of the file that share a target, not only those that prune. */
  readonly planned: readonly PlannedRule[];
  /** Target repositories that do not have all images that they should: nothing is deleted there. */
  readonly unfinished: ReadonlySet<string>;
  /** Ids of the rules to prune for; undefined: all. */
  readonly onlyRules?: ReadonlySet<string>;
  /** Without one only `graceDays: 0` deletes. */
  readonly memory: PruneMemory | undefined;
  /** Only tells, as `gantry mirror check` does: nothing is deleted and nothing is remembered. */
  readonly isDryRun?: boolean;
}

/** What fails, or is refused, is told in the results. An abort rejects. */
export async function pruneAfterRun(run: PruneAfterRun, opts: PruneCallOptions): Promise<readonly PruneResult[]> {
  const { client, planned, unfinished, onlyRules, memory, isDryRun = false } = run;
  if (planned.every(({ rule }) => rule.prune.mode === 'off')) return [];
  const list = (repository: string, call: CallOptions): Promise<string[]> => allTags(client, repository, call);
  const targets = (await pruneTargets(planned, list, opts)).filter(
    ({ claims }) => onlyRules === undefined || claims.some(({ rule }) => onlyRules.has(rule.id)),
  );
  const isWhole = ({ repository }: PruneTarget): boolean => !unfinished.has(repository);
  const refused = targets.filter((target) => !isWhole(target)).map(refusal);
  for (const result of refused) opts.onResult?.(result);
  const results = await prune({ ports: portsOf(client), memory, isDryRun }, targets.filter(isWhole), opts);
  return [...refused, ...results];
}

const refusal = ({ repository, claims }: PruneTarget): PruneResult => ({
  repository,
  rules: claims.filter(({ rule }) => rule.prune.mode !== 'off').map(({ rule }) => rule.id),
  tags: [],
  refused: 'not all of its images were copied',
  error: undefined,
});

/** Why rules that delete will not; undefined when they may. */
export const memoryMissing = (planned: readonly PlannedRule[], memory: PruneMemory | undefined): string | undefined =>
  memory === undefined && planned.some(({ rule: { prune: it } }) => it.mode === 'delete' && it.graceDays > 0)
    ? 'prune: nothing is deleted without --state FILE or --redis: they remember since when a tag is gone'
    : undefined;

const allTags = (client: RegistryClient, repository: string, opts: CallOptions): Promise<string[]> =>
  collected(client.tags(repository, opts));

async function collected(pages: AsyncIterable<readonly string[]>): Promise<string[]> {
  const all: string[] = [];
  for await (const page of pages) for (const entry of page) all.push(entry);
  return all;
}

function portsOf(client: RegistryClient): PrunePorts {
  const remover = new TagRemover(client);
  return {
    tags: async (repository, opts) => {
      try {
        return await allTags(client, repository, opts);
      } catch (err) {
        if (isCode(err, 'NOT_FOUND')) return []; // nothing was ever written there
        throw err;
      }
    },
    sourceTags: (repository, opts) => collected(client.ownTags(repository, opts)),
    lookup: (repository, tag, opts) => client.pusher(repository).lookup(tag, opts),
    contents: (repository, tag, opts) => contentsOf(client, repository, tag, opts),
    remove: (repository, tag, opts) => remover.remove(repository, tag, opts),
  };
}

async function contentsOf(
  client: RegistryClient,
  repository: string,
  tag: string,
  opts: CallOptions,
): Promise<readonly Digest[]> {
  const ref = withObject(parseRepository(repository), tag);
  try {
    const { desc } = await client.resolve(ref, opts);
    return await digestsBelow(client, repository, desc, opts);
  } catch (err) {
    if (isCode(err, 'NOT_FOUND')) return []; // it was deleted since it was listed
    throw err;
  }
}

/** Bounded by the manifests that are distinct: an index may list others, and they the same. */
async function digestsBelow(
  client: RegistryClient,
  repository: string,
  root: Descriptor,
  opts: CallOptions,
): Promise<readonly Digest[]> {
  const found = new Set<Digest>([root.digest]);
  const open = [root];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (!isIndexType(next.mediaType)) continue;
    const { bytes } = await fetchManifest(client, withObject(parseRepository(repository), next.digest), opts);
    const manifest = parseManifest(bytes, next);
    for (const each of manifest.kind === 'index' ? manifest.manifests : []) {
      if (found.has(each.digest)) continue;
      if (found.size >= MAX_BELOW) {
        throw new GantryError('TOO_LARGE', `${root.digest} of ${repository} has more than ${MAX_BELOW} manifests`);
      }
      found.add(each.digest);
      open.push(each);
    }
  }
  return [...found];
}

const MAX_BELOW = 1_000;
