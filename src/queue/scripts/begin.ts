import { Script } from '../script.ts';
import { BASE, ENDING, LIVE } from './graph.ts';

/**
 * A worker has a ticket in its hand: is there something to do? ARGV: id, phase (v, p), owner of the lease, lane, lease ms, worker.
 * Answers `{'go', phase, record, watched, tries, fence, children}`; `{'busy', worker}` when another has the lease (the ticket
 * is noted, to be told when it is given up); `{'gone'}`, `{'stale'}`, `{'dead'}`: nothing to do.
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
if s ~= 'r' and (phase == 'p' or (s ~= 'w' and s ~= 'e')) then
  call('SREM', A, n)
  return { 'stale' }
end
local known = call('HMGET', N, n, n..'p', n..'t', n..'k')
if not live(n, split(known[2])) then
  drop(n)
  call('SREM', A, n)
  closeRun()
  return { 'dead' }
end
local fence = 0
if s ~= 'r' then
  local kind, target, digest = string.match(known[1], '^%["(%a)","[^"]*","([^"]*)","[^"]*","([^"]*)"', 10)
  if kind ~= 'i' then
    local key = TAG..':l:'..target..' '..digest
    local held = call('GET', key)
    if held and string.sub(held, 1, #owner + 1) ~= owner..' ' then
      local line = '\\n'..ARGV[4]..' '..owner
      if not string.find(held..'\\n', line..'\\n', 1, true) then call('SET', key, held..line, 'KEEPTTL') end
      call('SREM', A, n)
      return { 'busy', string.match(held, '^%S+ %S+ (%S+)') }
    end
    fence = call('INCR', TAG..':fence')
    local waiting = held and string.match(held, '\\n.*') or ''
    call('SET', key, owner..' '..fence..' '..ARGV[6]..' '..now()..waiting, 'PX', ARGV[5])
  end
end
call('SADD', A, n)
local watched = m[2] and tonumber(m[2]) > now() and 1 or 0
return { 'go', s == 'r' and 'p' or 'v', known[1], watched, known[3] or '0', tostring(fence), s == 'r' and known[4] or '' }
`);
