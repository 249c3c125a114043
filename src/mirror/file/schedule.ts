import { CronExpressionParser } from 'cron-parser';
import { messageOf } from '../../errors.ts';
import { invalidSchedule, judgeBy, KNOWN_NAMES, readSchedule } from './values.ts';

/** @throws GantryError INVALID */
function checkSchedule(text: string): void {
  const trimmed = text.trim();
  if ('everyMs' in readSchedule(text)) return;
  if (trimmed.startsWith('@')) {
    if (!KNOWN_NAMES.includes(trimmed)) throw invalidSchedule(`there are ${KNOWN_NAMES.join(', ')} and "@every 1h"`);
    return;
  }
  if (/^(?:CRON_)?TZ=/.test(trimmed)) throw invalidSchedule('it cannot name a time zone; set TZ for the process');
  const fields = trimmed.split(/\s+/);
  if (fields.length < 5 || fields.length > 6) {
    throw invalidSchedule(
      `cron has five fields, "minute hour day month weekday", or six with seconds in front; this has ${trimmed === '' ? 0 : fields.length}`,
    );
  }
  try {
    CronExpressionParser.parse(trimmed);
  } catch (err) {
    const why = messageOf(err);
    throw invalidSchedule(why.charAt(0).toLowerCase() + why.slice(1));
  }
}

export const judgeSchedule = judgeBy(checkSchedule);

/** As many moments of a cron expression are looked at: a week of a rule that is due on working days, a year of a monthly one. */
const MOMENTS = 13;

/** The longest time between two moments at which something is due, in milliseconds: over the weekend, for working days. */
export function longestPauseMs(
  when: { readonly cron: string } | { readonly everyMs: number },
  from = new Date(),
): number {
  if ('everyMs' in when) return when.everyMs;
  const moments = CronExpressionParser.parse(when.cron, { currentDate: from }).take(MOMENTS);
  const pauses = moments.slice(1).map((at, i) => at.getTime() - (moments[i]?.getTime() ?? NaN));
  return Math.max(...pauses);
}
