import { Script } from '../script.ts';
import { ADDING, BASE, ENDING, LIVE } from './graph.ts';

/** Children in one call: a script that runs for long keeps all others waiting. */
export const MAX_CHILDREN_A_CALL = 500;

/**
 * Hangs children below a node whose visit answered them. ARGV: id, what it resolved to, its children for settle, 1 with the last
 * chunk, then key and record for each. The parent counts one open child too many until the last chunk is in: else it would
 * be ready before all of them are known. Answers `{'ok', ready | open | more, index, id, ...}` with those that need a ticket,
 * by their index within this call; `{'broken', error}` when one has failed for good (the images are failed already);
 * `{'cycle', index}`; `{'late'}` when the node does not wait for children any more.
 */
export const add = new Script(`${BASE}${LIVE}${ENDING}${ADDING}
local n = ARGV[1]
if call('HGET', M, 'st') ~= 'running' then return { 'late', 'gone' } end
local s = state(n)
if s == 'w' then
  set(n, 'e')
  call('HSET', C, n, 1)
  if ARGV[2] ~= '' then call('HSET', K, n..'r', ARGV[2]) end
  if ARGV[3] ~= '' then call('HSET', K, n, ARGV[3]) end
elseif s ~= 'e' and s ~= 'x' then return { 'late', s or '' } end
local ancestors
local function isAbove(id)
  if not ancestors then
    ancestors = { [n] = true }
    local open = { n }
    local at = 1
    while open[at] do
      for _, p in ipairs(parents(open[at])) do
        if p ~= '0' and not ancestors[p] then ancestors[p] = true open[#open + 1] = p end
      end
      at = at + 1
    end
  end
  return ancestors[id]
end
local res = { 'ok', 'more' }
local more = 0
local broken, cycle
for i = 5, #ARGV, 2 do
  local key, rec = ARGV[i], ARGV[i + 1]
  local id = call('HGET', I, key)
  local cs = id and state(id)
  if cs ~= 'd' then
    local old = id
    if cs == 'f' then
      if mayRevive(id, rec) then id = nil else broken = cjson.decode(call('HGET', F, id)).e break end
    elseif cs == 'w' or cs == 'e' or cs == 'x' or cs == 'r' then
      if id == n or ((cs == 'e' or cs == 'x') and isAbove(id)) then cycle = (i - 5) / 2 break end
      if live(id) then
        if join(id, n, rec) then more = more + 1 end
      else
        drop(id)
        id = nil
      end
    else id = nil end
    if not id then
      id = create(key, n, rec, old)
      more = more + 1
      res[#res + 1] = (i - 5) / 2
      res[#res + 1] = id
    end
  end
end
if more > 0 then call('HINCRBY', C, n, more) end
if known > 0 then call('HINCRBY', M, 'nk', known) end
if cycle then return { 'cycle', cycle } end
if broken then
  failAbove(n, broken)
  drop(n)
  return { 'broken', broken, hungry() }
end
if ARGV[4] == '1' then
  res[2] = 'open'
  if state(n) == 'e' then
    if call('HINCRBY', C, n, -1) == 0 then
      set(n, 'r')
      call('HDEL', C, n)
      res[2] = 'ready'
    else set(n, 'x') end
  end
end
return res
`);
