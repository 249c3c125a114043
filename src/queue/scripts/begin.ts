import { Script } from '../script.ts';
import { BASE, ENDING, LEASE, LIVE } from './graph.ts';

/**
 * A worker has a ticket in its hand: is there something to do? ARGV: id, phase (v, p), owner of the lease, lane, lease ms, worker.
 * Answers `{'go', phase, record, watched, tries, fence, children}`; `{'busy', worker}` when another has the lease (the ticket
 * is noted, to be told when it is given up); `{'gone', run state}`, `{'stale', state}`, `{'dead'}`: nothing to do.
 */
export const begin = new Script(`${BASE}${LIVE}${ENDING}${LEASE}
local n, phase, owner = ARGV[1], ARGV[2], ARGV[3]
local m = call('HMGET', M, 'st', 'watch')
if m[1] ~= 'running' then
  call('SREM', A, n)
  closeRun()
  return { 'gone', m[1] or '' }
end
local s = state(n)
if s ~= 'r' and (phase == 'p' or (s ~= 'w' and s ~= 'e')) then
  call('SREM', A, n)
  return { 'stale', s or '' }
end
if not live(n) then
  drop(n)
  call('SREM', A, n)
  closeRun()
  return { 'dead' }
end
local rec = call('HGET', D, n)
local fence = 0
if s ~= 'r' then
  local node = cjson.decode(string.sub(rec, 10))
  if node[1] ~= 'i' then
    local name = node[3]..' '..node[5].digest
    local L = TAG..':l:'..name
    local held = call('HMGET', L, 'o', 'w')
    if held[1] and held[1] ~= owner then
      call('SADD', TAG..':wait:'..name, ARGV[4]..' '..owner)
      call('PEXPIRE', TAG..':wait:'..name, 3600000)
      call('SREM', A, n)
      return { 'busy', held[2] or '' }
    end
    fence = call('INCR', TAG..':fence')
    call('HSET', L, 'o', owner, 'f', fence, 'w', ARGV[6], 'at', now())
    call('PEXPIRE', L, ARGV[5])
  end
end
call('SADD', A, n)
local watched = m[2] and tonumber(m[2]) > now() and 1 or 0
return { 'go', s == 'r' and 'p' or 'v', rec, watched, call('HGET', T, n) or '0', tostring(fence), s == 'r' and call('HGET', K, n) or '' }
`);
