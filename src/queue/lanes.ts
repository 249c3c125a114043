/** Lanes: one queue per registry. What limits a registry hangs on its lane, and holds over all workers. */
import type { Redis } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { LaneControl, LaneSettings, LaneStatus } from '../flow/farm-status.ts';
import type { Keys } from './keys.ts';
import { count, NOW, Script } from './script.ts';
import type { Tickets } from './tickets.ts';

/** The later end wins: two answers never shorten each other's wait. KEYS: the lane. ARGV: ms, why. Answers the ms from now. */
const block = new Script(`
${NOW}
local till = now + ARGV[1]
local before = tonumber(redis.call('HGET', KEYS[1], 'till') or '0')
if before >= till then return before - now end
redis.call('HSET', KEYS[1], 'till', till, 'why', ARGV[2])
return tonumber(ARGV[1])
`);

const MAX_WHY = 300;

export class Lanes implements LaneControl {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #tickets: Tickets;

  constructor(redis: Redis, keys: Keys, tickets: Tickets) {
    this.#redis = redis;
    this.#keys = keys;
    this.#tickets = tickets;
  }

  async names(): Promise<string[]> {
    return (await this.#redis.smembers(this.#keys.lanes)).toSorted();
  }

  /** Limits may be set before there is anything to do for a registry: its lane is made. */
  async set(lane: string, settings: LaneSettings): Promise<void> {
    await this.#make(lane);
    const queue = this.#tickets.queue(lane);
    if (settings.concurrency === null) await queue.removeGlobalConcurrency();
    else if (settings.concurrency !== undefined) await queue.setGlobalConcurrency(settings.concurrency);
    const key = this.#keys.lane(lane);
    if (settings.quota === null) await this.#redis.hdel(key, 'requests', 'period');
    else if (settings.quota !== undefined) {
      await this.#redis.hset(key, { requests: settings.quota.requests, period: settings.quota.periodMs });
    }
  }

  /** No worker takes a ticket of it until it is resumed. @throws GantryError NOT_FOUND */
  async pause(lane: string): Promise<void> {
    await this.#mustExist(lane);
    await this.#tickets.queue(lane).pause();
  }

  /** @throws GantryError NOT_FOUND */
  async resume(lane: string): Promise<void> {
    await this.#mustExist(lane);
    await this.#tickets.queue(lane).resume();
  }

  /** Keeps all workers from the registry for a while. Answers for how long from now, in ms: another block may last longer. */
  async block(lane: string, ms: number, why: string): Promise<number> {
    const left = count(await block.run(this.#redis, this.#keys.lane(lane), [Math.ceil(ms), why.slice(0, MAX_WHY)]));
    await this.#tickets.queue(lane).rateLimit(left);
    return left;
  }

  async status(workersOf: (lane: string) => number, opts: CallOptions): Promise<LaneStatus[]> {
    const found: LaneStatus[] = [];
    for (const name of await this.names()) {
      opts.signal.throwIfAborted();
      found.push(await this.#status(name, workersOf(name)));
    }
    return found;
  }

  async #status(name: string, workers: number): Promise<LaneStatus> {
    const queue = this.#tickets.queue(name);
    const own = await this.#redis.hgetall(this.#keys.lane(name));
    const quota = quotaOf(own);
    const [counts, paused, concurrency, oldest, headroom] = await Promise.all([
      queue.getJobCounts('wait', 'prioritized', 'active', 'delayed'),
      queue.isPaused(),
      queue.getGlobalConcurrency(),
      queue.getWaiting(0, 0),
      this.#headroom(name, quota),
    ]);
    const till = Number(own['till'] ?? 0);
    const isBlocked = till > Date.now();
    return {
      name,
      tickets: {
        waiting: (counts['wait'] ?? 0) + (counts['prioritized'] ?? 0),
        active: counts['active'] ?? 0,
        delayed: counts['delayed'] ?? 0,
      },
      oldestAt: oldest[0]?.timestamp,
      concurrency: concurrency ?? undefined,
      quota,
      headroom,
      paused,
      blockedUntil: isBlocked ? till : undefined,
      blockedBecause: isBlocked ? own['why'] : undefined,
      workers,
    };
  }

  /** What has come back since something was last taken counts as well: nobody takes from a lane that is idle. */
  async #headroom(lane: string, quota: LaneStatus['quota']): Promise<LaneStatus['headroom']> {
    const found: { identity: string; limit: number; remaining: number }[] = [];
    for (const identity of await this.#redis.smembers(this.#keys.identities(lane))) {
      const [limit, left, at] = await this.#redis.hmget(this.#keys.bucket(lane, identity), 'limit', 'left', 'at');
      if (typeof limit !== 'string' || typeof left !== 'string') continue;
      const refilled = quota === undefined ? 0 : ((Date.now() - Number(at)) * Number(limit)) / quota.periodMs;
      const remaining = Math.floor(Math.min(Number(limit), Number(left) + Math.max(0, refilled)));
      found.push({ identity, limit: Number(limit), remaining });
    }
    return found;
  }

  async #make(lane: string): Promise<void> {
    if ((await this.#redis.sadd(this.#keys.lanes, lane)) === 1) {
      await this.#redis.publish(this.#keys.control, JSON.stringify({ k: 'lane' }));
    }
  }

  async #mustExist(lane: string): Promise<void> {
    if ((await this.#redis.sismember(this.#keys.lanes, lane)) === 1) return;
    const names = await this.names();
    throw new GantryError('NOT_FOUND', `there is no lane ${lane}`, {
      origin: 'user',
      hint: names.length === 0 ? 'there are none yet' : `there are ${names.slice(0, 10).join(', ')}`,
    });
  }
}

function quotaOf(own: Readonly<Record<string, string>>): LaneStatus['quota'] {
  const { requests, period } = own;
  return requests === undefined || period === undefined
    ? undefined
    : { requests: Number(requests), periodMs: Number(period) };
}
