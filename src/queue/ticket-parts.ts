/** What a worker lends to each ticket, and what it gets back. */
import type { WorkerObserver } from '../flow/farm-observer.ts';
import type { Handler } from '../flow/handler.ts';
import type { GraphLimits } from '../flow/step.ts';
import type { EventSender } from './events.ts';
import type { SlotLeases } from './slots.ts';
import type { Tickets } from './tickets.ts';

/** Points at which a test may stop a worker. */
export type Step = 'visited' | 'added' | 'settling' | 'done';

/** What every ticket of a worker needs. */
export interface TicketParts {
  readonly handler: Handler;
  readonly limits: GraphLimits;
  readonly tickets: Tickets;
  readonly slots: SlotLeases;
  readonly worker: string;
  /** Tries of a node that fails for a passing reason, the first included. */
  readonly attempts: number;
  readonly leaseMs: number;
  readonly retryDelayMs: (tries: number) => number;
  /** Whether this worker has the place where a node's content goes, such as its store. */
  readonly hasTarget: (target: string) => boolean;
  readonly observer: WorkerObserver | undefined;
  readonly onStep: (step: Step) => Promise<void> | void;
  /** A run wants further images to be handed to the workers. */
  readonly onHungry: (run: string) => void;
  sender(run: string): EventSender;
}

/** Why a ticket is put down before its end. */
export type StopReason = 'unwanted' | 'lost' | 'stopping';

export class Stop extends Error {
  readonly reason: StopReason;

  constructor(reason: StopReason) {
    super(`stopped: ${reason}`);
    this.reason = reason;
  }
}

/** What becomes of the job. */
export type Outcome =
  | { readonly state: 'done' | 'failed' | 'dropped' }
  /** Once more after a while; what waits for a lease is woken earlier. */
  | { readonly state: 'parked' | 'retried'; readonly afterMs: number }
  /** The registry of a lane, which need not be that of the ticket, wants to be left alone by everybody. */
  | { readonly state: 'blocked'; readonly lane: string; readonly afterMs: number; readonly why: string }
  /** For another worker, at once. */
  | { readonly state: 'returned' };
