import type { ErrorCode } from '../errors.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import { type LabelCap, OTHER } from './label-cap.ts';
import type { Meters } from './meters.ts';

/** Upper bounds of buckets, in seconds. Few: each is a time series for every registry. */
const REQUEST_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** A server may answer any three digits; what is no status of HTTP (RFC 9110, 15) shares one value. */
const statusLabel = (status: number | 'error'): string =>
  status === 'error' || (status >= 100 && status <= 599) ? String(status) : OTHER;

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

/** What a client of registries does: that of a worker, that of a server which fetches what its store lacks. */
export class ClientMetrics implements RegistryObserver {
  readonly #registries: ReturnType<typeof ofRegistries>;
  readonly #names: LabelCap;

  constructor(meters: Meters, names: LabelCap) {
    this.#registries = ofRegistries(meters);
    this.#names = names;
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
    this.mismatched(reason);
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

  /** Each mismatch is either tried again or fails for good, so it is seen in one of the two places. */
  protected mismatched(code: ErrorCode): void {
    if (code === 'DIGEST_MISMATCH') this.#registries.mismatches({});
  }
}
