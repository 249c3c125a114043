/** From what became of a ticket to what becomes of its job. BullMQ is told to keep a job by an error of its own kind. */
import { DelayedError, type Job, WaitingError, Worker } from 'bullmq';
import type { Lanes } from './lanes.ts';
import type { Outcome } from './ticket-parts.ts';
import type { TicketData } from './tickets.ts';

/** A job in the hand of a worker. */
export interface HeldJob {
  readonly job: Job<TicketData>;
  /** Of the lock on it. */
  readonly token: string;
  readonly lane: string;
}

/** Back into the queue, for any worker, at once. Always throws what BullMQ has to see. */
export async function putBack({ job, token }: HeldJob): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

/** Once more after a while. Always throws what BullMQ has to see. */
export async function delay({ job, token }: HeldJob, ms: number): Promise<never> {
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

/** Resolves when the job is over, and BullMQ may delete it. */
export async function applyOutcome(held: HeldJob, outcome: Outcome, lanes: Lanes): Promise<void> {
  switch (outcome.state) {
    case 'done':
    case 'failed':
    case 'dropped':
      return;
    case 'returned':
      return putBack(held);
    case 'parked':
    case 'retried':
      return delay(held, outcome.afterMs);
    case 'blocked': {
      const leftMs = await lanes.block(outcome.lane, outcome.afterMs, outcome.why);
      // The lane of the ticket itself may be free: others of it go elsewhere.
      if (outcome.lane !== held.lane) return delay(held, leftMs);
      throw Worker.RateLimitError();
    }
  }
}
