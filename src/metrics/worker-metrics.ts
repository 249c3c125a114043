import { ERROR_POLICY, type ErrorCode, type ErrorOrigin } from '../errors.ts';
import type { TicketOutcome, TicketPhase, WorkerObserver } from '../flow/farm-observer.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import type { Exposition } from './exposition.ts';
import { LabelCap, OTHER } from './label-cap.ts';
import { Meters } from './meters.ts';
import { addProcessMetrics } from './process-metrics.ts';

/** Upper bounds of buckets, in seconds. Few: each is a time series for every registry. */
const REQUEST_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const TRANSFER_SECONDS = [0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const TICKET_SECONDS = [0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const WAIT_SECONDS = [0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800];

/** A server may answer any three digits; what is no status of HTTP (RFC 9110, 15) shares one value. */
const statusLabel = (status: number | 'error'): string =>
  status === 'error' || (status >= 100 && status <= 599) ? String(status) : OTHER;

const isCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_POLICY, text);
const CODES = Object.keys(ERROR_POLICY).filter(isCode);
const ORIGINS: readonly ErrorOrigin[] = ['user', 'source', 'target', 'store', 'gantry'];

/** What the registry client tells. */
const ofRegistries = (meters: Meters) => ({
  requests: meters.counter('gantry_http_requests_total', 'Requests to registries, by HTTP status or "error".', [
    'registry',
    'method',
    'code',
  ]),
  requestSeconds: meters.histogram(
    'gantry_http_request_duration_seconds',
    'From the start of a request to the head of its answer.',
    REQUEST_SECONDS,
    ['registry'],
  ),
  bytes: meters.counter('gantry_transfer_bytes_total', 'Bytes of bodies on the wire, repeated ones included.', [
    'registry',
    'direction',
  ]),
  retries: meters.counter('gantry_retries_total', 'What was tried again, by error code.', ['registry', 'reason']),
  limit: meters.gauge('gantry_rate_limit_limit', 'Requests that the registry allows in a period.', ['registry']),
  remaining: meters.gauge('gantry_rate_limit_remaining', 'Requests that are left in it.', ['registry']),
  stalls: meters.counter('gantry_stalls_total', 'Bodies that sent too little for too long.', ['registry']),
  mismatches: meters.counter('gantry_digest_mismatches_total', 'Bytes that are not those that the digest names.'),
});

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
export class WorkerMetrics implements RegistryObserver, WorkerObserver {
  readonly #meters = new Meters();
  readonly #registries = ofRegistries(this.#meters);
  readonly #tickets = ofTickets(this.#meters);
  readonly #names = new LabelCap();

  constructor({ version }: { version: string }) {
    addProcessMetrics(this.#meters, version);
    // A rate does not see what a counter has when it is seen first: a list of images that are all gone would be no alert.
    for (const code of CODES) for (const origin of ORIGINS) this.#tickets.failures({ code, origin }, 0);
  }

  text(): Promise<Exposition> {
    return this.#meters.text();
  }

  request(registry: string, method: string, status: number | 'error', seconds: number): void {
    const name = this.#names.of(registry);
    this.#registries.requests({ registry: name, method, code: statusLabel(status) });
    this.#registries.requestSeconds({ registry: name }, seconds);
  }

  bytes(registry: string, direction: 'in' | 'out', count: number): void {
    this.#registries.bytes({ registry: this.#names.of(registry), direction }, count);
  }

  retry(registry: string, reason: ErrorCode): void {
    this.#registries.retries({ registry: this.#names.of(registry), reason });
    this.#mismatched(reason);
  }

  rateLimit(registry: string, limit: number, remaining: number): void {
    const name = this.#names.of(registry);
    if (name === OTHER) return; // the last of many to speak would stand for all of them
    this.#registries.limit.set({ registry: name }, limit);
    this.#registries.remaining.set({ registry: name }, remaining);
  }

  stall(registry: string): void {
    this.#registries.stalls({ registry: this.#names.of(registry) });
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
    this.#mismatched(code);
  }

  /** Each mismatch is either tried again or fails for good, so it is seen in one of the two places. */
  #mismatched(code: ErrorCode): void {
    if (code === 'DIGEST_MISMATCH') this.#registries.mismatches({});
  }
}
