/** The one HTTP server of gantry's processes: a hono application on a port, with bounds on what a client may take. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import type { CallOptions } from '../call.ts';
import { GantryError, messageOf, retryClass } from '../errors.ts';
import { limitByAddress, OpenRequests } from './connections.ts';

/** What every handler finds in `c.env`: request and response of node, for those that stream. */
export interface ServerEnv {
  readonly Bindings: HttpBindings & {
    /** The IP address that the server is bound to, whatever it was called: `127.0.0.1`, `::`. */
    readonly boundTo: string;
  };
}
export type App = Hono<ServerEnv>;
export type RequestContext = Context<ServerEnv>;

export interface ListenOptions {
  /** 0: any that is free. */
  readonly port: number;
  readonly host: string;
  /**
   * Beyond it connections are dropped, so that they cannot use up the file descriptors of a process that has other work. One address gets half of them.
   */
  readonly maxConnections?: number;
}

export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
}

/** What a client may take, in milliseconds and bytes. */
const LIMITS = {
  headersTimeout: 5000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5000,
  /** How often the three above are looked at. */
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8192,
};
/** A socket on which nothing moves; also ends a client that asks and then does not read. */
const IDLE_MS = 30_000;
const MAX_CONNECTIONS = 256;
/** How long an answer under way may take after the server was told to close. */
const GRACE_MS = 1000;

/** One line of plain text, whatever came with it. */
export const oneLine = (text: string): string => `${text.replaceAll(/\s+/g, ' ')}\n`;

/** An application that answers errors, and paths that it does not have, with one plain line. Routes are added to it. */
export function createApp(): App {
  const app: App = new Hono<ServerEnv>({ strict: true });
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
  });
  app.notFound((c) => {
    const known = [...new Set(app.routes.filter(isPlace).map(({ path }) => path))];
    return c.text(oneLine(`nothing here; try ${known.join(', ')}`), 404);
  });
  app.onError((err, c) => c.text(oneLine(messageOf(err)), retryClass(err) === 'backoff' ? 503 : 500));
  return app;
}

/** Worth naming to somebody who is lost: not a pattern, not a middleware, nothing deep inside. */
const isPlace = ({ method, path }: { method: string; path: string }): boolean =>
  method === 'GET' && /^\/[^/:*{]*\/?$/.test(path);

/** Aborts when the client is gone, or was answered. */
export function callOptions(c: RequestContext): CallOptions {
  const gone = new AbortController();
  const { outgoing } = c.env;
  if (outgoing.destroyed) gone.abort();
  else outgoing.once('close', () => gone.abort());
  return { signal: gone.signal };
}

/** 405 with `Allow`, for what is left after the routes of a path were added. */
export const onlyMethods = (app: App, path: string, allow: string): void => {
  app.all(path, (c) => c.text(oneLine(`only ${allow}`), 405, { allow }));
};

/**
 * Listens. Disposing it closes the port and idle connections at once, the others after their answer, or after a second.
 * @throws GantryError USAGE when it cannot listen there
 */
export async function startServer(where: ListenOptions, app: App): Promise<RunningServer> {
  const server = createServer(LIMITS);
  const open = new OpenRequests();
  const maxConnections = where.maxConnections ?? MAX_CONNECTIONS;
  server.timeout = IDLE_MS;
  server.maxConnections = maxConnections;
  limitByAddress(server, Math.ceil(maxConnections / 2));
  const { address, port } = await listen(server, where);
  const listener = getRequestListener((request, env) => app.fetch(request, { ...env, boundTo: address }), {
    overrideGlobalObjects: false,
  });
  server.on('request', (request, response) => {
    if (open.add(response, request.socket)) void listener(request, response);
  });
  // A failing accept (no file descriptor left) is told here, and would end the process if nobody listened.
  server.on('error', () => {});
  return { port, url: urlOf(where.host, port), [Symbol.asyncDispose]: () => close(server, open) };
}

async function listen(server: Server, { port, host }: ListenOptions): Promise<AddressInfo> {
  try {
    server.listen({ port, host });
    await once(server, 'listening');
  } catch (err) {
    throw cannotListen(err, `${host}:${port}`);
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new GantryError('INTERNAL', 'not listening on a TCP port');
  return address;
}

function cannotListen(err: unknown, where: string): GantryError {
  const taken = err instanceof Error && 'code' in err && err.code === 'EADDRINUSE';
  return new GantryError('USAGE', `cannot listen on ${where}: ${taken ? 'the port is in use' : messageOf(err)}`, {
    origin: 'user',
    hint: taken ? 'choose another port, or 0 for any that is free' : 'check the address and the port',
    cause: err,
  });
}

const urlOf = (host: string, port: number): string => `http://${host.includes(':') ? `[${host}]` : host}:${port}`;

async function close(server: Server, open: OpenRequests): Promise<void> {
  // A connection that is kept alive past this would hold the process until its client lets go.
  for (const response of open) if (!response.headersSent) response.setHeader('connection', 'close');
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  // What is left by then: an answer that takes too long, or a client that connected and sent nothing.
  const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS);
  await closed;
  clearTimeout(timer);
}
