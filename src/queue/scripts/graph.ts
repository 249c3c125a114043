/**
 * What all scripts on the graph of a run share. The keys of run R, each `{tag}:r:R` and a letter:
 *
 *   m  hash    st (running, done, cancelled), counters (f:CODE: images that failed so), times, labels
 *   i: hashes  node key -> id, over so many hashes that each stays in Redis' compact form (30 bytes a node in the place of 80)
 *   q  list    the request: chunks of roots as JSON                        s  string one byte a node, by id: its state
 *   a  set     ids that some worker has in hand
 *   n  hash    what is known of a node, by id, while it is open; by id and letter:
 *                     way (8), depth (1), node as JSON; see record.ts      p  ids of parents; `0=7`: root 7 of the request
 *                  c  open children, +1 while they are being added         w  other ways to the content, a record a line
 *                  k  what is left for settle; see payload.ts              r  what it resolved to, `=` before it: is there
 *                  t  tries that failed                                    o  rounds in which settle has added children
 *                  f  why it failed; stays                                 a  for roots: when the first visit began
 *                  b  bytes moved for it and for what is done below        m  blobs mounted, likewise
 *                  y  since when it waits for the lease of another
 *   e  stream  one entry an image that has ended, and a last one when nobody has anything of the run in hand
 *
 * States: w wanted, e children are being added, x waits for children, r ready to settle; d done, f failed, o orphaned: nobody
 * wants it. An id lives once: what is wanted again after f or o, an upload also after d, gets a new id, so that nothing which still runs for the old one
 * can be taken for the new one.
 *
 * Every call costs a microsecond of the one thread that all workers share: what can be read or deleted at once is.
 */

/** Keys, states, parents. */
export const BASE = `
local B = KEYS[1]
local M, I, S, N, A, E = B..':m', B..':i', B..':s', B..':n', B..':a', B..':e'
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
local function isOpen(s) return s == 'w' or s == 'e' or s == 'x' or s == 'r' end
local function split(v)
  local t = {}
  if v then for x in string.gmatch(v, '[^,]+') do t[#t + 1] = x end end
  return t
end
local function rootOf(p) return string.match(p, '^0=(.*)') end
local function parents(n) return split(call('HGET', N, n..'p')) end
local function forget(n, more)
  call('HDEL', N, more or n, n, n..'p', n..'c', n..'w', n..'k', n..'r', n..'t', n..'o', n..'a', n..'b', n..'m', n..'y')
end
local function drop(n) set(n, 'o') forget(n) end
-- counts what was moved for a node; most that are done have moved nothing
local function moved(n, bytes, mounted)
  if bytes > 0 then call('HINCRBY', N, n..'b', bytes) end
  if mounted > 0 then call('HINCRBY', N, n..'m', mounted) end
end
`;

/** Whether some open image leads to a node; \`ps\` are its parents, where they are known. */
export const LIVE = `
local alive = {}
local function live(n, ps)
  if alive[n] ~= nil then return alive[n] end
  alive[n] = false
  for _, p in ipairs(ps or parents(n)) do
    if rootOf(p) then alive[n] = true break end
    local s = state(p)
    if (s == 'e' or s == 'x') and live(p) then alive[n] = true break end
  end
  return alive[n]
end
`;

/** The end of images, and of the run once all have ended and nobody has anything of it in hand. */
export const ENDING = `
local function closeRun()
  local m = call('HMGET', M, 'st', 'fed', 'open')
  if m[1] == 'running' and m[2] == '1' and tonumber(m[3]) <= 0 then
    m[1] = 'done'
    call('HSET', M, 'st', 'done', 'ended', now())
    call('PUBLISH', TAG..':control', cjson.encode({ k = 'ended', r = RUN }))
  end
  if m[1] and m[1] ~= 'running' and call('SCARD', A) == 0 then
    local kept = call('HMGET', M, 'tidy', 'keep', 'req', 'ib')
    if kept[1] == '1' then return end
    call('HSET', M, 'tidy', 1)
    call('UNLINK', S, N, A)
    for i = 0, tonumber(kept[4]) - 1 do call('UNLINK', I..':'..i) end
    call('XADD', E, '*', 'end', m[1])
    call('PEXPIRE', M, kept[2]) call('PEXPIRE', E, kept[2]) call('PEXPIRE', B..':q', kept[2])
    if kept[3] and call('GET', kept[3]) == RUN then call('DEL', kept[3]) end
    call('SREM', TAG..':open', RUN)
  end
end
-- counts an image that failed, also by the code of its error, of which there are few; see error-record.ts
local function countFailed(err)
  call('HINCRBY', M, 'bad', 1)
  call('HINCRBY', M, 'f:'..(string.match(err or '', '^{"code":"([%u_]+)"') or 'INTERNAL'), 1)
end
local function imageEnded(n, index, st, err, skipped)
  local entry = { 'i', index, 's', st }
  local function tell(name, value) entry[#entry + 1] = name entry[#entry + 1] = value end
  local kept = call('HMGET', N, n..'r', n..'a', n..'b', n..'m')
  if kept[1] then
    local isEqual, desc = string.match(kept[1], '^(=?)(.*)$')
    if isEqual ~= '' then tell('q', 1) end
    tell('d', desc)
  end
  if kept[2] then tell('t', math.max(0, now() - kept[2])) end
  if kept[3] then tell('b', kept[3]) end
  if kept[4] then tell('m', kept[4]) end
  if err then tell('e', err) end
  if skipped and skipped ~= '' then tell('k', skipped) end
  call('XADD', E, '*', unpack(entry))
  if st == 'done' then call('HINCRBY', M, 'ok', 1) else countFailed(err) end
  call('HINCRBY', M, 'open', -1)
end
-- after the end of an image: closes the run if it was the last one, tells whether further ones should be handed to the workers
local function afterImages()
  closeRun()
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
      local root = rootOf(p)
      if root then imageEnded(each, root, 'failed', err)
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

/**
 * The lease on a node's content, by where it goes and digest: `owner fence worker since`, then a line for each ticket that waits for it. What holds
 * it may have been dropped since: so its name is told.
 */
export const LEASE = `
-- gives up the lease; answers the tickets that wait for it, or nil when it is not ours any more
local function unlock(name, owner, fence)
  if name == '' then return {} end
  local key = TAG..':l:'..name
  local held = call('GET', key)
  local mine = owner..' '..fence..' '
  if not held or string.sub(held, 1, #mine) ~= mine then return nil end
  call('DEL', key)
  local waiting = {}
  local at = string.find(held, '\\n', 1, true)
  if at then for line in string.gmatch(string.sub(held, at + 1), '[^\\n]+') do waiting[#waiting + 1] = line end end
  return waiting
end
`;

/** Adding nodes below a parent. After TICKETS. */
export const ADDING = `
local function mayRevive(id, rec)
  local f = cjson.decode(call('HGET', N, id..'f'))
  if f.c == 'backoff' and (f.n <= 3 or now() - f.at >= 30000) then return true end
  if f.c == 'deep' and string.byte(rec, 9) < f.dp then return true end
  local way = string.sub(rec, 1, 8)
  for _, w in ipairs(f.w) do if w == way then return false end end
  if f.h == 'target' then return targetOf(rec) ~= f.g end
  return f.h == 'any' or (f.h == 'registry' and laneOf(rec) ~= f.l)
end
-- what is done is handled again when it is wanted again; see flow/handler.ts
local function isRepeatable(rec) return string.sub(rec, 10, 12) == '["u' end
-- the hash that has a key; ib is their number
local function indexOf(key, ib)
  local a, b, c = string.byte(key, 1, 3)
  return I..':'..((a * 4096 + b * 64 + c) % ib)
end
local known = 0
local function create(index, key, parent, rec, failed)
  local id = tostring(call('HINCRBY', M, 'seq', 1))
  call('HSET', index, key, id)
  call('HSET', N, id, rec, id..'p', parent)
  set(id, 'w')
  if failed then
    call('HSET', N, id..'f', call('HGET', N, failed..'f'))
    call('HDEL', N, failed..'f')
  end
  known = known + 1
  return id
end
-- a further parent for a node that is not finished; true when it was none before
local function join(id, parent, rec)
  local known = call('HMGET', N, id, id..'p', id..'w')
  local have, ps, ways = known[1], known[2], known[3] or ''
  local way = string.sub(rec, 1, 8)
  if string.sub(have, 1, 8) ~= way and #ways < 4096 and not string.find(ways, way, 1, true) then
    call('HSET', N, id..'w', ways..rec..'\\n')
  end
  if string.byte(rec, 9) < string.byte(have, 9) then
    call('HSET', N, id, string.sub(have, 1, 8)..string.sub(rec, 9, 9)..string.sub(have, 10))
  end
  if string.find(','..ps..',', ','..parent..',', 1, true) then return false end
  call('HSET', N, id..'p', ps..','..parent)
  return true
end
`;
