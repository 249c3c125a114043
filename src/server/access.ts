/**
 * Who may do what. Reading is open unless it is protected; what changes state always needs the token, and is off where there is
 * none. Browsers are kept from doing anything on behalf of other sites.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { createMiddleware } from 'hono/factory';
import { GantryError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { problem } from './api/problem.ts';
import { type App, oneLine, type RequestContext, type ServerEnv } from './http.ts';

export interface AccessOptions {
  /** The token as it is now: it may be changed while the server runs. Undefined: nothing can be changed through this server. */
  readonly token: (() => Promise<Secret>) | undefined;
  /** The token is needed for reading, too: of the API, the metrics and the registry, not of probes and of the page's own files. */
  readonly protectReads: boolean;
  /** What the server was told to bind to: it may be asked by that name. */
  readonly host: string;
}

const READS = new Set(['GET', 'HEAD']);
const PROTECTED = /^\/(?:api|v2|metrics)(?:\/|$)/;
const API = /^\/api(?:\/|$)/;
/** Its clients are told by 405 that nothing is written here, whoever they are. */
const REGISTRY = /^\/v2(?:\/|$)/;

/** Goes before all routes, and judges by the path that they are found by. */
export function addAccess(app: App, options: AccessOptions): App {
  return app.use(
    createMiddleware<ServerEnv>(async (c, next) => {
      const refused = refusal(c, options.host) ?? (await denial(c, options));
      if (refused !== undefined) return answer(c, refused);
      await next();
      return undefined;
    }),
  );
}

const refuse = (message: string, hint?: string): GantryError =>
  new GantryError('REFUSED', message, { origin: 'user', ...(hint === undefined ? {} : { hint }) });

/** Requests that a page of another site has a browser make. */
function refusal(c: RequestContext, ownName: string): GantryError | undefined {
  const host = c.req.header('host') ?? '';
  // A name of somebody else's that was made to lead to this machine (DNS rebinding): its pages would count as ours.
  if (isLoopback(c.env.boundTo) && !isOfThisMachine(hostnameOf(host), ownName)) {
    return refuse('this server is for this machine alone: ask it as localhost');
  }
  const origin = c.req.header('origin');
  const isForeign = origin === undefined ? isSentByOthers(c) : !isOwn(origin, host);
  return isForeign ? refuse('not for pages of other sites') : undefined;
}

/** By what browsers say of each request (Fetch Metadata). Following a link from another site is no more than typing the address. */
function isSentByOthers(c: RequestContext): boolean {
  const site = c.req.header('sec-fetch-site') ?? 'none';
  const isLink = c.req.header('sec-fetch-mode') === 'navigate' && c.req.header('sec-fetch-dest') === 'document';
  return site !== 'none' && site !== 'same-origin' && !(isLink && READS.has(c.req.method));
}

/** Whatever is not known to change nothing needs the token, also where there is no route. */
async function denial(c: RequestContext, { token, protectReads }: AccessOptions): Promise<GantryError | undefined> {
  const { method, path } = c.req;
  const changes = !READS.has(method) && !REGISTRY.test(path);
  if (!changes && !(protectReads && PROTECTED.test(path))) return undefined;
  if (token === undefined) return refuse('this server changes nothing', 'start it with --token-file to have it do so');
  const given = credentialsOf(c.req.header('authorization') ?? '', path);
  if (given !== undefined && isSame(given, (await token()).reveal())) return undefined;
  const message = given === undefined ? 'a token is needed' : 'that is not the token';
  const hint = REGISTRY.test(path) ? 'the password is the token of this server' : 'send Authorization: Bearer TOKEN';
  return new GantryError('UNAUTHORIZED', message, { origin: 'user', hint });
}

/** In the form that those who ask there can read. */
function answer(c: RequestContext, err: GantryError): Response {
  const isRegistry = REGISTRY.test(c.req.path);
  const status = err.code === 'UNAUTHORIZED' ? 401 : 403;
  // Clients of registries know how to give a password; whatever else is asked is asked by programs and by the page.
  const scheme = `${isRegistry ? 'Basic' : 'Bearer'} realm="gantry"`;
  const headers = {
    ...(status === 401 ? { 'www-authenticate': scheme } : {}),
    ...(isRegistry ? { 'docker-distribution-api-version': 'registry/2.0' } : {}),
  };
  if (API.test(c.req.path)) return problem(c, err, status, headers);
  const message = `${err.message}${err.hint === undefined ? '' : ` (${err.hint})`}`;
  if (!isRegistry) return c.text(oneLine(message), status, headers);
  const code = status === 401 ? 'UNAUTHORIZED' : 'DENIED'; // of the distribution specification
  return c.json({ errors: [{ code, message }] }, status, headers);
}

/** The token as it was sent: of a registry's client also as a password, with any name. */
function credentialsOf(header: string, path: string): string | undefined {
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(header) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic' || !REGISTRY.test(path)) return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : undefined;
}

/** Takes as long whatever was sent. */
const isSame = (given: string, token: string): boolean =>
  timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', token, 'buffer'));

/** `localhost:9465` -> `localhost`, `[::1]:9465` -> `::1` */
const hostnameOf = (host: string): string => /^(?:\[(.*)\]|([^:]*))(?::\d+)?$/.exec(host)?.slice(1).find(Boolean) ?? '';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8); // also as IPv6 writes it: ::ffff:127.0.0.1
LOOPBACK.addAddress('::1', 'ipv6');

const isLoopback = (address: string): boolean =>
  isIP(address) !== 0 && LOOPBACK.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');

const isOfThisMachine = (hostname: string, ownName: string): boolean =>
  isLoopback(hostname) || ['localhost', ownName.toLowerCase()].includes(hostname.toLowerCase());

function isOwn(origin: string, host: string): boolean {
  const url = URL.parse(origin);
  return url !== null && url.host === host;
}
