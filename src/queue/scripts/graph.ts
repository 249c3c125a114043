/**
 * What all scripts on the graph of a run share. The keys of run R, each `{tag}:r:R` and a letter:
 *
 *   m  hash    st (running, done, cancelled), counters, times, labels      i  hash   node key -> id
 *   q  list    the request: chunks of roots as JSON                        s  string one byte a node, by id: its state
 *   d  hash    id -> way (8), depth (1), node as JSON; see record.ts       p  hash   id -> ids of parents; 0 is the run
 *   c  hash    id -> open children, +1 while they are being added          w  hash   id -> other ways to the content
 *   k  hash    id -> children between visit and settle; id..r -> what it resolved to
 *   f  hash    id -> why it failed                                         t  hash   id -> tries that failed
 *   j  hash    id -> index in the request, for roots                       a  set    ids that some worker has in hand
 *   e  stream  one entry an image that has ended, and a last one when nobody has anything of the run in hand
 *
 * States: w wanted, e children are being added, x waits for children, r ready to settle; d done, f failed, o orphaned: nobody
 * wants it. An id lives once: what is wanted again after f or o gets a new id, so that nothing which still runs for the old one
 * can be taken for the new one.
 */

/** Keys, states, parents. */
export const BASE = `
local B = KEYS[1]
local M, I, S, D, P, C, W, K, F, T, J, A, E = B..':m', B..':i', B..':s', B..':d', B..':p', B..':c', B..':w', B..':k', B..':f', B..':t', B..':j', B..':a', B..':e'
local TAG = string.match(B, '^{[^}]*}')
local RUN = string.sub(B, #TAG + 4)
local call = redis.call
local function now() local t = call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
local function state(n)
  local v = call('GETRANGE', S, n, n)
  if v == '' or v == '\\0' then return nil end
  return v
end
local function set(n, v) call('SETRANGE', S, n, v) end
local function split(v)
  local t = {}
  if v then for x in string.gmatch(v, '[^,]+') do t[#t + 1] = x end end
  return t
end
local function parents(n) return split(call('HGET', P, n)) end
local function forget(n)
  call('HDEL', D, n) call('HDEL', P, n) call('HDEL', C, n) call('HDEL', W, n) call('HDEL', K, n, n..'r') call('HDEL', T, n) call('HDEL', J, n)
end
local function drop(n) set(n, 'o') forget(n) end
`;

/** Whether some open image leads to a node. */
export const LIVE = `
local alive = {}
local function live(n)
  if alive[n] ~= nil then return alive[n] end
  alive[n] = false
  for _, p in ipairs(parents(n)) do
    if p == '0' then alive[n] = true break end
    local s = state(p)
    if (s == 'e' or s == 'x') and live(p) then alive[n] = true break end
  end
  return alive[n]
end
`;

/** The end of images, and of the run once all have ended and nobody has anything of it in hand. */
export const ENDING = `
local function closeRun()
  local m = call('HMGET', M, 'st', 'fed', 'open', 'tidy', 'req')
  if m[1] == 'running' and m[2] == '1' and tonumber(m[3]) <= 0 then
    m[1] = 'done'
    call('HSET', M, 'st', 'done', 'ended', now())
    call('PUBLISH', TAG..':control', cjson.encode({ k = 'ended', r = RUN }))
  end
  if m[1] and m[1] ~= 'running' and m[4] ~= '1' and call('SCARD', A) == 0 then
    local keep = tonumber(call('HGET', M, 'keep'))
    call('HSET', M, 'tidy', 1)
    call('UNLINK', I, S, D, P, C, W, K, F, T, J, A)
    call('PEXPIRE', M, keep) call('PEXPIRE', E, keep) call('PEXPIRE', B..':q', keep)
    if m[5] and call('GET', m[5]) == RUN then call('DEL', m[5]) end
    call('SREM', TAG..':open', RUN)
    call('XADD', E, '*', 'end', m[1])
  end
end
local function imageEnded(n, st, err)
  local entry = { 'i', call('HGET', J, n) or '', 's', st }
  local desc = call('HGET', K, n..'r')
  if desc then entry[#entry + 1] = 'd' entry[#entry + 1] = desc end
  if err then entry[#entry + 1] = 'e' entry[#entry + 1] = err end
  call('XADD', E, '*', unpack(entry))
  call('HINCRBY', M, st == 'done' and 'ok' or 'bad', 1)
  call('HINCRBY', M, 'open', -1)
end
-- whether the run wants more images to be handed to the workers
local function hungry()
  local m = call('HMGET', M, 'fed', 'open', 'low')
  return m[1] ~= '1' and tonumber(m[2]) < tonumber(m[3]) and 1 or 0
end
-- fails every image that leads to n; what stands between is dropped
local function failAbove(n, err)
  local open = { n }
  local at = 1
  while open[at] do
    local each = open[at]
    at = at + 1
    for _, p in ipairs(parents(each)) do
      if p == '0' then imageEnded(each, 'failed', err)
      else
        local s = state(p)
        if s == 'e' or s == 'x' then set(p, 'o') open[#open + 1] = p end
      end
    end
    if each ~= n then forget(each) end
  end
  call('PUBLISH', TAG..':control', cjson.encode({ k = 'unwanted', r = RUN }))
end
`;

/** The lease on a node's content, by target and digest. What holds it may have been dropped since: so its name is told. */
export const LEASE = `
-- gives up the lease; answers the tickets that wait for it, or nil when it is not ours any more
local function unlock(name, owner, fence)
  if name == '' then return {} end
  local L = TAG..':l:'..name
  local held = call('HMGET', L, 'o', 'f')
  if held[1] ~= owner or held[2] ~= fence then return nil end
  call('DEL', L)
  local waiting = TAG..':wait:'..name
  local parked = call('SMEMBERS', waiting)
  if #parked > 0 then call('DEL', waiting) end
  return parked
end
`;

/** Adding nodes below a parent; \`above\` are the nodes that lead to it. */
export const ADDING = `
local function laneOf(rec) return string.match(cjson.decode(string.sub(rec, 10))[2], '^[^/]+') end
local function mayRevive(id, rec)
  local f = cjson.decode(call('HGET', F, id))
  if f.c == 'backoff' and (f.n <= 3 or now() - f.at >= 30000) then return true end
  if f.c == 'deep' and string.byte(rec, 9) < f.dp then return true end
  local way = string.sub(rec, 1, 8)
  for _, w in ipairs(f.w) do if w == way then return false end end
  return f.h == 'any' or (f.h == 'registry' and laneOf(rec) ~= f.l)
end
local known = 0
local function create(key, parent, rec, old)
  local id = tostring(call('HINCRBY', M, 'seq', 1))
  call('HSET', I, key, id)
  call('HSET', D, id, rec)
  call('HSET', P, id, parent)
  set(id, 'w')
  if old then
    local f = call('HGET', F, old)
    if f then call('HSET', F, id, f) call('HDEL', F, old) end
  end
  known = known + 1
  return id
end
-- a further parent for a node that is not finished; true when it was none before
local function join(id, parent, rec)
  local ps = call('HGET', P, id)
  local have = call('HGET', D, id)
  local way = string.sub(rec, 1, 8)
  if string.sub(have, 1, 8) ~= way then
    local ways = call('HGET', W, id) or ''
    if not string.find(ways, way, 1, true) and #ways < 4096 then call('HSET', W, id, ways..rec..'\\n') end
  end
  if string.byte(rec, 9) < string.byte(have, 9) then
    call('HSET', D, id, string.sub(have, 1, 8)..string.sub(rec, 9, 9)..string.sub(have, 10))
  end
  if string.find(','..ps..',', ','..parent..',', 1, true) then return false end
  call('HSET', P, id, ps..','..parent)
  return true
end
`;
