/** What pruning remembers, in Redis: for each target repository its tags that left their source. */
import type { Redis } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { isObject } from '../oci/fields.ts';
import type { Keys } from './keys.ts';

export interface GoneTag {
  readonly digest: Digest;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** A hash with a field for each repository: it is read and written as a whole, and most have none. */
export class GoneTags {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async read(repository: string, _opts: CallOptions): Promise<ReadonlyMap<string, GoneTag>> {
    const text = await this.#redis.hget(this.#keys.gone, repository);
    const found: unknown = JSON.parse(text ?? '{}');
    const entries = isObject(found) ? Object.entries(found) : [];
    return new Map(entries.flatMap(([tag, value]): [string, GoneTag][] => (isGone(value) ? [[tag, value]] : [])));
  }

  async write(repository: string, gone: ReadonlyMap<string, GoneTag>, _opts: CallOptions): Promise<void> {
    if (gone.size === 0) await this.#redis.hdel(this.#keys.gone, repository);
    else await this.#redis.hset(this.#keys.gone, repository, JSON.stringify(Object.fromEntries(gone)));
  }
}

const isGone = (value: unknown): value is GoneTag =>
  isObject(value) && isDigest(value['digest']) && typeof value['since'] === 'number';
