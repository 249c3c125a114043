/**
 * Slots of a second registry. A ticket holds a slot of the lane it runs in; one that moves content to another registry takes a
 * slot there as well. A slot of a worker that died comes back by itself when its time is over.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { Keys } from './keys.ts';
import { count, NOW, Script } from './script.ts';

/** KEYS: the slots. ARGV: who, slots in all, ms, the lane. Answers 0 with a slot; else the ms until another look is worth it. */
const take = new Script(`
${NOW}
local till = tonumber(redis.call('HGET', ARGV[4], 'till') or '0')
if till > now then return till - now end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, math.min(1000, tonumber(first[2]) - now))
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
return 0
`);

/** KEYS: the slots. ARGV: who, ms. Answers 0 when the slot is not ours any more. */
const keep = new Script(`
${NOW}
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not till or tonumber(till) <= now then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return 1
`);

export interface SlotLeaseOptions {
  readonly redis: Redis;
  readonly namespace?: string;
  /** Slots of each lane, over all workers. */
  readonly slots: number;
  /** A holder that has not said for so long that it still is there has lost its slot. */
  readonly leaseMs: number;
}

/** A slot that is held. Disposing it gives it back. */
export interface HeldSlot extends AsyncDisposable {
  /** Said every third of the lease by the holder itself; aborts when the slot was lost. */
  readonly signal: AbortSignal;
}

export class SlotLeases {
  readonly #options: SlotLeaseOptions;
  readonly #keys: Keys;

  constructor(options: SlotLeaseOptions) {
    this.#options = options;
    this.#keys = new Keys(options.namespace ?? 'gantry');
  }

  /** A slot of a lane, or after how many milliseconds to ask again. Nobody waits inside. */
  async tryTake(lane: string): Promise<HeldSlot | { readonly afterMs: number }> {
    const { redis, slots, leaseMs } = this.#options;
    const [key, who] = [this.#keys.slots(lane), randomUUID()];
    const afterMs = count(await take.run(redis, key, [who, slots, leaseMs, this.#keys.lane(lane)]));
    if (afterMs > 0) return { afterMs };
    const lost = new AbortController();
    const timer = setInterval(() => {
      keep.run(redis, key, [who, leaseMs]).then(
        (kept) => {
          if (count(kept) === 0) lost.abort();
        },
        () => undefined, // asked again with the next third
      );
    }, leaseMs / 3);
    return {
      signal: lost.signal,
      [Symbol.asyncDispose]: async () => {
        clearInterval(timer);
        await redis.zrem(key, who);
      },
    };
  }
}
