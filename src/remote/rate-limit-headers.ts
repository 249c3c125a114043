import type { RateLimitHeaders } from './budget.ts';

/** Longer fields are not looked at: a cut could leave a number of fewer digits. Characters. */
const MAX_LENGTH = 256;

interface Quota {
  readonly count: number;
  readonly periodMs: number | undefined;
}

/**
 * What a registry says about its limit, from the values of `RateLimit-Limit` and `RateLimit-Remaining`: Docker Hub's
 * `100;w=21600` (https://docs.docker.com/docker-hub/usage/pulls/), or the plain numbers of
 * draft-ietf-httpapi-ratelimit-headers up to 06, with a list of quotas behind the limit (`100, 100;w=60, 1000;w=3600`).
 * Undefined unless both can be understood: a wrong account is worse than none.
 */
export function parseRateLimit(
  limitField: string | undefined,
  remainingField: string | undefined,
): RateLimitHeaders | undefined {
  const [limit, ...policy] = quotasOf(limitField);
  const [remaining] = quotasOf(remainingField);
  if (limit === undefined || remaining === undefined || limit.count === 0) return undefined;
  const ofPolicy = policy.find((quota) => quota?.count === limit.count);
  return {
    limit: limit.count,
    remaining: Math.min(remaining.count, limit.count), // a burst above the limit would overfill the account
    periodMs: limit.periodMs ?? remaining.periodMs ?? ofPolicy?.periodMs,
  };
}

const quotasOf = (field: string | undefined): (Quota | undefined)[] =>
  field === undefined || field.length > MAX_LENGTH ? [] : field.split(',').map(quotaOf);

/** A number below a billion, then parameters, of which `w` is the window in seconds: more than a hundred days are none. */
function quotaOf(item: string): Quota | undefined {
  const [, count, params = ''] = /^\s*(\d{1,9})\s*(;.*)?$/.exec(item) ?? [];
  if (count === undefined) return undefined;
  const seconds = Number(/;\s*w=(\d{1,7})\s*(?:;|$)/i.exec(params)?.[1] ?? 0);
  return { count: Number(count), periodMs: seconds === 0 ? undefined : seconds * 1000 };
}
