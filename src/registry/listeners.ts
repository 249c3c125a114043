/** Who hears of the requests: an observer, for metrics, and a budget that many processes share. No cost without them. */
import type { CallOptions } from '../call.ts';
import type { RequestBudget } from '../remote/budget.ts';
import type { RegistryObserver, RequestKind } from '../remote/observer.ts';
import { parseRateLimit } from '../remote/rate-limit-headers.ts';
import type { Body } from './body.ts';
import type { RegistryRequest } from './requests.ts';
import type { HttpResponse } from './transport.ts';

/**
 * Under which name and user a host counts requests. A mirror is a registry of its own, under the name of its host: what
 * it answers costs the registry that it mirrors nothing.
 */
export interface Account {
  readonly registry: string;
  /** A user name, `anonymous` or `token`; never a secret. Undefined where there is no budget. */
  readonly identity: string | undefined;
}

export interface Subject {
  readonly request: RegistryRequest;
  readonly account: Account;
  /** It goes to the host itself; otherwise to where that redirected, which has no limits of the registry to tell. */
  readonly isHome: boolean;
}

/** What Docker Hub counts: the GET of a manifest, not its HEAD (https://docs.docker.com/docker-hub/usage/pulls/). */
const isCounted = ({ method, object }: RegistryRequest): boolean => method === 'GET' && object.startsWith('manifests/');

/** What an upload goes on with has no object. */
function kindOf({ object, at }: RegistryRequest): RequestKind {
  if (at !== undefined || object.startsWith('blobs/')) return 'blobs';
  if (object.startsWith('manifests/')) return 'manifests';
  return /^(?:tags\/|referrers\/|_catalog)/.test(object) ? 'lists' : 'other';
}

export class Listeners {
  readonly #budget: RequestBudget | undefined;
  readonly #observer: RegistryObserver | undefined;

  constructor(budget: RequestBudget | undefined, observer: RegistryObserver | undefined) {
    this.#budget = budget;
    this.#observer = observer;
  }

  get needIdentity(): boolean {
    return this.#budget !== undefined;
  }

  /** Before a request is sent. @throws GantryError RATE_LIMITED when the account has nothing left */
  async charge(request: RegistryRequest, { registry, identity }: Account, opts: CallOptions): Promise<void> {
    if (identity !== undefined && isCounted(request)) await this.#budget?.charge(registry, identity, opts);
  }

  /** Passes on what `send` gives, and tells of it. */
  async heard(subject: Subject, send: () => Promise<HttpResponse>): Promise<HttpResponse> {
    const { request, account, isHome } = subject;
    if (this.#budget === undefined && this.#observer === undefined) return send();
    const beganMs = performance.now();
    let status: number | 'error' = 'error';
    try {
      const response = await send();
      status = response.status;
      if (isHome) this.#limits(response, account);
      this.#body(response.body, request.registry);
      return response;
    } finally {
      if (isHome) {
        const seconds = (performance.now() - beganMs) / 1000;
        this.#observer?.request(request.registry, request.method, status, seconds, kindOf(request));
      }
    }
  }

  #limits(response: HttpResponse, { registry, identity }: Account): void {
    // A 401 comes before the user is known: its numbers would be those of the address.
    if (response.status === 401) return;
    const headers = parseRateLimit(response.header('ratelimit-limit'), response.header('ratelimit-remaining'));
    if (headers === undefined) return;
    if (identity !== undefined) this.#budget?.correct(registry, identity, headers);
    this.#observer?.rateLimit(registry, headers.limit, headers.remaining);
  }

  #body(body: Body, registry: string): void {
    const observer = this.#observer;
    if (observer === undefined) return;
    body.onClose(() => {
      if (body.received > 0) observer.bytes(registry, 'in', body.received);
      if (body.hasStalled) observer.stall(registry);
    });
  }
}
