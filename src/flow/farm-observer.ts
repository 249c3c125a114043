/** What a worker tells while it handles tickets: for metrics, and for nothing that matters. */
import type { ErrorCode, ErrorOrigin } from '../errors.ts';

/** Which half of a handler a ticket asks for. */
export type TicketPhase = 'visit' | 'settle';

/**
 * How the handling of a ticket ended: `retried` after a delay, `parked` until another worker has written the content,
 * `blocked` by the limits of its registry, `dropped` because nobody waits for it any more.
 */
export type TicketOutcome = 'done' | 'failed' | 'retried' | 'parked' | 'blocked' | 'dropped';

/** A lane is named after its registry: `docker.io`, `localhost:5000`. No method may throw. */
export interface WorkerObserver {
  /** A ticket begins; `ended` follows, however it ends. */
  started(lane: string): void;
  ended(lane: string, phase: TicketPhase, outcome: TicketOutcome, seconds: number): void;
  /** From the first answer that another worker is writing to the start of the own write. */
  leaseWaited(seconds: number): void;
  /** One content was fetched and stored; `bytes` is its size. */
  transferred(lane: string, seconds: number, bytes: number): void;
  /** One content was wanted and is stored already: nothing was transferred. */
  present(lane: string): void;
  /** A node failed for good. */
  failed(code: ErrorCode, origin: ErrorOrigin): void;
}
