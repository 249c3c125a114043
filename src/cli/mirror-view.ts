/** A mirror run or check as people read it: a block for each rule, then totals. Failures are told apart from it, on stderr. */
import { type MirrorImage, OUTCOMES, type Outcome, targetName } from '../app/mirror/outcome.ts';
import type { RequestCount } from '../app/mirror/request-count.ts';
import { countOutcomes, type MirrorReport, type ReportRule, sum } from '../app/mirror/report.ts';
import { pruneLine } from '../mirror/prune/text.ts';
import type { PruneResult } from '../mirror/prune/types.ts';
import { bytesText, durationText } from './units.ts';

/** Lines of one kind in a block, unless all are wanted. */
const SHOWN = 20;
/** Tags that stand for all that a filter dropped. */
const EXAMPLES = 3;
/** What is worth a line of its own; the rest only with -v. */
const NEWS: ReadonlySet<Outcome> = new Set(['missing', 'changed', 'copied', 'moved']);
const OUTCOME_WIDTH = Math.max(...OUTCOMES.map(({ length }) => length));

export function reportText(report: MirrorReport, pruned: readonly PruneResult[], isVerbose: boolean): string {
  const byRule = Map.groupBy(report.images, ({ rule }) => rule);
  const blocks = report.rules.map((rule) =>
    ruleBlock(rule, byRule.get(rule.rule) ?? [], { isVerbose, whyDropped: isVerbose || report.kind === 'check' }),
  );
  return [...blocks, pruned.flatMap((each) => pruneLine(each) ?? []), closing(report)]
    .map((lines) => lines.map((line) => `${line}\n`).join(''))
    .join('');
}

interface Detail {
  readonly isVerbose: boolean;
  readonly whyDropped: boolean;
}

function ruleBlock(rule: ReportRule, images: readonly MirrorImage[], { isVerbose, whyDropped }: Detail): string[] {
  const [target = '', ...more] = rule.targets;
  const places = more.length === 0 ? target : `${target} and ${more.length} more`;
  const wanted = images.filter(({ outcome }) => outcome !== 'skipped');
  return [
    `${rule.rule}  ${rule.source} -> ${places}`,
    ...listLines(rule),
    ...imageLines(rule, wanted, isVerbose),
    ...(whyDropped ? droppedLines(images, isVerbose).map((line) => `  ${line}`) : []),
  ].map((line, i) => (i === 0 ? line : `  ${line}`));
}

/** `412 tags: semverRange leaves 96, latest 10` */
function listLines({ repositories, left, error }: ReportRule): string[] {
  const failed = [error, ...repositories.map((each) => each.error)].filter((each) => each !== undefined);
  // What exactly is told on stderr, once.
  const lines = [...Map.groupBy(failed, ({ code }) => code)].map(([code, of]) => notListed(code, of.length));
  const listed = repositories.filter((each) => each.listed !== undefined);
  const [only] = listed;
  if (listed.length > 1 || left > 0) {
    const repos = left === 0 ? '' : `, repos left out ${left}`;
    const tags = sum(listed, (each) => each.listed ?? 0);
    lines.unshift(`${counted(repositories.length, 'repository', 'repositories')}${repos}; ${counted(tags, 'tag')}`);
  } else if (only?.listed !== undefined) {
    const steps = (only.steps ?? []).map(({ filter, kept }, i) => `${filter}${i === 0 ? ' leaves' : ''} ${kept}`);
    lines.unshift(`${counted(only.listed, 'tag')}${steps.length === 0 ? '' : `: ${steps.join(', ')}`}`);
  }
  return lines;
}

const notListed = (code: string, count: number): string =>
  `${count === 1 ? 'failed' : `${count} repositories failed`}: ${code}`;

function imageLines(rule: ReportRule, images: readonly MirrorImage[], isVerbose: boolean): string[] {
  if (images.length === 0) return [];
  const several = rule.repositories.length > 1 || rule.targets.length > 1;
  const shown = images.filter(({ outcome }) => isVerbose || NEWS.has(outcome));
  const most = isVerbose ? shown.length : SHOWN;
  const bytes = sum(images, (image) => image.bytes ?? 0);
  const mounted = sum(images, (image) => image.mounted ?? 0);
  const moved = [
    ...(bytes === 0 ? [] : [bytesText(bytes)]),
    ...(mounted === 0 ? [] : [`${counted(mounted, 'blob')} mounted`]),
  ];
  const head = [`${counted(images.length, 'image')}: ${outcomesText(images)}`, ...moved].join(', ');
  const rest = shown.length > most ? [`  and ${shown.length - most} more (-v lists all)`] : [];
  return [head, ...shown.slice(0, most).map((image) => `  ${imageLine(image, several)}`), ...rest];
}

function imageLine(image: MirrorImage, withTarget: boolean): string {
  const { outcome, source, tag, was, digest, bytes = 0 } = image;
  const name = withTarget || tag === undefined ? targetName(image) : tag;
  const renamed = tag === undefined || withTarget || tagOf(image) === tag ? '' : ` (${source})`;
  const change = outcome === 'changed' && was !== undefined ? `  ${short(was)} -> ${short(digest ?? '')}` : '';
  return `${outcome.padEnd(OUTCOME_WIDTH)}  ${name}${renamed}${change}${bytes === 0 ? '' : `  ${bytesText(bytes)}`}`;
}

const short = (digest: string): string => digest.slice(0, digest.indexOf(':') + 13);

/** A run has them counted in its steps; who wants to know why asks with -v, or `mirror check`. */
function droppedLines(images: readonly MirrorImage[], isVerbose: boolean): string[] {
  const dropped = images.filter(({ outcome }) => outcome === 'skipped');
  return [...Map.groupBy(dropped, ({ filter = 'mediaTypes' }) => filter)].flatMap(([filter, all]) => {
    const reasons = new Set(all.map(({ why }) => why));
    if (isVerbose || all.length <= EXAMPLES) {
      return all.map((image) => `${'dropped'.padEnd(OUTCOME_WIDTH)}  ${tagOf(image)}  ${filter}: ${image.why ?? ''}`);
    }
    const [reason = ''] = reasons;
    const because = reasons.size === 1 ? ` (${reason})` : '';
    const examples = all
      .slice(0, EXAMPLES)
      .map((image) => `${tagOf(image)}${because === '' ? ` (${image.why ?? ''})` : ''}`);
    const head = `${'dropped'.padEnd(OUTCOME_WIDTH)}  ${counted(all.length, 'tag')} by ${filter}${because}`;
    return [`${head}, such as ${examples.join(', ')}; -v lists all`];
  });
}

/** Of a reference that may have a digest behind its tag. */
function tagOf({ source }: MirrorImage): string {
  const named = source.split('@', 1)[0] ?? source;
  return named.slice(named.lastIndexOf(':') + 1);
}

function closing({ kind, images, totals, started, ended, requests }: MirrorReport): string[] {
  const wanted = images.filter(({ outcome }) => outcome !== 'skipped');
  const took = durationText(new Date(ended).getTime() - new Date(started).getTime());
  const parts = [
    `${counted(wanted.length, 'image')}${wanted.length === 0 ? '' : `: ${outcomesText(wanted)}`}`,
    ...(totals.failures === 0 ? [] : [`${counted(totals.failures, 'source')} could not be listed`]),
    ...(kind === 'check' ? [] : [bytesText(totals.bytes)]),
    ...(totals.mounted === 0 ? [] : [`${counted(totals.mounted, 'blob')} mounted`]),
  ];
  return [`total: ${[...parts, took].join(', ')}`, ...requestLines(requests)];
}

/** `requests: docker.io 75 HEAD, 0 manifest GET, 1 list` */
export function requestLines(requests: readonly RequestCount[]): string[] {
  const texts = requests.map(({ registry, head, manifestGets, lists, other }) => {
    const more = [...(lists === 0 ? [] : [counted(lists, 'list')]), ...(other === 0 ? [] : [`${other} other`])];
    return `${registry} ${[`${head} HEAD`, `${manifestGets} manifest GET`, ...more].join(', ')}`;
  });
  return texts.length === 0 ? [] : [`requests: ${texts.join('; ')}`];
}

/** `2 missing, 7 equal`, in the order of OUTCOMES. */
const outcomesText = (images: readonly MirrorImage[]): string =>
  Object.entries(countOutcomes(images))
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', ');

export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
