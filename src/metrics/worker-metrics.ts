import { ERROR_POLICY, type ErrorCode, type ErrorOrigin } from '../errors.ts';
import type { TicketOutcome, TicketPhase, WorkerObserver } from '../flow/farm-observer.ts';
import { ClientMetrics } from './client-metrics.ts';
import type { Exposition } from './exposition.ts';
import { LabelCap } from './label-cap.ts';
import { Meters } from './meters.ts';
import { addProcessMetrics } from './process-metrics.ts';

/** Upper bounds of buckets, in seconds. Few: each is a time series for every registry. */
const TRANSFER_SECONDS = [0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const TICKET_SECONDS = [0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const WAIT_SECONDS = [0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800];

const isCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_POLICY, text);
const CODES = Object.keys(ERROR_POLICY).filter(isCode);
const ORIGINS: readonly ErrorOrigin[] = ['user', 'source', 'target', 'store', 'gantry'];

/** What the handling of tickets tells. */
const ofTickets = (meters: Meters) => ({
  inFlight: meters.gauge('gantry_tickets_in_flight', 'Tickets that this worker handles now.', ['lane']),
  tickets: meters.counter('gantry_tickets_total', 'Tickets handled, by how that ended.', ['lane', 'phase', 'outcome']),
  ticketSeconds: meters.histogram('gantry_ticket_duration_seconds', 'How long a ticket was handled.', TICKET_SECONDS, [
    'phase',
  ]),
  leaseSeconds: meters.histogram(
    'gantry_lease_wait_seconds',
    'How long content waited for another worker that was writing it.',
    WAIT_SECONDS,
  ),
  transfers: meters.counter('gantry_transfers_total', 'Contents that were fetched and stored.', ['registry']),
  transferSeconds: meters.histogram(
    'gantry_transfer_duration_seconds',
    'How long one content took to fetch and store.',
    TRANSFER_SECONDS,
    ['registry'],
  ),
  storedBytes: meters.counter('gantry_content_stored_bytes_total', 'Bytes of contents that were stored.', ['registry']),
  present: meters.counter('gantry_content_present_total', 'Contents that were there and not fetched.', ['registry']),
  failures: meters.counter('gantry_failures_total', 'Nodes that failed for good.', ['code', 'origin']),
});

/** What one worker does, counted since it started. Labels have few values: never a repository, tag, digest or run. */
export class WorkerMetrics extends ClientMetrics implements WorkerObserver {
  readonly #meters: Meters;
  readonly #tickets: ReturnType<typeof ofTickets>;
  readonly #names: LabelCap;

  constructor({ version }: { version: string }) {
    const [meters, names] = [new Meters(), new LabelCap()];
    super(meters, names);
    this.#meters = meters;
    this.#tickets = ofTickets(meters);
    this.#names = names;
    addProcessMetrics(meters, version);
    // A rate does not see what a counter has when it is seen first: a list of images that are all gone would be no alert.
    for (const code of CODES) for (const origin of ORIGINS) this.#tickets.failures({ code, origin }, 0);
  }

  text(): Promise<Exposition> {
    return this.#meters.text();
  }

  started(lane: string): void {
    this.#tickets.inFlight.add({ lane: this.#names.of(lane) }, 1);
  }

  ended(lane: string, phase: TicketPhase, outcome: TicketOutcome, seconds: number): void {
    const name = this.#names.of(lane);
    this.#tickets.inFlight.add({ lane: name }, -1);
    this.#tickets.tickets({ lane: name, phase, outcome });
    this.#tickets.ticketSeconds({ phase }, seconds);
  }

  leaseWaited(seconds: number): void {
    this.#tickets.leaseSeconds({}, seconds);
  }

  transferred(lane: string, seconds: number, bytes: number): void {
    const registry = this.#names.of(lane);
    this.#tickets.transfers({ registry });
    this.#tickets.transferSeconds({ registry }, seconds);
    this.#tickets.storedBytes({ registry }, bytes);
  }

  present(lane: string): void {
    this.#tickets.present({ registry: this.#names.of(lane) });
  }

  failed(code: ErrorCode, origin: ErrorOrigin): void {
    this.#tickets.failures({ code, origin });
    this.mismatched(code);
  }
}
