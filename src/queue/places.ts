/** Where the blobs of registries are believed to be, shared by all workers. One round trip a call, however many blobs. */
import type { Redis } from 'ioredis';
import type { Digest } from '../oci/digest.ts';
import { registryOf } from '../oci/location.ts';
import { type BlobPlaces, MAX_REFUSING, type Place } from '../remote/places.ts';
import { Keys } from './keys.ts';
import { count, Script, texts } from './script.ts';

/** Of one blob, the latest last; it takes one to mount from. */
const MAX_REPOSITORIES = 8;
/** A sixteenth of the blobs of a registry. */
const MAX_BLOBS = 16_384;
/** Blobs are deleted now and then: what nobody has corrected is forgotten after a day. */
const FORGET_MS = 24 * 3_600_000;
/** A registry may learn to mount, or may have had a bad moment. Counted from the first of its repositories that refused. */
const REFUSED_MS = 3_600_000;

/** Over sixteen hashes a registry, by the first digit of the digest: each is forgotten as a whole, when it is old or full. */
const SHARD = `
local function shardOf(digest) return KEYS[1]..':'..string.match(digest, ':(%x)') end
local function without(known, repository)
  local kept = {}
  for each in string.gmatch(known or '', '%S+') do if each ~= repository then kept[#kept + 1] = each end end
  return kept
end
`;

/** ARGV: digests. Answers the repositories of each, with spaces between. */
const find = new Script(`${SHARD}
local found = {}
for i, digest in ipairs(ARGV) do found[i] = redis.call('HGET', shardOf(digest), digest) or '' end
return found
`);

/** ARGV: repository, repositories at most, blobs at most, ms, digests. */
const add = new Script(`${SHARD}
for i = 5, #ARGV do
  local shard = shardOf(ARGV[i])
  local kept = without(redis.call('HGET', shard, ARGV[i]), ARGV[1])
  kept[#kept + 1] = ARGV[1]
  if #kept > tonumber(ARGV[2]) then table.remove(kept, 1) end
  local size = redis.call('HLEN', shard)
  if size >= tonumber(ARGV[3]) then
    redis.call('UNLINK', shard)
    size = 0
  end
  redis.call('HSET', shard, ARGV[i], table.concat(kept, ' '))
  if size == 0 then redis.call('PEXPIRE', shard, ARGV[4]) end
end
`);

/** ARGV: repository, digests. */
const forget = new Script(`${SHARD}
for i = 2, #ARGV do
  local shard = shardOf(ARGV[i])
  local kept = without(redis.call('HGET', shard, ARGV[i]), ARGV[1])
  if #kept > 0 then redis.call('HSET', shard, ARGV[i], table.concat(kept, ' '))
  else redis.call('HDEL', shard, ARGV[i]) end
end
`);

/** ARGV: repository, how many of them speak for their registry. */
const refuses = new Script(`
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
return redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) and 1 or 0
`);

/** ARGV: repository, ms. */
const setRefuses = new Script(`
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('SCARD', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
`);

export class RedisPlaces implements BlobPlaces {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, namespace = 'gantry') {
    this.#redis = redis;
    this.#keys = new Keys(namespace);
  }

  async find(repository: string, digests: readonly Digest[]): Promise<readonly Place[]> {
    if (digests.length === 0) return [];
    const found = texts(await find.run(this.#redis, this.#shards(repository), digests));
    return digests.map((_digest, i) => {
      const known = (found[i] ?? '').split(' ').filter((each) => each !== '');
      return { isHere: known.includes(repository), elsewhere: known.findLast((each) => each !== repository) };
    });
  }

  async add(repository: string, digests: readonly Digest[]): Promise<void> {
    if (digests.length === 0) return;
    const args = [repository, MAX_REPOSITORIES, MAX_BLOBS, FORGET_MS, ...digests];
    await add.run(this.#redis, this.#shards(repository), args);
  }

  async forget(repository: string, digests: readonly Digest[]): Promise<void> {
    if (digests.length === 0) return;
    await forget.run(this.#redis, this.#shards(repository), [repository, ...digests]);
  }

  async refusesMounts(repository: string): Promise<boolean> {
    const key = this.#keys.refusesMounts(registryOf(repository));
    return count(await refuses.run(this.#redis, key, [repository, MAX_REFUSING])) === 1;
  }

  async setRefusesMounts(repository: string): Promise<void> {
    const key = this.#keys.refusesMounts(registryOf(repository));
    await setRefuses.run(this.#redis, key, [repository, REFUSED_MS]);
  }

  #shards(repository: string): string {
    return this.#keys.places(registryOf(repository));
  }
}
