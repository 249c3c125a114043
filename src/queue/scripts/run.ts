import { Script } from '../script.ts';
import { ADDING, BASE, ENDING, LIVE } from './graph.ts';
import { TICKETS } from './tickets.ts';

/**
 * Stores a request, before anything else is done about it. ARGV: key of the request or empty, images open at most, to keep for (ms),
 * number of images, labels as JSON, watch for (ms), 1 when it goes ahead of what waits, then chunks of roots. Answers the id of the run: that of
 * an open run of the same request, if there is one.
 */
export const submit = new Script(`${BASE}${ENDING}
if ARGV[1] ~= '' then
  local same = call('GET', ARGV[1])
  if same and call('HGET', TAG..':r:'..same..':m', 'st') == 'running' then return same end
end
if call('EXISTS', M) == 1 then return RUN end
local at = now()
call('HSET', M, 'st', 'running', 'created', at, 'seq', 0, 'open', 0, 'roots', ARGV[4], 'chunks', #ARGV - 7, 'fc', 0,
  'fed', #ARGV == 7 and 1 or 0, 'ib', math.ceil(ARGV[4] * 12 / 64) + 1, 'high', ARGV[2], 'low', math.ceil(ARGV[2] / 2), 'keep', ARGV[3], 'labels', ARGV[5])
if ARGV[6] ~= '0' then call('HSET', M, 'watch', at + ARGV[6]) end
if ARGV[7] == '1' then call('HSET', M, 'ahead', 1) end
for i = 8, #ARGV do call('RPUSH', B..':q', ARGV[i]) end
if ARGV[1] ~= '' then
  call('SET', ARGV[1], RUN)
  call('HSET', M, 'req', ARGV[1])
end
call('ZADD', TAG..':runs', at, RUN)
call('SADD', TAG..':open', RUN)
call('PUBLISH', TAG..':control', cjson.encode({ k = 'feed', r = RUN }))
closeRun()
return RUN
`);

/**
 * Adds the roots of one chunk of the request, with their tickets. ARGV: number of the chunk, then index, key and record for each.
 * Answers 1 when there is room for the next chunk, 0 when not, -1 when somebody else has fed this one.
 */
export const feed = new Script(`${BASE}${LIVE}${ENDING}${TICKETS}${ADDING}
local m = call('HMGET', M, 'st', 'fc', 'ib', 'ahead')
if m[1] ~= 'running' or m[2] ~= ARGV[1] then return -1 end
local at = now()
-- at the end from which workers take: before all that waits, without the cost of BullMQ's priorities
local push = m[4] and 'RPUSH' or 'LPUSH'
local lanes = {}
local opened = 0
for i = 2, #ARGV, 3 do
  local index, key, rec = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local hash = indexOf(key, m[3])
  local id = call('HGET', hash, key)
  local s = id and state(id)
  if s == 'd' then
    call('XADD', E, '*', 'i', index, 's', 'done')
    call('HINCRBY', M, 'ok', 1)
  elseif s == 'f' and not mayRevive(id, rec) then
    local err = cjson.decode(call('HGET', N, id..'f')).e
    call('XADD', E, '*', 'i', index, 's', 'failed', 'e', err)
    countFailed(err)
  else
    if isOpen(s) and live(id) then
      join(id, '0='..index, rec)
    else
      if isOpen(s) then drop(id) end
      id = create(hash, key, '0='..index, rec, s == 'f' and id)
      local lane = laneOf(rec)
      lanes[lane] = true
      lanes[settleLaneOf(rec)] = true
      addTicket(queueOf(lane), id, 'v', push, at, 0)
    end
    opened = opened + 1
  end
end
call('HINCRBY', M, 'open', opened)
wakeLanes(lanes)
local fc = call('HINCRBY', M, 'fc', 1)
local n = call('HMGET', M, 'chunks', 'open', 'high')
if fc >= tonumber(n[1]) then
  call('HSET', M, 'fed', 1)
  closeRun()
  return 0
end
return tonumber(n[2]) < tonumber(n[3]) and 1 or 0
`);

/** Ends a run before its time. ARGV: why. Answers 1; 0 when it has ended already, -1 when there is none. Workers are told. */
export const cancel = new Script(`${BASE}${ENDING}
local st = call('HGET', M, 'st')
if not st then return -1 end
if st ~= 'running' then return 0 end
call('HSET', M, 'st', 'cancelled', 'ended', now(), 'why', ARGV[1])
call('PUBLISH', TAG..':control', cjson.encode({ k = 'cancel', r = RUN }))
closeRun()
return 1
`);

/** Which of the nodes in a worker's hands nobody wants any more. ARGV: ids. Answers `{run state, id, ...}`. */
export const unwanted = new Script(`${BASE}${LIVE}
local res = { call('HGET', M, 'st') or '' }
if res[1] == 'running' then
  for i = 1, #ARGV do
    local s = state(ARGV[i])
    if s ~= 'd' and s ~= 'f' and not live(ARGV[i]) then res[#res + 1] = ARGV[i] end
  end
end
return res
`);

/**
 * Adds tickets for a slice of all nodes, where one may be lost. ARGV: first id, how many. Answers the next id, or 0. A ticket that exists is
 * not added twice.
 */
export const sweep = new Script(`${BASE}${LIVE}${ENDING}${TICKETS}
local m = call('HMGET', M, 'st', 'seq')
if m[1] ~= 'running' then
  closeRun()
  return 0
end
local first, last = tonumber(ARGV[1]), tonumber(m[2])
local till = math.min(last, first + ARGV[2] - 1)
local at = now()
local lanes = {}
local states = call('GETRANGE', S, first, till)
for i = 1, #states do
  local s = string.sub(states, i, i)
  if s == 'w' or s == 'e' or s == 'r' then
    local n = tostring(first + i - 1)
    if live(n) then
      local kept = call('HMGET', N, n, n..'o')
      local round = tonumber(kept[2] or '0')
      local settles = s == 'r' or (s == 'e' and round > 0)
      if s == 'e' then round = round - 1 end
      local lane = settles and settleLaneOf(kept[1]) or laneOf(kept[1])
      lanes[lane] = true
      addTicket(queueOf(lane), n, settles and 'p' or 'v', 'LPUSH', at, round)
    else drop(n) end
  end
end
wakeLanes(lanes)
closeRun()
return till < last and till + 1 or 0
`);

/** Nodes that are noted as in somebody's hand although their ticket is gone. ARGV: ids whose ticket does not exist. */
export const unhand = new Script(`${BASE}${ENDING}
if #ARGV > 0 then call('SREM', A, unpack(ARGV)) end
closeRun()
return 1
`);
