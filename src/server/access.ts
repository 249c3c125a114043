/**
 * Who may do what. Reading is open unless it is protected; what changes state always needs the token, and is off where there is
 * none. Browsers are kept from doing anything on behalf of other sites.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { Secret } from '../secret.ts';
import { type App, oneLine, type RequestContext, type ServerEnv } from './http.ts';

export interface AccessOptions {
  /** The token as it is now: it may be changed while the server runs. Undefined: nothing can be changed through this server. */
  readonly token: (() => Promise<Secret>) | undefined;
  /** The token is needed for reading, too: of the API, the metrics and the registry, not of probes and of the page's own files. */
  readonly protectReads: boolean;
  /** The address that the server is bound to. */
  readonly host: string;
}

const READS = new Set(['GET', 'HEAD']);
const PROTECTED = /^\/(?:api|v2|metrics)(?:\/|$)/;
const CHANGES = /^\/api(?:\/|$)/;

/** Goes before all routes. */
export function addAccess(app: App, options: AccessOptions): App {
  return app.use(
    createMiddleware<ServerEnv>(async (c, next) => {
      const refused = refusal(c, options.host) ?? (await denial(c, options));
      if (refused !== undefined) return refused;
      await next();
      return undefined;
    }),
  );
}

/** Requests that a page of another site has a browser make. */
function refusal(c: RequestContext, boundTo: string): Response | undefined {
  const host = c.req.header('host') ?? '';
  // A name of somebody else's that was made to lead to this machine (DNS rebinding): its pages would count as ours.
  if (isLoopback(boundTo) && !isLoopback(hostnameOf(host))) {
    return c.text(oneLine('this server is for this machine alone: ask it as localhost'), 403);
  }
  const origin = c.req.header('origin');
  if (origin !== undefined && !isOwn(origin, host)) return c.text(oneLine('not for pages of other sites'), 403);
  // Following a link from another site is no more than typing the address.
  const isForeign = c.req.header('sec-fetch-site') === 'cross-site' && c.req.header('sec-fetch-mode') !== 'navigate';
  return isForeign ? c.text(oneLine('not for pages of other sites'), 403) : undefined;
}

async function denial(c: RequestContext, { token, protectReads }: AccessOptions): Promise<Response | undefined> {
  const { method, path } = c.req;
  const changes = !READS.has(method) && CHANGES.test(path);
  if (!changes && !(protectReads && PROTECTED.test(path))) return undefined;
  if (token === undefined) {
    return c.text(oneLine('this server changes nothing: start it with --token-file to have it do so'), 403);
  }
  const given = credentialsOf(c.req.header('authorization') ?? '', path);
  if (given !== undefined && isSame(given, (await token()).reveal())) return undefined;
  // Clients of registries know how to give a password; whatever else is asked is asked by programs and by the page.
  const isRegistry = path.startsWith('/v2');
  const body = isRegistry
    ? JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'the password is the token of this server' }] })
    : oneLine(given === undefined ? 'a token is needed: Authorization: Bearer TOKEN' : 'that is not the token');
  return c.body(body, 401, {
    'content-type': isRegistry ? 'application/json' : 'text/plain;charset=UTF-8',
    'www-authenticate': isRegistry ? 'Basic realm="gantry"' : 'Bearer realm="gantry"',
  });
}

/** The token as it was sent: of a registry's client also as a password, with any name. */
function credentialsOf(header: string, path: string): string | undefined {
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(header) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic' || !path.startsWith('/v2')) return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : undefined;
}

/** Takes as long whatever was sent. */
const isSame = (given: string, token: string): boolean =>
  timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', token, 'buffer'));

/** `localhost:9465` -> `localhost`, `[::1]:9465` -> `::1` */
const hostnameOf = (host: string): string => /^(?:\[(.*)\]|([^:]*))(?::\d+)?$/.exec(host)?.slice(1).find(Boolean) ?? '';

const isLoopback = (host: string): boolean => /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host);

function isOwn(origin: string, host: string): boolean {
  const url = URL.parse(origin);
  return url !== null && url.host === host;
}
