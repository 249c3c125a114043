import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERROR_POLICY, type ErrorCode, GantryError } from '../../../src/errors.ts';
import { retryDelayMs, retrying, type RetryConfig } from '../../../src/registry/retry.ts';
import { never } from './temp.ts';

const config: RetryConfig = {
  attempts: 4,
  baseDelayMs: 100,
  maxDelayMs: 300,
  maxRetryAfterMs: 2000,
  maxQuietMs: Infinity,
  waitOnRateLimit: true,
};
const error = (code: ErrorCode, retryAfterMs?: number): GantryError =>
  new GantryError(code, code, retryAfterMs === undefined ? {} : { retryAfterMs });

describe('whether to try again', () => {
  it('only what may pass is tried again', () => {
    const codes = Object.keys(ERROR_POLICY).filter((code): code is ErrorCode => code in ERROR_POLICY);
    for (const code of codes) {
      const again = retryDelayMs(error(code), 1, config) !== undefined;
      assert.equal(again, ERROR_POLICY[code].retry === 'backoff', code);
    }
    assert.equal(retryDelayMs(new Error('unknown'), 1, config), undefined);
  });

  it('the delay doubles up to its bound, with jitter, until the budget is used up', () => {
    for (const [attempt, most] of [
      [1, 100],
      [2, 200],
      [3, 300],
    ] as const) {
      for (let i = 0; i < 50; i += 1) {
        const delay = retryDelayMs(error('NETWORK'), attempt, config) ?? NaN;
        assert.ok(delay >= most / 2 && delay <= most, `${delay}`);
      }
    }
    assert.equal(retryDelayMs(error('NETWORK'), 4, config), undefined);
  });

  it('what the registry asks for wins up to the cap, and is never less than our own delay', () => {
    assert.equal(retryDelayMs(error('RATE_LIMITED', 1500), 1, config), 1500);
    assert.equal(retryDelayMs(error('UPSTREAM', 2000), 1, config), 2000);
    assert.equal(retryDelayMs(error('RATE_LIMITED', 2001), 1, config), undefined);
    assert.ok((retryDelayMs(error('RATE_LIMITED', 0), 1, config) ?? 0) >= 50);
    assert.equal(retryDelayMs(error('RATE_LIMITED', 1500), 4, config), undefined);
  });

  it('who can put the work back waits for no limit, and for no long outage', () => {
    const farm = { ...config, maxRetryAfterMs: 60_000, waitOnRateLimit: false };
    for (const ms of [undefined, 0, 1, 1000]) assert.equal(retryDelayMs(error('RATE_LIMITED', ms), 1, farm), undefined);
    assert.equal(retryDelayMs(error('UPSTREAM', 5000), 1, farm), 5000);
    assert.equal(retryDelayMs(error('UPSTREAM', 5001), 1, farm), undefined);
    assert.equal(retryDelayMs(error('UPSTREAM', 5001), 1, { ...farm, waitOnRateLimit: true }), 5001);
    assert.equal(retryDelayMs(error('UPSTREAM', 3000), 1, { ...farm, maxRetryAfterMs: 2000 }), undefined);
    assert.ok(retryDelayMs(error('UPSTREAM'), 1, farm) !== undefined);
  });

  it('tells before each new try', async () => {
    const told: number[] = [];
    let calls = 0;
    const work = async (): Promise<string> => {
      calls += 1;
      if (calls < 3) throw error('NETWORK');
      return 'done';
    };
    const onRetry = (_err: GantryError, delayMs: number): void => void told.push(delayMs);
    assert.equal(await retrying(work, { ...config, baseDelayMs: 1 }, { signal: never, onRetry }), 'done');
    assert.equal(told.length, 2);
  });
});
