import { Script } from '../script.ts';
import { BASE, ENDING, LIVE } from './graph.ts';

/** Whether a paused lane goes on is looked at so often by who would write to it. */
const PAUSED_MS = 5_000;

/**
 * A worker has a ticket in its hand: is there something to do? ARGV: id, phase (v, p), owner of the lease, lane, lease ms, worker.
 * Answers `{'go', phase, record, watched, tries, fence, what is left for settle, round, ms}`, the ms since another was first found to have
 * the lease, or -1; `{'busy', worker}` when another has it (the ticket is noted, to be told when it is given up); `{'blocked', ms}` when the registry that content would go to wants to
 * be left alone, or its lane is paused; `{'gone'}`, `{'stale'}`, `{'dead'}`: nothing to do. A settle whose children were being added when its worker died
 * is done again from its start.
 */
export const begin = new Script(`${BASE}${LIVE}${ENDING}
local n, phase, owner = ARGV[1], ARGV[2], ARGV[3]
local m = call('HMGET', M, 'st', 'watch')
if m[1] ~= 'running' then
  call('SREM', A, n)
  closeRun()
  return { 'gone' }
end
local s = state(n)
if s ~= 'r' and s ~= 'w' and s ~= 'e' then
  call('SREM', A, n)
  return { 'stale' }
end
local known = call('HMGET', N, n, n..'p', n..'t', n..'k', n..'o', n..'y')
local round = tonumber(known[5] or '0')
local settles = s == 'r' or (s == 'e' and round > 0)
if s == 'e' then round = round - 1 end
if phase == 'p' and not settles then
  call('SREM', A, n)
  return { 'stale' }
end
if not live(n, split(known[2])) then
  drop(n)
  call('SREM', A, n)
  closeRun()
  return { 'dead' }
end
local fence = 0
if not settles then
  local kind, target, digest = string.match(known[1], '^%["(%a)","[^"]*","([^"]*)","[^"]*","([^"]*)"', 10)
  local place = target and string.match(target, '^([^/]+)/')
  if place and place ~= ARGV[4] then
    local ms = (call('HGET', TAG..':lane:'..place, 'till') or 0) - now()
    if call('HEXISTS', TAG..':'..string.gsub(place, ':', '_')..':meta', 'paused') == 1 then ms = math.max(ms, ${PAUSED_MS}) end
    if ms > 0 then
      call('SREM', A, n)
      return { 'blocked', ms }
    end
  end
  if kind ~= 'i' then
    if kind == 'b' and place then target = place end
    local key = TAG..':l:'..target..' '..digest
    local held = call('GET', key)
    if held and string.sub(held, 1, #owner + 1) ~= owner..' ' then
      local line = '\\n'..ARGV[4]..' '..owner
      if not string.find(held..'\\n', line..'\\n', 1, true) then call('SET', key, held..line, 'KEEPTTL') end
      if not known[6] then call('HSET', N, n..'y', now()) end
      call('SREM', A, n)
      return { 'busy', string.match(held, '^%S+ %S+ (%S+)') }
    end
    fence = call('INCR', TAG..':fence')
    local waiting = held and string.match(held, '\\n.*') or ''
    call('SET', key, owner..' '..fence..' '..ARGV[6]..' '..now()..waiting, 'PX', ARGV[5])
  end
end
call('SADD', A, n)
if not settles and string.find(known[2], '0=', 1, true) then call('HSETNX', N, n..'a', now()) end
local waited = -1
if known[6] then
  waited = math.max(0, now() - known[6])
  call('HDEL', N, n..'y')
end
local watched = m[2] and tonumber(m[2]) > now() and 1 or 0
local left = settles and known[4] or ''
return { 'go', settles and 'p' or 'v', known[1], watched, known[3] or '0', tostring(fence), left, round, waited }
`);
