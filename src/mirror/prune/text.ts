/** What pruning came to, for people and as JSON. */
import type { PrunedTag, PruneResult } from './types.ts';

/** More tags than these are only counted. */
const SHOWN = 20;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** `8 d`, `5 h`, of what took at least so long. */
const age = (ms: number): string =>
  ms >= DAY_MS ? `${Math.floor(ms / DAY_MS)} d` : ms >= HOUR_MS ? `${Math.floor(ms / HOUR_MS)} h` : 'less than 1 h';

/** Rounded up: nothing is deleted before. */
const until = (ms: number): string => (ms > DAY_MS ? `${Math.ceil(ms / DAY_MS)} d` : `${Math.ceil(ms / HOUR_MS)} h`);

function stateText({ state, dueInMs, error }: PrunedTag): string {
  switch (state) {
    case 'waiting':
      return `kept for another ${until(dueInMs ?? 0)}`;
    case 'due':
      return 'to be deleted';
    case 'changed':
      return 'kept: it was written since';
    case 'unsupported':
      return 'kept: the registry does not delete';
    case 'failed':
      return `not deleted: ${error?.message ?? ''}`;
    case 'reported':
    case 'deleted':
      return state;
  }
}

const tagText = (tag: PrunedTag): string => `${tag.tag} (gone ${age(tag.goneMs)}, ${stateText(tag)})`;

/** The most telling come first. */
const ORDER = ['failed', 'deleted', 'due', 'changed', 'unsupported', 'reported', 'waiting'];

/** One line for a repository; undefined when there is nothing to tell. */
export function pruneLine({ repository, tags, refused, error }: PruneResult): string | undefined {
  const parts: string[] = [];
  if (tags.length > 0) {
    const shown = tags.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)).slice(0, SHOWN);
    const more = tags.length > shown.length ? `, and ${tags.length - shown.length} more` : '';
    const noun = tags.length === 1 ? 'tag' : 'tags';
    parts.push(`${tags.length} ${noun} left the source: ${shown.map(tagText).join(', ')}${more}`);
  }
  if (refused !== undefined) parts.push(`nothing is deleted: ${refused}`);
  if (error !== undefined) parts.push(error.message);
  return parts.length === 0 ? undefined : `prune: ${repository}: ${parts.join('; ')}`;
}

/** The shape that docs/json.md describes. */
export const pruneJson = ({ repository, rules, tags, refused, error }: PruneResult) => ({
  repository,
  rules,
  tags: tags.map(({ tag, digest, state, goneMs, dueInMs, error: why }) => ({
    tag,
    digest,
    state,
    goneSeconds: Math.round(goneMs / 1000),
    ...(dueInMs === undefined ? {} : { dueInSeconds: Math.ceil(dueInMs / 1000) }),
    ...(why === undefined ? {} : { error: { code: why.code, message: why.message } }),
  })),
  ...(refused === undefined ? {} : { refused }),
  ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
});

/** Whether anything should have been done and was not. */
export const hasFailed = ({ tags, error }: PruneResult): boolean =>
  error !== undefined || tags.some(({ state }) => state === 'failed');
