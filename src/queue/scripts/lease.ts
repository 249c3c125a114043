import { Script } from '../script.ts';

/** Keeps a lease. KEYS: the lease. ARGV: owner, fence, ms. Answers 0 when it is not ours any more. */
export const renew = new Script(`
local held = redis.call('GET', KEYS[1])
local mine = ARGV[1]..' '..ARGV[2]..' '
if not held or string.sub(held, 1, #mine) ~= mine then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
`);

/** Takes or keeps a duty that one process does at a time. KEYS: the duty. ARGV: who, ms. Answers 1 when it is ours. */
export const hold = new Script(`
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** KEYS: the duty. ARGV: who. */
export const letGo = new Script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);
