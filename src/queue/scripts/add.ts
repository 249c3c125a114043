import { Script } from '../script.ts';
import { ADDING, BASE, ENDING, LEASE, LIVE } from './graph.ts';
import { TICKETS } from './tickets.ts';

/** Children in one call: a script that runs for long keeps all others waiting. */
export const MAX_CHILDREN_A_CALL = 500;

/**
 * Hangs children below a node whose visit answered them, with a ticket for each that needs one. ARGV: id, lease or empty, owner, fence, what it resolved to, its
 * children for settle, 1 with the last chunk, lane, 1 when somebody watches, then key and record for each. The parent counts one
 * open child too many until the last chunk is in: else it would be ready before all of them are known. Answers `{'ready'}`; `{'open',
 * parked tickets}`, with what was held given up; `{'more'}`;
 * `{'broken', error, hungry}` when one has failed for good (the images are failed already); `{'cycle', index}`; `{'late'}` when the
 * node does not wait for children any more.
 */
export const add = new Script(`${BASE}${LIVE}${ENDING}${LEASE}${TICKETS}${ADDING}
local n = ARGV[1]
local m = call('HMGET', M, 'st', 'ib')
if m[1] ~= 'running' then return { 'late' } end
local s = state(n)
if s == 'w' then
  set(n, 'e')
  call('HSET', N, n..'c', 1, n..'k', ARGV[6])
  if ARGV[5] ~= '' then call('HSET', N, n..'r', ARGV[5]) end
elseif s ~= 'e' and s ~= 'x' then return { 'late' } end
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
for i = 10, #ARGV, 2 do
  local key, rec = ARGV[i], ARGV[i + 1]
  local index = indexOf(key, m[2])
  local id = call('HGET', index, key)
  local cs = id and state(id)
  if cs ~= 'd' then
    local failed = cs == 'f' and id
    if cs == 'f' then
      if mayRevive(id, rec) then id = nil else broken = cjson.decode(call('HGET', N, id..'f')).e break end
    elseif isOpen(cs) then
      if id == n or ((cs == 'e' or cs == 'x') and isAbove(id)) then cycle = (i - 10) / 2 break end
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
if #fresh > 0 then
  local queue = queueOf(ARGV[8])
  local at = now()
  -- the last one in is the first one out: children start in the order of their parent
  for i = #fresh, 1, -1 do addTicket(queue, fresh[i], 'v', 'RPUSH', at) end
  wakeQueue(queue)
end
if ARGV[7] ~= '1' then return { 'more' } end
if state(n) == 'e' then
  if call('HINCRBY', N, n..'c', -1) == 0 then
    set(n, 'r')
    return { 'ready' }
  end
  set(n, 'x')
end
-- the ticket is done with; a later one settles the node
call('SREM', A, n)
return { 'open', unlock(ARGV[2], ARGV[3], ARGV[4]) or {} }
`);
