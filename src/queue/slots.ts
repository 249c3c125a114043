/**
 * Slots of a second registry. A ticket holds a slot of the lane it runs in; one that moves content to another registry takes a
 * slot there as well. A slot of a worker that died comes back by itself when its time is over.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { Keys } from './keys.ts';
import { count, NOW, Script, text } from './script.ts';
import { queueName } from './tickets.ts';

/**
 * KEYS: the slots. ARGV: who, slots for each worker, ms, the lane, its queue, the workers, who waits or empty. As many slots as the lane
 * may have tickets at a time; where nobody has said how many, so many for each worker. Answers 0 with a slot; else the ms until
 * another look is worth it. Who waits is noted, but not while the lane is blocked: then there is nothing to be told earlier.
 */
const take = new Script(`
${NOW}
local waiting = KEYS[1]..':w'
local till = tonumber(redis.call('HGET', ARGV[4], 'till') or '0')
if till > now then return till - now end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local said = redis.call('HGET', ARGV[5]..':meta', 'concurrency')
  local slots = tonumber(said or ARGV[2] * math.max(1, redis.call('SCARD', ARGV[6])))
  if redis.call('ZCARD', KEYS[1]) >= slots then
    if ARGV[7] ~= '' then
      redis.call('ZADD', waiting, 'NX', now, ARGV[7])
      redis.call('PEXPIRE', waiting, 86400000)
    end
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return first[2] and math.max(1, tonumber(first[2]) - now) or tonumber(ARGV[3])
  end
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
if ARGV[7] ~= '' then redis.call('ZREM', waiting, ARGV[7]) end
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

/** Gives a slot back, if it still is held. KEYS: the slots. ARGV: who. Answers who has waited longest, and notes him no more. */
const give = new Script(`
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZPOPMIN', KEYS[1]..':w')[1] or ''
`);

export interface SlotLeaseOptions {
  readonly redis: Redis;
  readonly namespace?: string;
  /** Slots of a lane for each worker, where the lane has no limit of its own. */
  readonly slots: number;
  /** A holder that has not said for so long that it still is there has lost its slot. */
  readonly leaseMs: number;
  /** Told who waited when a slot is free again; false: he does not wait any more. */
  readonly wake?: (waiting: string) => Promise<boolean>;
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

  /**
   * A slot of a lane, or after how many milliseconds to ask again. Nobody waits inside.
   * @param waiting whom to wake when a slot is free; he asks again then
   */
  async tryTake(lane: string, waiting = ''): Promise<HeldSlot | { readonly afterMs: number }> {
    const { redis, slots, leaseMs } = this.#options;
    const [key, who] = [this.#keys.slots(lane), randomUUID()];
    const queue = `${this.#keys.tag}:${queueName(lane)}`;
    const args = [who, slots, leaseMs, this.#keys.lane(lane), queue, this.#keys.workers, waiting];
    const afterMs = count(await take.run(redis, key, args));
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
        await this.#give(key, who);
      },
    };
  }

  /** Wakes one that waits; who has come back by himself is passed over. */
  async #give(key: string, who: string): Promise<void> {
    const { redis, wake } = this.#options;
    for (;;) {
      const waiting = text(await give.run(redis, key, [who]));
      if (waiting === '' || wake === undefined || (await wake(waiting))) return;
    }
  }
}
