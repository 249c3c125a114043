/** From the rules of a file, as they were expanded for a run, to target repositories and who claims them. */
import type { CallOptions } from '../../call.ts';
import { messageOf } from '../../errors.ts';
import { parseReference, parseRepository } from '../../oci/reference.ts';
import type { MirrorRule } from '../file/types.ts';
import type { PlannedRepository, PlannedRule } from '../plan/types.ts';
import { backupsOf } from './backups.ts';
import type { PruneClaim, PruneTarget, SourceTags } from './types.ts';

/** All tags of a repository. */
export type ListTags = (repository: string, opts: CallOptions) => Promise<readonly string[]>;

/**
 * The target repositories of rules that prune, each with all rules that share it. Lists of tags are those that the rules were expanded
 * with; only for a rule that names one image, and prunes, the source is asked here.
 */
export async function pruneTargets(
  planned: readonly PlannedRule[],
  list: ListTags,
  opts: CallOptions,
): Promise<PruneTarget[]> {
  const claims = new Map<string, PruneClaim[]>();
  const pruned = new Set<string>();
  const claim = (name: string, one: PruneClaim): void => {
    const repository = withLowerHost(name);
    claims.set(repository, [...(claims.get(repository) ?? []), one]);
    if (one.rule.prune.mode !== 'off') pruned.add(repository);
  };
  for (const { rule, repositories } of planned) {
    for (const repository of repositories) {
      if (rule.type === 'image') {
        const listed = await listOfImage(rule, repository.source, list, opts);
        for (const target of rule.targets) claimImage(rule, target, listed, claim);
        continue;
      }
      for (const target of repository.targets) {
        claim(target, { rule, source: repository.source, listed: listOf(repository) });
      }
    }
  }
  for (const each of planned) {
    const why = whyUnknown(each);
    if (why === undefined) continue;
    const { rule } = each;
    const unknown: PruneClaim = { rule, source: rule.source, listed: { unknown: why } };
    const own = new Set(each.repositories.flatMap(({ targets }) => targets.map(withLowerHost)));
    for (const repository of claims.keys()) {
      if (!own.has(repository) && isBelow(repository, rule)) claim(repository, unknown);
    }
  }
  keepBackups(claims, planned);
  const attachedTo = attachedElsewhere(planned);
  return [...pruned].map((repository) => ({
    repository,
    claims: claims.get(repository) ?? [],
    keepsDigestTags: attachedTo.has(repository),
  }));
}

/** A name of a host means the same in any case, and a registry must not count as two. */
const withLowerHost = (repository: string): string => repository.replace(/^[^/]+/, (host) => host.toLowerCase());

/** Why it is not known which repositories below its targets a rule writes to; undefined when it is. */
function whyUnknown({ rule, error }: PlannedRule): string | undefined {
  if (error !== undefined) return error.message;
  // One that the catalog does not have today, or that is filtered out, was written by it before, or will be.
  return rule.type === 'registry' ? 'it is not among the repositories that the rule has now' : undefined;
}

/** What a rule keeps of overwritten tags stays, in whichever repository it keeps it. */
function keepBackups(claims: Map<string, PruneClaim[]>, planned: readonly PlannedRule[]): void {
  for (const { rule, repositories } of planned) {
    if (rule.backup === undefined) continue;
    for (const target of new Set(repositories.flatMap(({ targets }) => targets))) {
      const backups = backupsOf(rule, target);
      if (backups === undefined) continue;
      const place = backups.repository === undefined ? undefined : withLowerHost(backups.repository);
      for (const [repository, all] of claims) {
        if (place !== undefined && place !== repository) continue;
        const own = all.map((one) => ({
          ...one,
          isBackup: (tag: string): boolean => one.isBackup?.(tag) === true || backups.is(tag),
        }));
        claims.set(repository, own);
      }
    }
  }
}

/** Repositories with signatures of images that are elsewhere, or have no tag: whether they are needed cannot be told from the tags there. */
function attachedElsewhere(planned: readonly PlannedRule[]): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { rule } of planned) {
    for (const place of [rule.referrerSource, rule.referrerTarget]) {
      if (place !== undefined) found.add(withLowerHost(parseReference(place).repository));
    }
    if (rule.type !== 'image') continue;
    for (const target of rule.targets.map((each) => parseReference(each))) {
      if (target.digest !== undefined) found.add(withLowerHost(target.repository));
    }
  }
  return found;
}

/** What one rule names stays as long as its source has the tag; the digest that a rule may name never leaves. */
function claimImage(
  rule: MirrorRule,
  target: string,
  listed: SourceTags,
  claim: (repository: string, one: PruneClaim) => void,
): void {
  const [source, { repository, tag }] = [parseReference(rule.source), parseReference(target)];
  if (tag === undefined) return;
  const sourceTag = source.digest === undefined ? (source.tag ?? tag) : tag;
  const stays = rule.prune.mode === 'off' || source.digest !== undefined;
  claim(repository, {
    rule,
    source: source.repository,
    listed: stays ? { tags: [sourceTag] } : listed,
    named: { sourceTag, tag },
  });
}

async function listOfImage(rule: MirrorRule, source: string, list: ListTags, opts: CallOptions): Promise<SourceTags> {
  if (rule.prune.mode === 'off') return { tags: [] };
  try {
    return { tags: await list(source, opts) };
  } catch (err) {
    opts.signal.throwIfAborted();
    return { unknown: messageOf(err) };
  }
}

/** The filters tell of each tag whether it was kept or dropped: together these are all that there were. */
function listOf({ selection, error }: PlannedRepository): SourceTags {
  if (selection === undefined) return { unknown: error?.message ?? 'they were not listed' };
  return { tags: [...selection.kept, ...selection.dropped.map(({ tag }) => tag)] };
}

const isBelow = (repository: string, { targets, type }: MirrorRule): boolean =>
  targets.some((target) => overlaps(repository, baseOf(target, type)));

/** Where a rule writes: a repository, or for a registry what all its repositories are below. */
function baseOf(target: string, type: MirrorRule['type']): string {
  if (type === 'image') return parseReference(target).repository;
  if (type === 'repository') return parseRepository(target).repository;
  return parseRepository(`${target}/x`).repository.slice(0, -'/x'.length);
}

const overlaps = (a: string, b: string): boolean => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);

/** The rules that may write to a repository that `rule` writes to, itself among them: who prunes for one has to know them all. */
export function rulesBeside(rule: MirrorRule, rules: readonly MirrorRule[]): MirrorRule[] {
  const bases = rule.targets.map((target) => baseOf(target, rule.type));
  return rules.filter((each) =>
    each.targets.some((target) => bases.some((base) => overlaps(base, baseOf(target, each.type)))),
  );
}
