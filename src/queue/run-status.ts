/** Where a run stands, from what Redis keeps of it. */
import type { RunState, RunStatus } from '../flow/farm-status.ts';

/** Images that are handed to the workers together. */
export const CHUNK = 250;

const STATES: ReadonlySet<string> = new Set<RunState>(['running', 'done', 'cancelled']);
const isState = (text: string | undefined): text is RunState => text !== undefined && STATES.has(text);

/** @param fields of the hash of a run; see scripts/graph.ts */
export function statusOf(id: string, fields: Readonly<Record<string, string>>): RunStatus {
  const number = (name: string): number => Number(fields[name] ?? 0);
  const state = isState(fields['st']) ? fields['st'] : 'cancelled';
  const [total, done, failed] = [number('roots'), number('ok'), number('bad')];
  const isOver = state !== 'running';
  const createdAt = number('created');
  const endedAt = isOver ? number('ended') : undefined;
  const labels: Record<string, string> = JSON.parse(fields['labels'] ?? '{}');
  const fed = fields['fed'] === '1' ? total : Math.min(total, number('fc') * CHUNK);
  const tookMs = Math.max(1, (endedAt ?? Date.now()) - createdAt);
  const ended = done + failed;
  return {
    id,
    state,
    createdAt,
    endedAt,
    images: {
      total,
      fed,
      open: isOver ? 0 : number('open'),
      done,
      failed,
      cancelled: isOver ? total - ended : 0,
    },
    // An image that was handed out is a node as well, and counted with them when it ends.
    nodes: { known: number('nk') + fed, done: number('nd'), failed: number('nf'), skipped: number('ns') },
    bytes: number('by'),
    bytesPerSecond: Math.round((number('by') * 1000) / tookMs),
    etaMs: isOver || ended === 0 ? undefined : Math.round((tookMs / ended) * (total - ended)),
    failuresByCode: failuresOf(fields),
    labels,
  };
}

/** Those of runs that began before they were counted have none. */
const failuresOf = (fields: Readonly<Record<string, string>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => name.startsWith('f:'))
      .map(([name, failed]) => [name.slice(2), Number(failed)]),
  );
