/** A mirror file as gantry understood it, as a mirror file: everything is said, nothing secret is. */
import { stringify } from 'yaml';
import type { MirrorCreds, MirrorFile, MirrorRule, TagRules } from './types.ts';
import { durationText } from './values.ts';
import { escapeVariables } from './variables.ts';

type Shown = Readonly<Record<string, unknown>>;

/** Without what is not said. */
function said(entries: Shown): Shown {
  return Object.fromEntries(
    Object.entries(entries).filter(
      ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0) && !isEmptyMap(value),
    ),
  );
}

const isEmptyMap = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
    ? Object.keys(value).length === 0
    : false;

function plain(value: unknown): unknown {
  if (typeof value === 'string') return escapeVariables(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function tagsOf({ sets: _sets, ...tags }: TagRules): Shown {
  const isSaid = tags.latest !== undefined;
  return said({ ...tags, sort: isSaid ? tags.sort : undefined });
}

function ruleOf(rule: MirrorRule): Shown {
  const { id: _id, place: _place, backup: _backup, backupTemplate, tags, targets, ...rest } = rule;
  const { intervalMs, rateLimit, artifacts, repos, source, type, ...as } = rest;
  return said({
    source,
    targets,
    type,
    tags: tagsOf(tags),
    tagSets: (tags.sets ?? []).map((set) => said({ ...set })),
    repos: said({ ...repos }),
    ...as,
    referrerFilters: as.referrerFilters.map((filter) => said({ ...filter })),
    artifacts: said({ ...artifacts }),
    interval: intervalMs === undefined ? undefined : durationText(intervalMs),
    ratelimit: rateLimit === undefined ? undefined : { min: rateLimit.min, retry: durationText(rateLimit.retryMs) },
    backup: backupTemplate,
  });
}

function credsOf(creds: MirrorCreds): Shown {
  const { place: _place, registry, pass, token, clientKey, clientCert, ...rest } = creds;
  return said({
    registry,
    ...rest,
    priority: rest.priority === 0 ? undefined : rest.priority,
    // The class prints itself as hidden.
    pass: pass?.toString(),
    token: token?.toString(),
    clientcert: clientCert,
    clientkey: clientKey?.toString(),
  });
}

/** What `gantry config print` shows. Read again it gives the same rules. */
export function printMirrorFile({ creds, rules, parallel, skipDockerConfig, userAgent }: MirrorFile): string {
  const defaults = said({ parallel, userAgent, skipDockerConfig: skipDockerConfig ? true : undefined });
  const file = said({ version: 1, creds: creds.map(credsOf), defaults, sync: rules.map(ruleOf) });
  return stringify(plain(file), { lineWidth: 0 });
}
