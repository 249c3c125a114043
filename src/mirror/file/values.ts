/** Values that are texts in the file and mean something: durations, schedules, and the judges of most. */
import { GantryError } from '../../errors.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { compileGlob, compilePattern } from '../tags/pattern.ts';
import { parseRange } from '../tags/range.ts';

/** Units of Go's durations, and days, in milliseconds. */
const UNITS: Readonly<Record<string, number>> = Object.fromEntries([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);
const DURATION = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g;

/** `90s`, `1h30m`, `7d`, in milliseconds; undefined for what is none. */
export function durationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (!new RegExp(`^(?:${DURATION.source})+$`).test(text)) return undefined;
  const parts = [...text.matchAll(DURATION)];
  return Math.round(parts.reduce((sum, [, number, unit = '']) => sum + Number(number) * (UNITS[unit] ?? 0), 0));
}

/** What durationMs reads: in the largest unit that gives a whole number. */
export function durationText(ms: number): string {
  const [unit, factor] = Object.entries(UNITS).findLast(([, each]) => each >= 1 && ms % each === 0) ?? ['ms', 1];
  return `${ms / factor}${unit}`;
}

export const judgeDuration = (text: string): string | undefined =>
  durationMs(text) === undefined ? 'expected a duration, such as 30s, 15m, 1h30m or 7d' : undefined;

const EVERY = /^@every\s+(\S+)$/;
/** What regsync calls by another name than BullMQ. */
const NAMES: Readonly<Record<string, string>> = { '@annually': '@yearly', '@midnight': '@daily' };
export const KNOWN_NAMES = ['@yearly', '@monthly', '@weekly', '@daily', '@hourly', ...Object.keys(NAMES)];

/** A schedule as BullMQ takes it, or for `@every 1h` the interval. */
export type Schedule = { readonly cron: string } | { readonly everyMs: number };

/**
 * What a schedule says. That its cron expression is one, schedule.ts tells: its parser brings a calendar, which takes longer to load than a small
 * file takes to read.
 * @throws GantryError INVALID
 */
export function readSchedule(text: string): Schedule {
  const trimmed = text.trim();
  const every = EVERY.exec(trimmed)?.[1];
  if (every === undefined) return { cron: NAMES[trimmed] ?? trimmed };
  const everyMs = durationMs(every);
  if (everyMs !== undefined && everyMs >= 1000) return { everyMs };
  throw invalidSchedule(`"${every}" is no duration of a second or more`);
}

export const invalidSchedule = (why: string): GantryError =>
  new GantryError('INVALID', `invalid schedule: ${why}`, { origin: 'user' });

/** From a parser that throws to what a schema can use: the first line of what it says. */
export const judgeBy =
  (parse: (text: string) => unknown) =>
  (text: string): string | undefined => {
    try {
      parse(text);
      return undefined;
    } catch (err) {
      if (!(err instanceof GantryError)) throw err;
      return `${err.message.split('\n')[0]}${err.hint === undefined ? '' : `; ${err.hint}`}`;
    }
  };

/** What is wrong with a text of a format, or undefined. Schedules are judged in schedule.ts. */
export const JUDGES = {
  duration: judgeDuration,
  pattern: judgeBy(compilePattern),
  glob: judgeBy(compileGlob),
  range: judgeBy(parseRange),
  platform: judgeBy((text) => parsePlatform(text)),
};
