/** Values that are texts in the file and mean something: durations, schedules, and the judges of these and others. */
import { CronExpressionParser } from 'cron-parser';
import { GantryError, messageOf } from '../../errors.ts';
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
const KNOWN_NAMES = ['@yearly', '@monthly', '@weekly', '@daily', '@hourly', ...Object.keys(NAMES)];

/** A schedule as BullMQ takes it, or for `@every 1h` the interval. */
export type Schedule = { readonly cron: string } | { readonly everyMs: number };

/** @throws GantryError INVALID */
export function parseSchedule(text: string): Schedule {
  const invalid = (why: string): GantryError =>
    new GantryError('INVALID', `invalid schedule: ${why}`, { origin: 'user' });
  const trimmed = text.trim();
  const every = EVERY.exec(trimmed)?.[1];
  if (every !== undefined) {
    const everyMs = durationMs(every);
    if (everyMs === undefined || everyMs < 1000) throw invalid(`"${every}" is no duration of a second or more`);
    return { everyMs };
  }
  if (trimmed.startsWith('@')) {
    if (!KNOWN_NAMES.includes(trimmed)) throw invalid(`there are ${KNOWN_NAMES.join(', ')} and "@every 1h"`);
    return { cron: NAMES[trimmed] ?? trimmed };
  }
  if (/^(?:CRON_)?TZ=/.test(trimmed)) throw invalid('it cannot name a time zone; set TZ for the process');
  const fields = trimmed.split(/\s+/);
  if (fields.length < 5 || fields.length > 6) {
    throw invalid(
      `cron has five fields, "minute hour day month weekday", or six with seconds in front; this has ${trimmed === '' ? 0 : fields.length}`,
    );
  }
  try {
    CronExpressionParser.parse(trimmed);
  } catch (err) {
    const why = messageOf(err);
    throw invalid(why.charAt(0).toLowerCase() + why.slice(1));
  }
  return { cron: trimmed };
}

/** From a parser that throws to what a schema can use: the first line of what it says. */
const judgeBy =
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

export const judgeSchedule = judgeBy(parseSchedule);
export const judgePattern = judgeBy(compilePattern);
export const judgeGlob = judgeBy(compileGlob);
export const judgeRange = judgeBy(parseRange);
export const judgePlatform = judgeBy((text) => parsePlatform(text));
