import { Script } from '../script.ts';
import { BASE, ENDING, LEASE } from './graph.ts';

/**
 * A node has finished well. ARGV: id, lease or empty, owner, fence, bytes transferred, 1 when it was skipped, what it resolved to. Answers `{'ok', hungry,
 * parked tickets, id and record of each parent that is ready now}`, or `{'late'}` when it is not ours to finish.
 */
export const done = new Script(`${BASE}${ENDING}${LEASE}
local n = ARGV[1]
local parked = unlock(ARGV[2], ARGV[3], ARGV[4])
if not parked then return { 'late' } end
call('SREM', A, n)
local s = state(n)
if call('HGET', M, 'st') ~= 'running' or (s ~= 'w' and s ~= 'e' and s ~= 'x' and s ~= 'r') then
  closeRun()
  return { 'ok', 0, parked, {} }
end
if ARGV[7] ~= '' then call('HSET', K, n..'r', ARGV[7]) end
set(n, 'd')
local ready = {}
for _, p in ipairs(parents(n)) do
  if p == '0' then imageEnded(n, 'done')
  else
    local ps = state(p)
    if (ps == 'e' or ps == 'x') and call('HINCRBY', C, p, -1) == 0 then
      set(p, 'r')
      call('HDEL', C, p)
      ready[#ready + 1] = p
      ready[#ready + 1] = call('HGET', D, p)
    end
  end
end
forget(n)
call('HDEL', F, n)
call('HINCRBY', M, ARGV[6] == '1' and 'ns' or 'nd', 1)
if ARGV[5] ~= '0' then call('HINCRBY', M, 'by', ARGV[5]) end
closeRun()
return { 'ok', hungry(), parked, ready }
`);

/**
 * A node has failed for good. ARGV: id, lease or empty, owner, fence, what is remembered of it as JSON without ways and count, error as JSON, what it resolved to.
 * Every image that leads to it fails. Answers `{'ok', hungry, parked tickets}` or `{'late'}`.
 */
export const fail = new Script(`${BASE}${ENDING}${LEASE}
local n = ARGV[1]
local parked = unlock(ARGV[2], ARGV[3], ARGV[4])
if not parked then return { 'late' } end
call('SREM', A, n)
local s = state(n)
if call('HGET', M, 'st') ~= 'running' or (s ~= 'w' and s ~= 'e' and s ~= 'x' and s ~= 'r') then
  closeRun()
  return { 'ok', 0, parked }
end
if ARGV[7] ~= '' then call('HSET', K, n..'r', ARGV[7]) end
local rec = call('HGET', D, n)
local f = cjson.decode(ARGV[5])
local before = call('HGET', F, n)
local ways = { string.sub(rec, 1, 8) }
f.n = 1
if before then
  before = cjson.decode(before)
  f.n = before.n + 1
  for _, w in ipairs(before.w) do ways[#ways + 1] = w end
end
for line in string.gmatch(call('HGET', W, n) or '', '[^\\n]+') do ways[#ways + 1] = string.sub(line, 1, 8) end
f.w = ways
f.at = now()
f.dp = string.byte(rec, 9)
f.l = string.match(cjson.decode(string.sub(rec, 10))[2], '^[^/]+')
f.e = ARGV[6]
call('HSET', F, n, cjson.encode(f))
failAbove(n, ARGV[6])
set(n, 'f')
forget(n)
call('HINCRBY', M, 'nf', 1)
closeRun()
return { 'ok', hungry(), parked }
`);

/**
 * A worker puts a ticket down unfinished. ARGV: id, lease or empty, owner, fence, 1 when a try has failed. Answers the parked tickets.
 */
export const release = new Script(`${BASE}${ENDING}${LEASE}
local n = ARGV[1]
local parked = unlock(ARGV[2], ARGV[3], ARGV[4])
if not parked then return {} end
call('SREM', A, n)
if ARGV[5] == '1' and call('HEXISTS', D, n) == 1 then call('HINCRBY', T, n, 1) end
closeRun()
return parked
`);

/**
 * Takes the next other way to a node's content. ARGV: id, the record of the way, the ways that are left. The node is
 * wanted as at its start; the ticket goes on with it. Answers 0 when it is finished already.
 */
export const reroute = new Script(`${BASE}
local n = ARGV[1]
local s = state(n)
local have = call('HGET', D, n)
if not have or (s ~= 'w' and s ~= 'e' and s ~= 'r') then return 0 end
local f = call('HGET', F, n)
f = f and cjson.decode(f) or { n = 0, w = {} }
f.w[#f.w + 1] = string.sub(have, 1, 8)
call('HSET', F, n, cjson.encode(f))
set(n, 'w')
call('HDEL', C, n) call('HDEL', K, n) call('HDEL', T, n)
call('HSET', D, n, string.sub(ARGV[2], 1, 8)..string.sub(have, 9, 9)..string.sub(ARGV[2], 10))
if ARGV[3] == '' then call('HDEL', W, n) else call('HSET', W, n, ARGV[3]) end
return 1
`);

/** The other ways to a node's content, a record a line. ARGV: id. */
export const ways = new Script(`${BASE}
return call('HGET', W, ARGV[1]) or ''
`);
