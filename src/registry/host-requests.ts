/** One request to one host of a registry: its credentials, and the redirects that may be followed. No retries. */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { RequestBudget } from '../remote/budget.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import { parseRetryAfter, type Refusal, refusalOf } from '../remote/registry-errors.ts';
import { CredentialLookup, type CredentialSources } from './credentials.ts';
import type { RegistryHost } from './hosts.ts';
import { type Account, Listeners } from './listeners.ts';
import { isRedirect, MAX_REDIRECTS, nextUrl, tooManyRedirects } from './redirect.ts';
import { safeUrl } from './redact.ts';
import { canonicalHost } from './registry-name.ts';
import type { RegistryRequest, RegistryResponse } from './requests.ts';
import { type Secret } from '../secret.ts';
import { secretsIn } from './secret.ts';
import { type AuthTarget, registryOf, Tokens } from './tokens.ts';
import type { HttpRequest, HttpResponse, Route, Transport } from './transport.ts';

const MAX_ERROR_BODY_BYTES = 8 << 10;

export interface HostRequestsParts {
  readonly transport: Transport;
  readonly credentials: CredentialSources;
  /** PEM of CAs to trust beside those of the system, everywhere. */
  readonly ca: readonly string[];
  readonly budget: RequestBudget | undefined;
  readonly observer: RegistryObserver | undefined;
}

/** A request on its way, over however many hops. */
interface Trip {
  readonly host: RegistryHost;
  readonly request: RegistryRequest;
  readonly start: URL;
  readonly account: Account;
}

interface HostRoutes {
  readonly home: Route;
  readonly name: Route;
}

export class HostRequests {
  readonly #transport: Transport;
  readonly #tokens: Tokens;
  readonly #listeners: Listeners;
  readonly #routes = new WeakMap<RegistryHost, HostRoutes>();
  readonly #public = new Map<string, boolean>();
  readonly #defaultRoute: Route;

  constructor({ transport, credentials, ca, budget, observer }: HostRequestsParts) {
    this.#transport = transport;
    this.#listeners = new Listeners(budget, observer);
    this.#defaultRoute = { ca };
    this.#tokens = new Tokens({
      transport,
      credentials: new CredentialLookup(credentials),
      routeTo: (host, url) => this.#routeTo(host, url),
      isPublic: (host) => this.#isPublic(host),
    });
  }

  /** One try, with a second one after a 401: its challenge says what to send, and a token may have run out. */
  async send(host: RegistryHost, request: RegistryRequest, opts: CallOptions): Promise<RegistryResponse> {
    const target: AuthTarget = { host, path: request.path, scope: scopeOf(request) };
    const header = await this.#tokens.header(target, opts);
    const account = await this.#account(target, opts);
    await this.#listeners.charge(request, account, opts); // once for both: what was answered 401 is not counted
    const trip: Trip = { host, request, start: request.at ?? urlOf(host, request), account };
    const first = await this.#redirected(trip, header, opts);
    if (first.status !== 401) return this.#checked(first, trip, header);
    await first.body.discard();
    const answer = await this.#tokens.answer(target, first.header('www-authenticate'), header, opts);
    const second = await this.#redirected(trip, answer, opts);
    if (second.status !== 401) return this.#checked(second, trip, answer);
    await second.body.discard();
    throw await this.#tokens.declined(target, second.header('www-authenticate'), opts);
  }

  async #account(target: AuthTarget, opts: CallOptions): Promise<Account> {
    const identity = this.#listeners.needIdentity ? await this.#tokens.user(target, opts) : undefined;
    return { registry: canonicalHost(registryOf(target.host)), identity };
  }

  /** Follows redirects by the rules that keep credentials where they belong. */
  async #redirected(trip: Trip, authorization: Secret | undefined, opts: CallOptions): Promise<HttpResponse> {
    const { request, account, start, host } = trip;
    let url = start;
    for (let hop = 0; ; hop += 1) {
      const sent = await this.#hop(trip, url, authorization);
      const subject = { request, account, isHome: url.origin === host.origin };
      const response = await this.#listeners.heard(subject, () => this.#transport.send(sent, opts));
      if (!isRedirect(response.status)) {
        const isWanted = response.status < 400 || request.expect.includes(response.status);
        if (url.origin !== host.origin && !isWanted) throw await targetFailed(response, url, request);
        return response;
      }
      await response.body.discard();
      if (hop >= MAX_REDIRECTS) throw tooManyRedirects(start, request.what);
      url = nextUrl(url, response.header('location'), request.what);
    }
  }

  async #hop({ host, request }: Trip, url: URL, authorization: Secret | undefined): Promise<HttpRequest> {
    const home = url.origin === host.origin;
    const own = home
      ? Object.fromEntries(host.headers.map(({ name, value }) => [name.toLowerCase(), value.reveal()]))
      : {};
    const auth = home && authorization !== undefined ? { authorization: authorization.reveal() } : {};
    return {
      method: request.method,
      url,
      headers: { ...own, ...request.headers, ...auth },
      ...(request.body === undefined ? {} : { body: request.body }),
      route: this.#routeTo(host, url),
      publicOnly: !home && (await this.#isPublic(host)),
    };
  }

  async #checked(response: HttpResponse, trip: Trip, sent: Secret | undefined): Promise<RegistryResponse> {
    const { host, request } = trip;
    const refusal = async (): Promise<Refusal> =>
      refusalOf({
        status: response.status,
        retryAfter: response.header('retry-after'),
        body: await response.body.head(MAX_ERROR_BODY_BYTES).catch(() => new Uint8Array()),
        host: response.url.host,
        what: request.what,
        secrets: [...host.headers.map(({ value }) => value), ...(sent === undefined ? [] : [sent])].flatMap(secretsIn),
      });
    if (!request.expect.includes(response.status)) throw (await refusal()).error;
    return { ...response, refusal };
  }

  /** A host's client certificate is a credential and for its origin; which CAs to trust, and how to get there, is for its name. */
  #routeTo(host: RegistryHost, url: URL): Route {
    const own = new URL(host.origin);
    if (url.hostname !== own.hostname) return this.#defaultRoute;
    const { home, name } = this.#routesOf(host);
    return url.origin === own.origin ? home : name;
  }

  #routesOf(host: RegistryHost): HostRoutes {
    const known = this.#routes.get(host);
    if (known !== undefined) return known;
    const [client] = host.client;
    const name: Route = {
      ca: [...(this.#defaultRoute.ca ?? []), ...host.ca],
      ...(host.proxy === undefined ? {} : { proxy: host.proxy }),
      ...(host.dialTimeoutMs === undefined ? {} : { connectTimeoutMs: host.dialTimeoutMs }),
      skipVerify: host.skipVerify,
    };
    const home = client === undefined ? name : { ...name, cert: client.cert, key: client.key };
    this.#routes.set(host, { home, name });
    return { home, name };
  }

  async #isPublic(host: RegistryHost): Promise<boolean> {
    const { hostname } = new URL(host.origin);
    const known = this.#public.get(hostname);
    if (known !== undefined) return known;
    const found = await this.#transport.isPublicHost(hostname);
    if (found !== undefined) this.#public.set(hostname, found);
    return found ?? true; // behind a proxy there may be no DNS; the careful answer
  }
}

/** distribution-spec's scopes: what the token has to be good for. */
function scopeOf({ path, object, capability, from, method }: RegistryRequest): string {
  if (path === '') return object.startsWith('_catalog') ? 'registry:catalog:*' : '';
  const actions = capability === 'push' ? (method === 'DELETE' ? 'pull,push,delete' : 'pull,push') : 'pull';
  const scope = `repository:${path}:${actions}`;
  return from === undefined || from === path ? scope : `${scope} repository:${from}:pull`;
}

function urlOf(host: RegistryHost, request: RegistryRequest): URL {
  const path = request.path === '' ? '/' : `/${request.path}/`;
  const url = new URL(`${host.origin}${host.pathPrefix}${path}${request.object}`);
  if (host.isMirror) url.searchParams.set('ns', request.registry);
  return url;
}

/**
 * Elsewhere, a 401, 403 or 404 says that the signed URL has run out, not that we may not have the content: another try asks
 * the registry anew, never this place.
 */
async function targetFailed(response: HttpResponse, url: URL, request: RegistryRequest): Promise<GantryError> {
  await response.body.discard();
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.header('retry-after'), Date.now());
  const code = status === 429 ? 'RATE_LIMITED' : 'UPSTREAM';
  return new GantryError(code, `${safeUrl(url)}, where the registry sent us for ${request.what}, answered ${status}`, {
    origin: 'source',
    status,
    host: url.host,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
