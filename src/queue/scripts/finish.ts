import { Script } from '../script.ts';
import { BASE, ENDING, LEASE } from './graph.ts';
import { TICKETS } from './tickets.ts';

/** Gives up what was held, and looks whether there is anything left to finish. Sets `n` and `parked`. */
const FINISHING = `
local n = ARGV[1]
local parked = unlock(ARGV[2], ARGV[3], ARGV[4])
if not parked then return { 'late' } end
call('SREM', A, n)
if call('HGET', M, 'st') ~= 'running' or not isOpen(state(n)) then
  closeRun()
  return { 'ok', 0, parked }
end
if ARGV[5] ~= '' then call('HSET', N, n..'r', ARGV[5]) end
`;

/**
 * A node has finished well. ARGV: id, lease or empty, owner, fence, what it resolved to, bytes transferred, why it was skipped or empty, blobs
 * mounted. What was moved for it and for what is below is counted for the first that still waits for it. Answers
 * `{'ok', hungry, parked tickets}`; parents that are ready now have their tickets. Or `{'late'}` when it is not ours to finish.
 */
export const done = new Script(`${BASE}${ENDING}${LEASE}${TICKETS}${FINISHING}
set(n, 'd')
local bytes, mounted = tonumber(ARGV[6]), tonumber(ARGV[8])
local kept = call('HMGET', N, n..'p', n..'b', n..'m')
if string.find(kept[1], '0=', 1, true) then moved(n, bytes, mounted) end
local ended, heir = false, nil
for _, p in ipairs(split(kept[1])) do
  local root = rootOf(p)
  if root then
    imageEnded(n, root, 'done', nil, ARGV[7])
    ended = true
  else
    local ps = state(p)
    if ps == 'e' or ps == 'x' then
      if not heir then
        heir = p
        moved(p, bytes + (kept[2] or 0), mounted + (kept[3] or 0))
      end
      if call('HINCRBY', N, p..'c', -1) == 0 then
        set(p, 'r')
        local known = call('HMGET', N, p, p..'o')
        local queue = queueOf(settleLaneOf(known[1]))
        addTicket(queue, p, 'p', 'RPUSH', now(), tonumber(known[2] or '0'))
        wakeQueue(queue)
      end
    end
  end
end
forget(n, n..'f')
call('HINCRBY', M, ARGV[7] == '' and 'nd' or 'ns', 1)
if bytes > 0 then call('HINCRBY', M, 'by', bytes) end
return { 'ok', ended and afterImages() or 0, parked }
`);

/**
 * A node has failed for good. ARGV: id, lease or empty, owner, fence, what it resolved to, what is remembered of it as JSON without ways and
 * count, error as JSON. Every image that leads to it fails. Answers `{'ok', hungry, parked tickets}` or `{'late'}`.
 */
export const fail = new Script(`${BASE}${ENDING}${LEASE}${TICKETS}${FINISHING}
local kept = call('HMGET', N, n, n..'f', n..'w')
local rec = kept[1]
local f = cjson.decode(ARGV[6])
local ways = { string.sub(rec, 1, 8) }
f.n = 1
if kept[2] then
  local before = cjson.decode(kept[2])
  f.n = before.n + 1
  for _, w in ipairs(before.w) do ways[#ways + 1] = w end
end
for line in string.gmatch(kept[3] or '', '[^\\n]+') do ways[#ways + 1] = string.sub(line, 1, 8) end
f.w = ways
f.at = now()
f.dp = string.byte(rec, 9)
f.l = laneOf(rec)
if f.h == 'target' then f.g = targetOf(rec) end
f.e = ARGV[7]
call('HSET', N, n..'f', cjson.encode(f))
failAbove(n, ARGV[7])
set(n, 'f')
forget(n)
call('HINCRBY', M, 'nf', 1)
return { 'ok', afterImages(), parked }
`);

/**
 * A worker puts a ticket down unfinished. ARGV: id, lease or empty, owner, fence, 1 when a try has failed. Answers the parked tickets.
 */
export const release = new Script(`${BASE}${ENDING}${LEASE}
local n = ARGV[1]
local parked = unlock(ARGV[2], ARGV[3], ARGV[4])
if not parked then return {} end
call('SREM', A, n)
if ARGV[5] == '1' and call('HEXISTS', N, n) == 1 then call('HINCRBY', N, n..'t', 1) end
if call('HGET', M, 'st') ~= 'running' then closeRun() end
return parked
`);

/**
 * Takes the next other way to a node's content. ARGV: id, the record of the way, the ways that are left. The ticket
 * visits the node again. Answers 0 when it is finished already.
 */
export const reroute = new Script(`${BASE}
local n = ARGV[1]
local s = state(n)
local known = call('HMGET', N, n, n..'f')
local have = known[1]
if not have or (s ~= 'w' and s ~= 'e' and s ~= 'r') then return 0 end
local f = known[2] and cjson.decode(known[2]) or { n = 0, w = {} }
f.w[#f.w + 1] = string.sub(have, 1, 8)
-- children that were added already stay: they know n as their parent, and would not be counted again
if s == 'r' then
  set(n, 'w')
  call('HDEL', N, n..'c', n..'k')
end
call('HDEL', N, n..'t', n..'w', n..'o')
call('HSET', N, n..'f', cjson.encode(f), n, string.sub(ARGV[2], 1, 8)..string.sub(have, 9, 9)..string.sub(ARGV[2], 10))
if ARGV[3] ~= '' then call('HSET', N, n..'w', ARGV[3]) end
return 1
`);

/** The other ways to a node's content, a record a line. ARGV: id. */
export const ways = new Script(`${BASE}
return call('HGET', N, ARGV[1]..'w') or ''
`);
