/**
 * Tickets, added by the same script that changes the graph: so none is ever lost between the two, and one costs 8 microseconds of
 * Redis in the place of 38 (and no round trip). This writes what BullMQ's `add` writes, for jobs without options, but for its events, which nobody reads;
 * test/pins/bullmq.test.ts holds it against the real one. BullMQ is pinned exactly.
 */
export const TICKETS = `
local function laneOf(rec) return string.match(rec, '^[^"]*"[^"]*","([^"/]+)') end
local function targetOf(rec) return string.match(rec, '^[^"]*"[^"]*","[^"]*","([^"]*)"') end
-- where a node settles: at the registry that it goes to; a store, whose id has no slash, is nobody's lane
local function settleLaneOf(rec) return string.match(targetOf(rec), '^([^/]+)/') or laneOf(rec) end
local function queueOf(lane) return TAG..':'..string.gsub(lane, ':', '_')..':' end
-- each round of settling has a ticket of its own: that of the round before may still be in a worker's hand
local function addTicket(queue, n, phase, command, at, round)
  local id = RUN..'.'..n
  local data = '{"v":2,"r":"'..RUN..'","n":"'..n..'"'
  if phase == 'p' then
    id = id..'.p'
    if round > 0 then id = id..round end
    data = data..',"p":'..(round + 1)
  end
  if call('EXISTS', queue..id) == 1 then return end
  call('HSET', queue..id, 'name', phase, 'data', data..'}', 'opts', '{}', 'timestamp', at, 'delay', 0, 'priority', 0)
  call(command, queue..'wait', id)
end
-- wakes workers that wait for a ticket, unless the lane is paused or has as many in hand as it may
local function wakeQueue(queue)
  local m = call('HMGET', queue..'meta', 'paused', 'concurrency')
  if m[1] or (m[2] and call('LLEN', queue..'active') >= tonumber(m[2])) then return end
  call('ZADD', queue..'marker', 0, '0')
end
-- a lane that workers may not know yet
local function knowLane(lane)
  if call('SADD', TAG..':lanes', lane) == 0 then return end
  call('HSET', queueOf(lane)..'meta', 'opts.maxLenEvents', 100)
  call('PUBLISH', TAG..':control', '{"k":"lane"}')
end
-- after tickets for several lanes; what is told is the set of them
local function wakeLanes(lanes)
  for lane in pairs(lanes) do
    knowLane(lane)
    wakeQueue(queueOf(lane))
  end
end
`;
