/** The ways to connect, one pool of connections for each: TLS settings, guarded or not, through which proxy. */
import { lookup as dnsLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import type { Dispatcher } from 'undici';
import Agent from 'undici/lib/dispatcher/agent.js';
import { GantryError } from '../errors.ts';
import { guardedLookup, mayBePublicHost } from './address.ts';
import { proxyFor, type ProxyConfig } from './proxy.ts';
import { Secret } from '../secret.ts';
import { tunnelConnector } from './tunnel.ts';

/** How a host is reached, beyond its URL. One object per host: connections are shared by its identity. */
export interface Route {
  /** PEM, beside those of the system. */
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: Secret;
  readonly skipVerify?: boolean;
  /** In the place of what the environment says. */
  readonly proxy?: Secret;
  readonly connectTimeoutMs?: number;
}

export interface AgentsOptions {
  readonly connectTimeoutMs: number;
  readonly proxies: ProxyConfig;
  /** Resolves names; for tests. */
  readonly lookup?: LookupFunction;
}

const MAX_HEADER_BYTES = 64 << 10;
const KEEP_ALIVE_MS = 10_000;

/** A pool, and what a request has to carry to get through it. */
export class Way {
  readonly dispatcher: Dispatcher;
  /** The proxy that is asked for whole URLs: plain http knows no tunnel. */
  readonly forwarder: URL | undefined;
  readonly proxyAuthorization: Secret | undefined;
  #fresh = false;

  constructor(dispatcher: Dispatcher, forwarder?: URL, proxyAuthorization?: Secret) {
    this.dispatcher = dispatcher;
    this.forwarder = forwarder;
    this.proxyAuthorization = proxyAuthorization;
    dispatcher.on('connect', () => {
      this.#fresh = true;
      queueMicrotask(() => {
        this.#fresh = false;
      });
    });
  }

  /** Within `onRequestStart`: whether the connection was made for this request. undici starts it in the same turn. */
  get isFresh(): boolean {
    return this.#fresh;
  }
}

export class Agents implements AsyncDisposable {
  readonly #options: AgentsOptions;
  readonly #lookup: LookupFunction;
  readonly #ways = new Map<string, Way>();
  readonly #routeKeys = new WeakMap<Route, number>();
  #routeCount = 0;
  #closed = false;

  constructor(options: AgentsOptions) {
    this.#options = options;
    this.#lookup = options.lookup ?? dnsLookup;
  }

  /** @throws GantryError REFUSED for a private address where only public ones will do, INVALID for a proxy that is no URL */
  wayTo(url: URL, route: Route, publicOnly: boolean): Way {
    if (this.#closed) throw new GantryError('CANCELLED', 'the client is closed');
    const own = route.proxy?.reveal();
    const proxy = proxyFor(url, own === undefined ? this.#options.proxies : { http: own, https: own });
    // A literal address is never looked up, so the guard in lookup would not see it.
    if (publicOnly && proxy === undefined && !mayBePublicHost(url.hostname)) {
      throw new GantryError('REFUSED', `${url.host} is a private address, and a public registry sent us there`, {
        origin: 'source',
        host: url.host,
      });
    }
    const key = `${this.#routeKey(route)} ${publicOnly} ${proxy === undefined ? '' : `${url.protocol} ${proxy.href}`}`;
    const known = this.#ways.get(key);
    if (known !== undefined) return known;
    const way = proxy === undefined ? this.#direct(route, publicOnly) : this.#proxied(url, proxy, route);
    this.#ways.set(key, way);
    return way;
  }

  /** Closes all connections. What is under way fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const ways = [...this.#ways.values()];
    this.#ways.clear();
    const reason = new GantryError('CANCELLED', 'the client is closed');
    await Promise.all(ways.map(({ dispatcher }) => dispatcher.destroy(reason)));
  }

  #routeKey(route: Route): number {
    const known = this.#routeKeys.get(route);
    if (known !== undefined) return known;
    this.#routeCount += 1;
    this.#routeKeys.set(route, this.#routeCount);
    return this.#routeCount;
  }

  #direct(route: Route, publicOnly: boolean): Way {
    const lookup = publicOnly ? guardedLookup(this.#lookup) : this.#lookup;
    const timeout = this.#connectTimeout(route);
    return new Way(new Agent({ ...POOL, connect: { ...tlsOptions(route), lookup, timeout, autoSelectFamily: true } }));
  }

  #proxied(url: URL, proxy: URL, route: Route): Way {
    const timeout = this.#connectTimeout(route);
    const authorization = proxyAuthorization(proxy);
    const bare = new URL(proxy.origin);
    const proxyTls = { ...caOptions(route), lookup: this.#lookup };
    if (url.protocol === 'http:')
      return new Way(new Agent({ ...POOL, connect: { ...proxyTls, timeout } }), bare, authorization);
    const tunnel = { proxy: bare, authorization, timeoutMs: timeout, proxyTls, tls: tlsOptions(route) };
    return new Way(new Agent({ ...POOL, connect: tunnelConnector(tunnel) }));
  }

  #connectTimeout(route: Route): number {
    return route.connectTimeoutMs ?? this.#options.connectTimeoutMs;
  }
}

const POOL: Agent.Options = {
  // Measured: over HTTP/2 undici moves large bodies at a fiftieth of the speed as soon as there is latency.
  allowH2: false,
  pipelining: 1,
  // Both are coarse, and the second fires under back-pressure only by luck and never on a trickle: see Exchange and Body.
  headersTimeout: 0,
  bodyTimeout: 0,
  keepAliveTimeout: KEEP_ALIVE_MS,
  maxHeaderSize: MAX_HEADER_BYTES,
};

function proxyAuthorization({ username, password }: URL): Secret | undefined {
  if (username === '') return undefined;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return new Secret(`Basic ${Buffer.from(pair).toString('base64')}`);
}

/** One context for all connections of a route: to read a hundred and fifty certificates for each would cost more than TLS. */
function tlsOptions(route: Route): Record<string, unknown> {
  const verify = route.skipVerify === true ? { rejectUnauthorized: false } : {};
  const { ca = [], cert, key } = route;
  if (ca.length === 0 && cert === undefined) return verify;
  const client = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key: key.reveal() }) };
  return { ...verify, secureContext: createSecureContext({ ...client, ca: [...getCACertificates('default'), ...ca] }) };
}

const caOptions = ({ ca = [] }: Route): Record<string, unknown> => tlsOptions({ ca });
