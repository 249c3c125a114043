/**
 * The note in the lock of an ingest. It lists the earlier owners whose files are still there: whoever took the lock over may
 * have been killed before it had their bytes in a file of its own, and no other place tells of them.
 */
import type { IngestRequest } from '../content/ports.ts';
import { isOwner, type LockNote, type LockSeen } from './lock-file.ts';

/** What an ingest is to write. */
interface Content {
  /** Empty when nobody said. */
  readonly digest: string;
  /** Bytes; -1 when nobody said. */
  readonly size: number;
}

/** One owner's try. Its bytes are in the file that the owner names. */
export interface Attempt extends Content {
  readonly owner: string;
}

/** There are two unless files cannot be removed. What is left out, the garbage collection finds. */
const MAX_EARLIER = 8;

export const contentOf = ({ digest, size }: IngestRequest): Content => ({ digest: digest ?? '', size: size ?? -1 });

/** @param earlier those whose files are there, the ones that matter most first */
export const noteOf = (
  request: IngestRequest,
  previous: LockSeen | undefined,
  earlier: readonly Attempt[],
): LockNote => ({
  ref: request.ref,
  ...contentOf(request),
  startedAt: (previous === undefined ? undefined : startOf(previous.note))?.getTime() ?? Date.now(),
  earlier: earlier.slice(0, MAX_EARLIER).map(plain),
});

/** For whoever takes a lock over only to remove what it protects: if that is killed as well, the next one still knows all. */
export const sameNote = (previous: LockSeen | undefined): LockNote =>
  previous === undefined ? {} : { ...previous.note, earlier: attemptsOf(previous) };

/** The owner of the lock, and those before. The file may be of anybody: what does not look like an attempt is left out. */
export function attemptsOf({ owner, note }: LockSeen): Attempt[] {
  const earlier: unknown = note['earlier'];
  const listed: readonly unknown[] = Array.isArray(earlier) ? earlier.slice(0, MAX_EARLIER) : [];
  return [{ ...note, owner }, ...listed].filter(isAttempt).map(plain);
}

/** An ingest keeps the time at which it was first started, through every takeover. */
export function startOf({ startedAt }: LockNote): Date | undefined {
  return typeof startedAt === 'number' && Number.isSafeInteger(startedAt) ? new Date(startedAt) : undefined;
}

const plain = ({ owner, digest, size }: Attempt): Attempt => ({ owner, digest, size });

const isAttempt = (value: unknown): value is Attempt =>
  typeof value === 'object' &&
  value !== null &&
  'owner' in value &&
  isOwner(value.owner) &&
  'digest' in value &&
  typeof value.digest === 'string' &&
  'size' in value &&
  typeof value.size === 'number';
