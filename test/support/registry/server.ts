import * as http from 'node:http';
import * as https from 'node:https';
import type { Server, Socket } from 'node:net';
import { closed, listen } from '../listen.ts';
import { type Answer, answer, type Asked, type Cut } from './answer.ts';
import { type FaultOrder, Faults, type OrderedFault } from './faults.ts';
import { type Filter, Log, type LogEntry, type WaitOptions } from './log.ts';
import { ClientGone, RequestBody } from './request-body.ts';
import { cutNow, send, type Wire } from './send.ts';
import { unlessGone } from './wait.ts';

export type Named = Pick<LogEntry, 'kind' | 'repo' | 'object'>;
export type RequestHook = (entry: LogEntry) => void | Promise<void>;

export interface ListenOptions {
  /** What `https.createServer` takes; plain HTTP without it. */
  readonly tls?: https.ServerOptions;
  /** The name in `host` and `url`; the server listens on 127.0.0.1 whatever it is. */
  readonly hostname?: string;
  readonly port?: number;
  /** For every answer: milliseconds before it, and bytes a second of each connection. */
  readonly latencyMs?: number;
  readonly bytesPerSecond?: number;
}

interface Connection {
  readonly id: number;
  readonly socket: Socket;
  resetNext: Cut | undefined;
}

const authKindOf = (header: string | undefined): LogEntry['authKind'] => {
  if (header === undefined) return 'none';
  const scheme = header.split(' ', 1)[0]?.toLowerCase();
  return scheme === 'basic' || scheme === 'bearer' ? scheme : 'other';
};

/** An HTTP server with a log and faults; what it serves is up to the class below. */
export abstract class TestServer implements AsyncDisposable {
  readonly log: Log;
  readonly name: string;
  latencyMs: number;
  bytesPerSecond: number | undefined;
  readonly #options: ListenOptions;
  readonly #faults: Faults;
  readonly #server: http.Server;
  readonly #connections = new Map<string, Connection>();
  readonly #hooks = new Set<RequestHook>();
  readonly #errors: unknown[] = [];
  #accepted = 0;
  #port = 0;

  protected constructor(name: string, options: ListenOptions, shared: { log?: Log; faults?: Faults } = {}) {
    this.name = name;
    this.log = shared.log ?? new Log();
    this.#faults = shared.faults ?? new Faults();
    this.#options = options;
    this.latencyMs = options.latencyMs ?? 0;
    this.bytesPerSecond = options.bytesPerSecond;
    const listener = (req: http.IncomingMessage, res: http.ServerResponse): void => {
      this.#serve(req, res).catch((err: unknown) => {
        this.#errors.push(err);
        res.destroy();
      });
    };
    // No idle timeout: a connection ends when the client or a fault ends it.
    const timeouts = { keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, noDelay: true };
    this.#server = options.tls
      ? https.createServer({ ...timeouts, ...options.tls }, listener)
      : http.createServer(timeouts, listener);
    (this.#server as Server).on('connection', (socket: Socket) => this.#accept(socket));
  }

  /** What a request is about. */
  protected abstract describe(url: URL, method: string): Named;
  /** Undefined when the request may pass. */
  protected authorize(_asked: Asked): Answer | undefined {
    return undefined;
  }
  protected abstract route(asked: Asked): Answer | Promise<Answer>;
  /** Takes a request that a fault leaves unserved. What it answers is for the fault to edit. */
  protected skip(_asked: Asked): Answer | Promise<Answer> {
    return answer(500);
  }

  protected async listen(): Promise<void> {
    this.#port = await listen(this.#server, this.#options.port);
  }

  get port(): number {
    return this.#port;
  }

  /** `127.0.0.1:port`, as it stands in a reference. */
  get host(): string {
    return `${this.#options.hostname ?? '127.0.0.1'}:${this.#port}`;
  }

  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://${this.host}`;
  }

  fault(order: FaultOrder): OrderedFault {
    return this.#faults.order(order);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  protected get faults(): Faults {
    return this.#faults;
  }

  /** Called with every request before it is looked at; the answer waits for a promise. */
  onRequest(hook: RequestHook): Disposable {
    this.#hooks.add(hook);
    return { [Symbol.dispose]: () => void this.#hooks.delete(hook) };
  }

  waitFor(filter: Filter | ((entry: LogEntry) => boolean), options?: WaitOptions): Promise<LogEntry> {
    return this.log.waitFor(filter, options);
  }

  count(filter?: Filter): number {
    return this.log.count(filter);
  }

  maxConcurrent(filter?: Filter, options?: { per?: 'all' | 'object' | 'repo' }): number {
    return this.log.maxConcurrent(filter, options);
  }

  openConnections(): number {
    return this.#connections.size;
  }

  /** Connections accepted since the start. */
  acceptedConnections(): number {
    return this.#accepted;
  }

  /** Ends every connection, idle or not. */
  async dropConnections(by: Cut = 'RST'): Promise<void> {
    await Promise.all([...this.#connections.values()].map(({ socket }) => cutNow(socket, by)));
  }

  /** Closes everything. Throws what went wrong inside the server or its hooks, so that no test passes over it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const over = closed(this.#server);
    for (const { socket } of this.#connections.values()) socket.destroy();
    await over;
    if (this.#errors.length > 0) throw new AggregateError(this.#errors, `${this.name}: the test server failed`);
  }

  #accept(socket: Socket): void {
    const key = `${socket.remotePort}`;
    this.#accepted += 1;
    this.#connections.set(key, { id: this.#accepted, socket, resetNext: undefined });
    socket.on('error', () => {}); // the client may leave whenever it likes
    socket.once('close', () => this.#connections.delete(key));
  }

  #open(req: http.IncomingMessage, connection: Connection): { url: URL; entry: LogEntry } {
    const path = req.url ?? '/';
    const url = new URL(`${this.url}${path.startsWith('/') ? path : `/${path}`}`);
    const { authorization, cookie, host, range } = req.headers;
    const method = req.method ?? 'GET';
    const entry: LogEntry = {
      id: this.log.nextId(),
      server: this.name,
      method,
      path,
      ...this.describe(url, method),
      range,
      authKind: authKindOf(authorization),
      authorization,
      cookie,
      host,
      headers: req.headers,
      body: '',
      connection: connection.id,
      startedAt: performance.now(),
      status: 0,
      bytesReceived: 0,
      bytesSent: 0,
      endedAt: undefined,
      outcome: 'open',
    };
    return { url, entry };
  }

  async #serve(req: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const connection = this.#connections.get(`${req.socket.remotePort}`);
    if (connection === undefined) return void response.destroy(); // closed since
    const { url, entry } = this.#open(req, connection);
    const gone = new AbortController();
    response.once('close', () => {
      gone.abort();
      this.log.end(entry, 'gone');
    });
    const ending = (): void => this.log.end(entry, 'sent');
    const wire: Wire = { response, socket: connection.socket, gone: gone.signal, entry, ending };
    this.log.add(entry);
    if (connection.resetNext) {
      this.log.end(entry, 'cut');
      return cutNow(connection.socket, connection.resetNext);
    }
    for (const hook of this.#hooks) await unlessGone(Promise.resolve(hook(entry)), gone.signal);
    const asked: Asked = { entry, url, body: new RequestBody(req, entry, gone.signal) };
    try {
      const built = await this.#build(asked);
      connection.resetNext = built.resetNext;
      const whole = await send(built, wire);
      this.log.end(entry, whole ? 'sent' : gone.signal.aborted ? 'gone' : 'cut');
      for (const act of built.afterwards) act();
      const { early } = asked.body.reading;
      if (early?.rest === 'read') await asked.body.skip();
      if (early?.rest === 'unread') connection.socket.destroySoon();
    } catch (err) {
      if (!(err instanceof ClientGone)) throw err;
      response.destroy();
    }
    return undefined;
  }

  async #build(asked: Asked): Promise<Answer> {
    const { entry, body } = asked;
    const refusal = this.authorize(asked);
    const orders = this.#faults.take(entry, refusal === undefined);
    for (const { reading = {}, first } of orders) {
      body.order(reading);
      first?.();
    }
    const { early } = body.reading;
    await body.skip(early?.after ?? 0);
    const unserved = orders.some((order) => order.unserved === true);
    const serve = (): Answer | Promise<Answer> => (unserved ? this.skip(asked) : this.route(asked));
    const built = refusal ?? (early === undefined ? await serve() : answer(500));
    if (early === undefined && entry.method !== 'GET' && entry.method !== 'HEAD') await body.skip();
    if (early?.rest === 'unread') built.headers.set('connection', 'close');
    built.delayMs = this.latencyMs;
    built.bytesPerSecond = this.bytesPerSecond;
    for (const effect of orders.flatMap((order) => order.do)) effect(built, asked);
    return built;
  }
}
