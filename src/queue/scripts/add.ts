import { Script } from '../script.ts';
import { ADDING, BASE, ENDING, LEASE, LIVE } from './graph.ts';
import { TICKETS } from './tickets.ts';

/** Children in one call: a script that runs for long keeps all others waiting. */
export const MAX_CHILDREN_A_CALL = 500;

/**
 * Hangs children below a node whose visit or settle answered them, with a ticket for each that needs one. ARGV: id, lease or empty, owner,
 * fence, what it resolved to, what is left for its settle, 1 with the last chunk, lane of the children or empty where they differ, 1 when somebody
 * watches, round (0: of
 * its visit), lane of the settle or empty when the caller settles what is ready, bytes transferred, blobs mounted, then key and record for
 * each child. The parent counts one open child too many until the last chunk is in: else it would be ready before all of them are known.
 * Answers `{'ready'}`; `{'open', parked tickets}`, with what was held given up; `{'more'}`; `{'broken', error, hungry}` when one has
 * failed for good (the images are failed already); `{'cycle', index}`; `{'late'}` when the node does not wait for children of this round.
 */
export const add = new Script(`${BASE}${LIVE}${ENDING}${LEASE}${TICKETS}${ADDING}
local n = ARGV[1]
local m = call('HMGET', M, 'st', 'ib')
if m[1] ~= 'running' then return { 'late' } end
local s = state(n)
local round = tonumber(ARGV[10])
if s == 'w' and round == 0 then
  set(n, 'e')
  call('HSET', N, n..'c', 1)
  if ARGV[5] ~= '' then call('HSET', N, n..'r', ARGV[5]) end
else
  local have = tonumber(call('HGET', N, n..'o') or '0')
  if s == 'r' and round == have + 1 then
    set(n, 'e')
    call('HSET', N, n..'c', 1, n..'o', round)
  elseif (s ~= 'e' and s ~= 'x') or round ~= have then return { 'late' } end
end
local ancestors
local function isAbove(id)
  if not ancestors then
    ancestors = { [n] = true }
    local open = { n }
    local at = 1
    while open[at] do
      for _, p in ipairs(parents(open[at])) do
        if not rootOf(p) and not ancestors[p] then ancestors[p] = true open[#open + 1] = p end
      end
      at = at + 1
    end
  end
  return ancestors[id]
end
local fresh, told = {}, {}
local more = 0
local broken, cycle
local FIRST = 14
for i = FIRST, #ARGV, 2 do
  local key, rec = ARGV[i], ARGV[i + 1]
  local index = indexOf(key, m[2])
  local id = call('HGET', index, key)
  local cs = id and state(id)
  if cs ~= 'd' or isRepeatable(rec) then
    local failed = cs == 'f' and id
    if cs == 'f' then
      if mayRevive(id, rec) then id = nil else broken = cjson.decode(call('HGET', N, id..'f')).e break end
    elseif isOpen(cs) then
      if id == n or ((cs == 'e' or cs == 'x') and isAbove(id)) then cycle = (i - FIRST) / 2 break end
      if live(id) then
        if join(id, n, rec) then more = more + 1 end
      else
        drop(id)
        id = nil
      end
    else id = nil end
    if not id then
      id = create(index, key, n, rec, failed)
      more = more + 1
      fresh[#fresh + 1] = id
      if ARGV[9] == '1' then
        told[#told + 1] = '{"kind":"added","node":'..cjson.encode(string.sub(rec, 10))..'}'
      end
    end
  end
end
if more > 0 then call('HINCRBY', N, n..'c', more) end
if known > 0 then call('HINCRBY', M, 'nk', known) end
if cycle then return { 'cycle', cycle } end
if broken then
  failAbove(n, broken)
  drop(n)
  return { 'broken', broken, afterImages() }
end
if #told > 0 then call('PUBLISH', TAG..':events:'..RUN, '['..table.concat(told, ',')..']') end
-- the last one in is the first one out: children start in the order of their parent
if #fresh > 0 and ARGV[8] ~= '' then
  local queue = queueOf(ARGV[8])
  local at = now()
  for i = #fresh, 1, -1 do addTicket(queue, fresh[i], 'v', 'RPUSH', at, 0) end
  wakeQueue(queue)
elseif #fresh > 0 then
  local at = now()
  local lanes = {}
  for i = #fresh, 1, -1 do
    local rec = call('HGET', N, fresh[i])
    lanes[laneOf(rec)] = true
    lanes[settleLaneOf(rec)] = true
    addTicket(queueOf(laneOf(rec)), fresh[i], 'v', 'RPUSH', at, 0)
  end
  wakeLanes(lanes)
end
if ARGV[7] ~= '1' then return { 'more' } end
if state(n) == 'e' then
  -- not earlier: a settle that is done again after a crash must find what it found
  call('HSET', N, n..'k', ARGV[6])
  moved(n, tonumber(ARGV[12]), tonumber(ARGV[13]))
  if ARGV[12] ~= '0' then call('HINCRBY', M, 'by', ARGV[12]) end
  if call('HINCRBY', N, n..'c', -1) > 0 then set(n, 'x')
  else
    set(n, 'r')
    if ARGV[11] == '' then return { 'ready' } end
    local queue = queueOf(ARGV[11])
    addTicket(queue, n, 'p', 'RPUSH', now(), round)
    wakeQueue(queue)
  end
end
-- the ticket is done with; a later one settles the node
call('SREM', A, n)
return { 'open', unlock(ARGV[2], ARGV[3], ARGV[4]) or {} }
`);
