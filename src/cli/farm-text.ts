/** Times and settings of a farm, as people and programs read them. Times are milliseconds since 1970. */
import { InvalidArgumentError } from '@commander-js/extra-typings';
import type { LaneStatus } from '../flow/farm-status.ts';
import { parseCount, parseDuration } from './options.ts';
import { durationText } from './units.ts';

export const isoOf = (at: number): string => new Date(at).toISOString();

/** How long ago a moment was. A clock of another machine may be ahead of ours. */
export const ageText = (at: number): string => durationText(Math.max(0, Date.now() - at));

/** For a cell of a table: messages about a malformed reference have a place marked below them. */
export const oneLine = (text: string): string => text.split('\n', 1)[0] ?? '';

type Quota = NonNullable<LaneStatus['quota']>;

/** Not null: commander takes that for a value that is missing. */
const NONE = 'none';

/** `100/6h`, or `none`. */
export function parseQuota(text: string): Quota | typeof NONE {
  if (text === NONE) return NONE;
  const [, requests = '', period = ''] = /^(\d{1,9})\/(\d+[smhd])$/.exec(text) ?? [];
  const quota = { requests: Number(requests), periodMs: period === '' ? 0 : parseDuration(period) };
  if (quota.requests >= 1 && quota.periodMs >= 1) return quota;
  throw new InvalidArgumentError('Say requests and a period, such as 100/6h, or none.');
}

export const parseLimit = (text: string): number | typeof NONE => (text === NONE ? NONE : parseCount(1)(text));

export const orNull = <T>(value: T | typeof NONE): T | null => (value === NONE ? null : value);

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** As parseQuota reads it. */
export function quotaText({ requests, periodMs }: Quota): string {
  const [unit, ms] = UNITS.find(([, each]) => periodMs % each === 0) ?? ['ms', 1];
  return `${requests}/${periodMs / ms}${unit}`;
}
