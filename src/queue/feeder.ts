/** Hands the images of a stored request to the workers, so many at a time. Any worker may do it, and one at a time does. */
import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import { unpackRoots } from './payload.ts';
import { keyOf, readRecord } from './record.ts';
import { count } from './script.ts';
import { hold, letGo } from './scripts/lease.ts';
import { feed } from './scripts/run.ts';

/** A feeder that has not moved for so long is dead. */
const DUTY_MS = 10_000;

export class Feeder {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #who: string;
  /** Runs that are being fed by this process now. */
  readonly #busy = new Set<string>();

  constructor(redis: Redis, keys: Keys, who: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#who = who;
  }

  /** Feeds a run up to its number of open images. Does nothing while somebody else does. */
  async feed(run: string): Promise<void> {
    if (this.#busy.has(run)) return;
    this.#busy.add(run);
    const duty = this.#keys.duty(`feed:${run}`);
    try {
      while (count(await hold.run(this.#redis, duty, [this.#who, DUTY_MS])) === 1 && (await this.#chunk(run)));
      await letGo.run(this.#redis, duty, [this.#who]);
    } finally {
      this.#busy.delete(run);
    }
  }

  /** Whether a run wants to be fed. */
  async isHungry(run: string): Promise<boolean> {
    const key = `${this.#keys.run(run)}:m`;
    const [state, fed, open, low] = await this.#redis.hmget(key, 'st', 'fed', 'open', 'low');
    return state === 'running' && fed !== '1' && Number(open) < Number(low);
  }

  /** One chunk. True when there is room for another. */
  async #chunk(run: string): Promise<boolean> {
    const key = this.#keys.run(run);
    const [state, at, fed] = await this.#redis.hmget(`${key}:m`, 'st', 'fc', 'fed');
    if (state !== 'running' || fed === '1' || at === null || at === undefined) return false;
    const chunk = await this.#redis.lindex(`${key}:q`, Number(at));
    if (chunk === null) return false;
    const args = unpackRoots(chunk).flatMap(([index, record]) => [index, keyOf(readRecord(record).node), record]);
    return count(await feed.run(this.#redis, key, [at, ...args])) === 1;
  }
}
