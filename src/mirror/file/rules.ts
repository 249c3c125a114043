/** From an entry of `sync` to a rule: defaults are filled in, templates expanded, names checked. */
import type { Path } from './document.ts';
import type { EntryReader } from './entry.ts';
import type { DefaultsInput, SyncInput } from './schema.ts';
import type { BackupRef, MirrorRule, TagRules, TagSet } from './types.ts';
import { durationMs, readSchedule } from './values.ts';

/** regsync looks no more often than this, so as not to spend the limit on looking. */
const LEAST_RETRY_MS = 5 * 60_000;
const GRACE_DAYS = 7;

/** What a backup template can ask for; an example, so that mistakes are found before anything is overwritten. */
const EXAMPLE: BackupRef = {
  Scheme: 'reg',
  Registry: 'registry.example.com',
  Repository: 'team/app',
  Tag: 'v1',
  Digest: `sha256:${'0'.repeat(64)}`,
};

const reference = ({ Registry, Repository, Tag, Digest }: BackupRef): string =>
  `${Registry}/${Repository}${Tag === '' ? '' : `:${Tag}`}${Digest === '' ? '' : `@${Digest}`}`;

/** What is not said is undefined, so that `??` finds the default. */
const firstOf = <K extends keyof SyncInput & keyof DefaultsInput>(
  key: K,
  sync: SyncInput,
  defaults: DefaultsInput,
): SyncInput[K] | DefaultsInput[K] => sync[key] ?? defaults[key];

const setOf = ({ semverRange = [], allow = [], deny = [] }: NonNullable<SyncInput['tags']>): TagSet => ({
  // An empty range is skipped by regsync.
  semverRange: semverRange.filter((text) => text.trim() !== ''),
  allow,
  deny,
});

function tagRules({ tags = {}, tagSets = [] }: SyncInput): TagRules {
  const { latest, sort = 'semver', minTags, immutable = [] } = tags;
  return {
    ...setOf(tags),
    ...(tagSets.length === 0 ? {} : { sets: tagSets.map(setOf) }),
    latest,
    sort,
    minTags,
    immutable: typeof immutable === 'string' ? [immutable] : immutable,
  };
}

/** An entry that says when it runs takes nothing of that from the defaults. */
function timing(sync: SyncInput, defaults: DefaultsInput): Pick<MirrorRule, 'schedule' | 'intervalMs'> {
  const { schedule, interval } = sync.schedule === undefined && sync.interval === undefined ? defaults : sync;
  const parsed = schedule === undefined ? { everyMs: durationMs(interval ?? '0') ?? 0 } : readSchedule(schedule);
  return 'cron' in parsed
    ? { schedule: parsed.cron, intervalMs: undefined }
    : { schedule: undefined, intervalMs: parsed.everyMs === 0 ? undefined : parsed.everyMs };
}

function rateLimit(sync: SyncInput, defaults: DefaultsInput): MirrorRule['rateLimit'] {
  const min = sync.ratelimit?.min ?? defaults.ratelimit?.min ?? 0;
  const retry = sync.ratelimit?.retry ?? defaults.ratelimit?.retry ?? '0';
  return min === 0 ? undefined : { min, retryMs: Math.max(LEAST_RETRY_MS, durationMs(retry) ?? 0) };
}

function platformsOf(sync: SyncInput, defaults: DefaultsInput): Pick<MirrorRule, 'platforms' | 'index'> {
  // regsync's `platform` copies the manifest of one platform in place of the index.
  if (sync.platform !== undefined) return { platforms: [sync.platform], index: sync.index ?? 'strip' };
  return {
    platforms: firstOf('platforms', sync, defaults) ?? [],
    index: firstOf('index', sync, defaults) ?? 'sparse',
  };
}

interface Names {
  readonly source: string;
  readonly targets: readonly string[];
  /** What templates see as `.Sync`. */
  readonly data: Readonly<Record<string, string>>;
}

/** Source and targets with their templates expanded; undefined when one of them cannot be used. */
function namesOf(reader: EntryReader, sync: SyncInput, path: Path): Names | undefined {
  if (sync.target !== undefined && sync.targets !== undefined) {
    return reader.fail([...path, 'targets'], 'target and targets are both there; leave out one of them');
  }
  if (sync.target === undefined && sync.targets === undefined) {
    return reader.fail(path, 'target is missing: where to copy to');
  }
  const fields = {
    Type: sync.type,
    Schedule: sync.schedule ?? '',
    Interval: sync.interval ?? '',
    Backup: sync.backup ?? '',
  };
  const given = (sync.targets ?? [sync.target ?? '']).map((text, i) => ({
    text,
    at: sync.targets === undefined ? [...path, 'target'] : [...path, 'targets', i],
  }));
  const before = { ...fields, Source: sync.source, Target: given[0]?.text ?? '' };
  const source = named(reader, sync.source, [...path, 'source'], sync.type, 'source', { Sync: before });
  const after = { ...before, Source: source ?? sync.source };
  const targets = given.map(({ text, at }) => named(reader, text, at, sync.type, 'target', { Sync: after }));
  const good = targets.filter((target) => target !== undefined);
  if (source === undefined || good.length < targets.length) return undefined;
  return { source, targets: good, data: { ...after, Target: good[0] ?? '' } };
}

function named(
  reader: EntryReader,
  text: string,
  path: Path,
  type: MirrorRule['type'],
  role: 'source' | 'target',
  data: { readonly Sync: Readonly<Record<string, string>> },
): string | undefined {
  const name = reader.expand(text, path, data);
  if (name === undefined) return undefined;
  switch (type) {
    case 'image':
      return reader.isImage(name, path) ? name : undefined;
    case 'repository':
      return reader.isRepository(name, path) ? name : undefined;
    case 'registry':
      return reader.registry(name, path, role === 'target') === undefined ? undefined : name;
  }
}

function backupOf(
  reader: EntryReader,
  sync: SyncInput,
  defaults: DefaultsInput,
  path: Path,
  data: Names['data'],
): Pick<MirrorRule, 'backup' | 'backupTemplate'> {
  const text = firstOf('backup', sync, defaults);
  if (text === undefined || text === '') return { backup: undefined };
  const at = sync.backup === undefined ? ['defaults', 'backup'] : [...path, 'backup'];
  const template = reader.template(text, at);
  const dataOf = (ref: BackupRef) => ({ Ref: { ...ref, Reference: reference(ref) }, Sync: data });
  if (template === undefined || !reader.works(template, at, dataOf(EXAMPLE))) return { backup: undefined };
  return { backup: (ref) => template.expand(dataOf(ref)).trim(), backupTemplate: text };
}

function artifactsOf(sync: SyncInput, defaults: DefaultsInput): MirrorRule['artifacts'] {
  const { include = [], exclude = [], require = [] } = firstOf('artifacts', sync, defaults) ?? {};
  return { include, exclude, require };
}

function referrersOf(
  reader: EntryReader,
  sync: SyncInput,
  defaults: DefaultsInput,
  path: Path,
): Pick<MirrorRule, 'referrers' | 'referrerFilters' | 'referrerSource' | 'referrerTarget'> {
  const place = (key: 'referrerSource' | 'referrerTarget'): string | undefined => {
    const text = firstOf(key, sync, defaults);
    if (text === undefined || text === '') return undefined;
    const at = sync[key] === undefined ? ['defaults', key] : [...path, key];
    const name = reader.expand(text, at);
    return name !== undefined && reader.isImage(name, at) ? name : undefined;
  };
  const filters = firstOf('referrerFilters', sync, defaults) ?? [];
  return {
    referrers: firstOf('referrers', sync, defaults) ?? true,
    referrerFilters: filters.map(({ artifactType, annotations = {} }) => ({
      artifactType: artifactType === '' ? undefined : artifactType,
      annotations,
    })),
    referrerSource: place('referrerSource'),
    referrerTarget: place('referrerTarget'),
  };
}

/** What is said and can have no effect is probably not what was meant. */
function warnings(reader: EntryReader, sync: SyncInput, path: Path): void {
  if (sync.type === 'image') {
    for (const key of ['tags', 'tagSets'] as const) {
      if (sync[key] !== undefined) reader.warn([...path, key], 'it has no effect on an image; its tag is in source');
    }
  }
  if (sync.type !== 'registry' && sync.repos !== undefined) {
    reader.warn([...path, 'repos'], 'it has an effect only with type: registry');
  }
}

/** Undefined, and problems, for an entry that cannot be used. */
export function ruleOf(
  reader: EntryReader,
  sync: SyncInput,
  defaults: DefaultsInput,
  index: number,
): MirrorRule | undefined {
  const path = ['sync', index];
  warnings(reader, sync, path);
  if (sync.platform !== undefined && sync.platforms !== undefined) {
    reader.fail([...path, 'platform'], 'platform and platforms are both there; leave out platform');
  }
  const names = namesOf(reader, sync, path);
  const backup = backupOf(reader, sync, defaults, path, names?.data ?? {});
  const referrers = referrersOf(reader, sync, defaults, path);
  if (names === undefined) return undefined;
  const prune = { ...defaults.prune, ...sync.prune };
  return {
    id: `sync.${index}`,
    place: reader.document.place(path),
    type: sync.type,
    source: names.source,
    targets: names.targets,
    tags: tagRules(sync),
    repos: { allow: sync.repos?.allow ?? [], deny: sync.repos?.deny ?? [] },
    ...platformsOf(sync, defaults),
    mediaTypes: firstOf('mediaTypes', sync, defaults) ?? [],
    ...referrers,
    digestTags: firstOf('digestTags', sync, defaults) ?? true,
    artifacts: artifactsOf(sync, defaults),
    fastCheck: firstOf('fastCheck', sync, defaults) ?? false,
    forceRecursive: firstOf('forceRecursive', sync, defaults) ?? false,
    includeExternal: firstOf('includeExternal', sync, defaults) ?? false,
    ...timing(sync, defaults),
    rateLimit: rateLimit(sync, defaults),
    ...backup,
    prune: { mode: prune.mode ?? 'off', graceDays: prune.graceDays ?? GRACE_DAYS },
  };
}
