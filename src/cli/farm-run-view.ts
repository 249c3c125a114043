/** How runs are shown: a row of the list, all of one run, and its failures in groups. */
import { type FailureGroup, FailureGroups } from '../flow/failure-groups.ts';
import type { ErrorRecord, ImageRecord, RunStatus, WaitReasons } from '../flow/farm-status.ts';
import { ageText, isoOf, oneLine } from './farm-text.ts';
import type { View } from './output.ts';
import { errorJson } from './run-result.ts';
import { bytesText, durationText, tableText } from './units.ts';

export const runView: View<RunStatus> = {
  header: ['RUN', 'STATE', 'DONE', 'FAILED', 'TOTAL', 'AGE', 'TOOK'],
  row: ({ id, state, images, createdAt, endedAt }) => [
    id,
    state,
    String(images.done),
    String(images.failed),
    String(images.total),
    ageText(createdAt),
    endedAt === undefined ? '-' : durationText(endedAt - createdAt),
  ],
  json: ({ createdAt, endedAt, etaMs, ...run }) => ({
    ...run,
    etaMs: etaMs ?? null,
    createdAt: isoOf(createdAt),
    endedAt: endedAt === undefined ? null : isoOf(endedAt),
  }),
};

/** The largest group first. Keeps no more than its examples, however many images there are. */
export async function failureGroups(images: AsyncIterable<ImageRecord>): Promise<FailureGroup[]> {
  const groups = new FailureGroups();
  for await (const { name, error } of images) if (error !== undefined) groups.add(name, error);
  return groups.list();
}

export const runJson = (run: RunStatus, waiting: WaitReasons, failures: readonly FailureGroup[]) => ({
  ...runView.json(run),
  waiting,
  failures: failures.map(({ code, origin, count, examples }) => ({
    code,
    origin,
    count,
    examples: examples.map(({ name, error: { digest, host, message } }) => ({ name, digest, host, message })),
  })),
});

export function runText(run: RunStatus, waiting: WaitReasons, failures: readonly FailureGroup[]): string {
  const { id, state, images, nodes, bytes, bytesPerSecond, etaMs, labels, createdAt, endedAt } = run;
  const times =
    endedAt === undefined
      ? `for ${ageText(createdAt)}`
      : `after ${durationText(endedAt - createdAt)}, ${ageText(endedAt)} ago`;
  const lines = [
    ['run', id],
    ['state', `${state} ${times}`],
    ['images', countsText(images.done, images.total, [images.failed, 'failed'], [images.cancelled, 'cancelled'])],
    ['nodes', countsText(nodes.done, nodes.known, [nodes.failed, 'failed'], [nodes.skipped, 'skipped'])],
    ['bytes', `${bytesText(bytes)} (${bytesText(bytesPerSecond)}/s)`],
    ...(etaMs === undefined ? [] : [['left', `about ${durationText(etaMs)}, going by the images so far`]]),
    ...Object.entries(labels).map(([name, value]) => [name, value]),
    ...waiting.map((reason, i) => [i === 0 ? 'waits' : '', reason]),
  ];
  return [tableText(lines), ...failures.map(groupText)].join('\n');
}

function countsText(done: number, of: number, ...more: readonly (readonly [number, string])[]): string {
  const others = more.filter(([count]) => count > 0).map(([count, what]) => `, ${count} ${what}`);
  return `${done} of ${of} done${others.join('')}`;
}

function groupText({ code, origin, count, examples }: FailureGroup): string {
  const lines = examples.map(({ name, error }) => `  ${failureLine(name, error)}\n`);
  const rest = count > examples.length ? [`  and ${count - examples.length} more\n`] : [];
  return [`${count} ${code} (${origin})\n`, ...lines, ...rest].join('');
}

/** What no message names already is put before it. */
function failureLine(name: string, { digest, host, message }: ErrorRecord): string {
  const parts = [digest, host].filter((part) => part !== undefined && !message.includes(part));
  return [name, ...parts, oneLine(message)].join(': ');
}

/** How an image of a run ended. */
export const imageView: View<ImageRecord> = {
  header: ['IMAGE', 'CODE', 'ORIGIN', 'MESSAGE'],
  row: ({ name, error }) => [name, error?.code ?? '-', error?.origin ?? '-', oneLine(error?.message ?? '')],
  json: ({ name, state, digest, mediaType, error, endedAt }) => ({
    name,
    state,
    ...(digest === undefined ? {} : { digest }),
    ...(mediaType === undefined ? {} : { mediaType }),
    ...(error === undefined ? {} : { error: errorJson(error) }),
    endedAt: isoOf(endedAt),
  }),
};
