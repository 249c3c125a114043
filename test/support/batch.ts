import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { RunResult } from './process.ts';

/** The line that tells of a run: documented in docs/json.md. */
export interface SummaryLine {
  readonly kind: string;
  readonly time: string;
  readonly started: string;
  readonly command: string;
  readonly job: string;
  readonly run?: string;
  readonly version: string;
  readonly state: string;
  readonly exitCode: number;
  readonly images: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly mounted: number;
  readonly requests?: Readonly<Record<string, number>>;
  readonly durationMs: number;
  readonly bytesPerSecond: number;
  readonly error?: Readonly<Record<string, string>>;
}

/** The lines of a file that --summary has written; none where there is no file. */
export async function summariesIn(path: string): Promise<SummaryLine[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): SummaryLine => JSON.parse(line));
}

/** What --progress json has told in the end, of which there is one. */
export function summaryOn({ stderr }: Pick<RunResult, 'stderr'>): SummaryLine {
  const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
  assert.equal(lines.filter((line) => line.startsWith('{"kind":"summary"')).length, 1, stderr);
  const last: SummaryLine = JSON.parse(lines.at(-1) ?? '');
  assert.equal(last.kind, 'summary', 'it is the last of them');
  return last;
}

/** `2 done, 1 failed`, without what there is none of. */
export function countsOf({ images }: SummaryLine): string {
  const { total, ...counts } = images;
  const found = Object.entries(counts).filter(([, count]) => count > 0);
  assert.equal(
    found.reduce((sum, [, count]) => sum + count, 0),
    total,
  );
  return found.map(([outcome, count]) => `${count} ${outcome}`).join(', ');
}
