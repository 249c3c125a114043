/** What stands in a lock file: a line of JSON that never changes, then a heartbeat of fixed length that is written over. */
import { livenessOf, ownProcess, type ProcessId } from './process-id.ts';

/** What a lock says about what it protects; plain JSON. */
export type LockNote = Readonly<Record<string, unknown>>;

export interface LockSeen {
  /** Empty when the file does not tell. */
  readonly owner: string;
  readonly note: LockNote;
  /** left: nobody holds it, its owner has gone or is known to be dead. unknown: only the heartbeat can tell. */
  readonly holder: 'alive' | 'left' | 'unknown';
}

const BEAT_LENGTH = 12;
export const LEFT_BEHIND = 'x'.repeat(BEAT_LENGTH);

export const beatText = (beats: number): string => String(beats).padStart(BEAT_LENGTH, '0');

export function lockHead(owner: string, note: LockNote): string {
  const process = ownProcess();
  return `${JSON.stringify({ owner, note, ...(process === undefined ? {} : { process }) })}\n`;
}

/** An owner becomes part of a file name, so nothing else passes. */
const OWNER = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const isOwner = (value: unknown): value is string => typeof value === 'string' && OWNER.test(value);

/** A file that is being written, or was torn by a crash, tells nothing; it will be stale after a while. */
const TELLS_NOTHING: LockSeen = { owner: '', note: {}, holder: 'unknown' };

export function parseLock(content: string): LockSeen {
  const end = content.indexOf('\n');
  try {
    const record: { owner?: unknown; note?: unknown; process?: ProcessId } | null = JSON.parse(content.slice(0, end));
    if (record === null || !isOwner(record.owner)) return TELLS_NOTHING;
    const note = typeof record.note === 'object' && record.note !== null ? { ...record.note } : {};
    const liveness = livenessOf(record.process);
    const left = content.slice(end + 1) === LEFT_BEHIND || liveness === 'dead';
    return { owner: record.owner, note, holder: left ? 'left' : liveness };
  } catch {
    return TELLS_NOTHING;
  }
}
