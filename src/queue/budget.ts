/** Quotas of registries, shared by all workers: a token bucket in Redis for each registry and identity. */
import type { Redis } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { RateLimitHeaders, RequestBudget } from '../remote/budget.ts';
import { Keys } from './keys.ts';
import { count, NOW, Script } from './script.ts';

/**
 * Takes one token. KEYS: the lane. ARGV: bucket, set of identities, identity. Answers 0, or the ms until there is one. Without a quota
 * nothing is held back.
 */
const charge = new Script(`
local lane = redis.call('HMGET', KEYS[1], 'requests', 'period')
if not lane[1] then return 0 end
local limit, period = tonumber(lane[1]), tonumber(lane[2])
${NOW}
local b = redis.call('HMGET', ARGV[1], 'left', 'at')
local left = tonumber(b[1] or limit)
left = math.min(limit, left + (now - tonumber(b[2] or now)) * limit / period)
redis.call('SADD', ARGV[2], ARGV[3])
if left < 1 then
  redis.call('HSET', ARGV[1], 'left', left, 'at', now, 'limit', limit)
  return math.ceil((1 - left) * period / limit)
end
redis.call('HSET', ARGV[1], 'left', left - 1, 'at', now, 'limit', limit)
redis.call('PEXPIRE', ARGV[1], period * 2)
return 0
`);

/** What the registry says counts, when it says that less is left. KEYS: the lane. ARGV: bucket, set of identities, identity, limit, remaining. */
const correct = new Script(`
${NOW}
local left = tonumber(redis.call('HGET', ARGV[1], 'left') or ARGV[5])
local quota = tonumber(redis.call('HGET', KEYS[1], 'requests') or '0')
redis.call('SADD', ARGV[2], ARGV[3])
if quota > 0 then
  redis.call('HSET', ARGV[1], 'left', math.min(left, tonumber(ARGV[5])), 'at', now)
else
  redis.call('HSET', ARGV[1], 'left', ARGV[5], 'at', now, 'limit', ARGV[4])
  redis.call('PEXPIRE', ARGV[1], 86400000)
end
return 1
`);

export class RedisBudget implements RequestBudget {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, namespace = 'gantry') {
    this.#redis = redis;
    this.#keys = new Keys(namespace);
  }

  async charge(registry: string, identity: string, _opts: CallOptions): Promise<void> {
    const waitMs = count(await charge.run(this.#redis, this.#keys.lane(registry), this.#account(registry, identity)));
    if (waitMs === 0) return;
    throw new GantryError('RATE_LIMITED', `the quota of ${registry} for ${identity} is used up`, {
      origin: 'source',
      host: registry,
      retryAfterMs: waitMs,
    });
  }

  correct(registry: string, identity: string, { limit, remaining }: RateLimitHeaders): void {
    const args = [...this.#account(registry, identity), limit, remaining];
    void correct.run(this.#redis, this.#keys.lane(registry), args).catch(() => undefined);
  }

  #account(registry: string, identity: string): string[] {
    return [this.#keys.bucket(registry, identity), this.#keys.identities(registry), identity];
  }
}
