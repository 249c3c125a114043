import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { CallOptions } from '../call.ts';
import { GantryError, messageOf, retryClass } from '../errors.ts';

export interface Answer {
  readonly status: number;
  /** Content-Type */
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers a GET; the signal aborts when the client is gone. */
export type Route = (opts: CallOptions) => Answer | Promise<Answer>;
/** Path to route; the path is compared as it is sent, without the query. */
export type Routes = ReadonlyMap<string, Route>;

export interface ListenOptions {
  /** 0: any that is free. */
  readonly port: number;
  readonly host: string;
}

export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
}

/** What a client may take, in milliseconds and bytes: few requests, all of them small and from near by. */
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
/** Beyond it connections are dropped, so that they cannot use up the file descriptors of a worker. */
const MAX_CONNECTIONS = 256;
/** How long an answer under way may take after the server was told to close. */
const GRACE_MS = 1000;

/** One line of plain text. */
export const line = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${text.replaceAll(/\s+/g, ' ')}\n`,
  headers,
});

/**
 * A small HTTP server for GET and HEAD. Disposing it closes the port and idle connections at once, the others after
 * their answer, or after a second.
 * @throws GantryError USAGE when it cannot listen there
 */
export async function startServer(where: ListenOptions, routes: Routes): Promise<RunningServer> {
  const server = createServer(LIMITS, (request, response) => void serve(request, response, { server, routes }));
  server.timeout = IDLE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  const port = await listen(server, where);
  // A failing accept (no file descriptor left) is told here, and would end the process if nobody listened.
  server.on('error', () => {});
  return { port, url: urlOf(where.host, port), [Symbol.asyncDispose]: () => close(server) };
}

async function listen(server: Server, { port, host }: ListenOptions): Promise<number> {
  try {
    server.listen({ port, host });
    await once(server, 'listening');
  } catch (err) {
    throw cannotListen(err, `${host}:${port}`);
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new GantryError('INTERNAL', 'not listening on a TCP port');
  return address.port;
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

interface Serving {
  readonly server: Server;
  readonly routes: Routes;
}

async function serve(request: IncomingMessage, response: ServerResponse, { server, routes }: Serving): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const { status, type, body, headers } = await answer(request, routes, { signal: gone.signal });
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // A connection that is kept alive past `close` would hold the process until its client lets go.
    ...(server.listening ? {} : { connection: 'close' }),
    ...headers,
  });
  response.end(body); // node sends no body to a HEAD
}

/** Never throws: a route that fails is an answer. */
async function answer({ method, url = '' }: IncomingMessage, routes: Routes, opts: CallOptions): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return line(405, 'only GET and HEAD', { allow: 'GET, HEAD' });
  const [path = ''] = url.split('?', 1);
  const route = routes.get(path);
  if (route === undefined) return line(404, `nothing here; try ${[...routes.keys()].join(', ')}`);
  try {
    return await route(opts);
  } catch (err) {
    return line(retryClass(err) === 'backoff' ? 503 : 500, messageOf(err));
  }
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  // What is left by then: an answer that takes too long, or a client that connected and sent nothing.
  const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS);
  await closed;
  clearTimeout(timer);
}
