import type { LaneStatus } from '../flow/farm-status.ts';
import { ageText, isoOf, quotaText } from './farm-text.ts';
import type { View } from './output.ts';
import { durationText } from './units.ts';

/** Lanes as rows and as JSON. */
export const laneView: View<LaneStatus> = {
  header: ['LANE', 'WAITING', 'ACTIVE', 'DELAYED', 'OLDEST', 'CONCURRENCY', 'QUOTA', 'WORKERS', 'STATE'],
  row: (lane) => [
    lane.name,
    String(lane.tickets.waiting),
    String(lane.tickets.active),
    String(lane.tickets.delayed),
    lane.oldestAt === undefined ? '-' : ageText(lane.oldestAt),
    String(lane.concurrency ?? '-'),
    quotaCell(lane),
    String(lane.workers),
    stateOf(lane),
  ],
  json: ({ name, tickets, oldestAt, concurrency, quota, headroom, paused, blockedUntil, blockedBecause, workers }) => ({
    name,
    ...tickets,
    oldestAt: oldestAt === undefined ? null : isoOf(oldestAt),
    concurrency: concurrency ?? null,
    quota: quota ?? null,
    headroom,
    paused,
    blockedUntil: blockedUntil === undefined ? null : isoOf(blockedUntil),
    blockedBecause: blockedBecause ?? null,
    workers,
  }),
};

/** What is left for whoever has the least, and what is allowed: `73 of 100/6h`. */
function quotaCell({ quota, headroom }: LaneStatus): string {
  const [scarcest] = headroom.toSorted((a, b) => a.remaining - b.remaining);
  if (quota === undefined) return scarcest === undefined ? '-' : `${scarcest.remaining} of ${scarcest.limit}`;
  return scarcest === undefined ? quotaText(quota) : `${scarcest.remaining} of ${quotaText(quota)}`;
}

function stateOf({ paused, blockedUntil, blockedBecause }: LaneStatus): string {
  const blocked =
    blockedUntil === undefined
      ? []
      : [`blocked for ${durationText(Math.max(0, blockedUntil - Date.now()))}: ${blockedBecause ?? ''}`];
  return [...(paused ? ['paused'] : []), ...blocked].join(', ') || 'open';
}
