import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestPauseMs } from '../../../src/mirror/file/schedule.ts';

const HOUR = 3_600_000;

test('the longest time between two moments at which a rule is due', () => {
  const tuesday = new Date('2026-06-02T12:00:00Z');
  for (const [cron, hours] of [
    ['0 3 * * *', 24],
    ['0 3 * * 1-5', 72],
    ['0 3,4 * * *', 23],
    ['0 0 1 * *', 31 * 24],
  ] as const) {
    const pause = longestPauseMs({ cron }, tuesday);
    assert.ok(Math.abs(pause - hours * HOUR) <= HOUR, `${cron}: ${pause / HOUR} h`); // an hour more or less where clocks are put forward
  }
  assert.equal(longestPauseMs({ everyMs: 5_000 }), 5_000);
});
