import { type CallOptions, sleep } from '../call.ts';
import { type ErrorCode, type GantryError, asGantryError, isCode, retryClass } from '../errors.ts';

export interface RetryConfig {
  /** Tries of one request, the first included. */
  readonly attempts: number;
  /** Before the second try, in milliseconds; doubles with each further one, up to `maxDelayMs`. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** A longer Retry-After is not waited for: the error tells when to come back. Milliseconds. */
  readonly maxRetryAfterMs: number;
  /** A registry that answered 429 is left alone for so long at most, whatever its Retry-After says. Milliseconds. */
  readonly maxQuietMs: number;
  /**
   * False: a limit is never waited for, nor an outage that is announced for more than `BRIEF_MS`; the error goes up at
   * once. For workers that can put the work back, and would wait in a slot that other work needs.
   */
  readonly waitOnRateLimit: boolean;
}

export const DEFAULT_RETRY: RetryConfig = {
  attempts: 5,
  baseDelayMs: 200,
  maxDelayMs: 10_000,
  maxRetryAfterMs: 60_000,
  maxQuietMs: Infinity,
  waitOnRateLimit: true,
};

/** An outage that is over so soon is cheaper to wait for than to hand the work back. */
const BRIEF_MS = 5_000;

/** How long a registry that asks to be left alone, by an error of this code, is waited for. Milliseconds. */
export function patienceMs(code: ErrorCode, { waitOnRateLimit, maxRetryAfterMs }: RetryConfig): number {
  if (waitOnRateLimit) return maxRetryAfterMs;
  return code === 'RATE_LIMITED' ? 0 : Math.min(BRIEF_MS, maxRetryAfterMs);
}

/** Told before something is tried again. */
export type OnRetry = (err: GantryError, delayMs: number) => void;

/**
 * How long to wait before a request is tried again, or undefined to give up: the class of the error decides, then the
 * budget. `attempt` is 1 after the first failure.
 */
export function retryDelayMs(err: unknown, attempt: number, config: RetryConfig): number | undefined {
  if (retryClass(err) !== 'backoff' || attempt >= config.attempts) return undefined;
  if (!config.waitOnRateLimit && isCode(err, 'RATE_LIMITED')) return undefined;
  const ceiling = Math.min(config.maxDelayMs, config.baseDelayMs * 2 ** (attempt - 1));
  const backoffMs = ceiling / 2 + (Math.random() * ceiling) / 2;
  if (!isCode(err, 'RATE_LIMITED', 'UPSTREAM', 'TIMEOUT') || err.retryAfterMs === undefined) return backoffMs;
  // "Retry-After: 0" and dates in the past are common, and do not mean all tries in one millisecond.
  return err.retryAfterMs <= patienceMs(err.code, config) ? Math.max(err.retryAfterMs, backoffMs) : undefined;
}

/** Tries until it works, the class of the error forbids it, or the budget is used up. */
export async function retrying<T>(
  work: () => Promise<T>,
  config: RetryConfig,
  opts: CallOptions & { onRetry?: OnRetry | undefined },
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (err) {
      if (opts.signal.aborted) throw err;
      const delayMs = retryDelayMs(err, attempt, config);
      if (delayMs === undefined) throw err;
      opts.onRetry?.(asGantryError(err), delayMs);
      await sleep(delayMs, opts.signal);
    }
  }
}
