/** HTTP/1.1 over undici: one request, one response. Knows nothing of registries. */
import { lookup as dnsLookup } from 'node:dns';
import { isIP } from 'node:net';
import { getDefaultHighWaterMark, type Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { type CallOptions, fillsItsBuffer } from '../call.ts';
import { GantryError } from '../errors.ts';
import { isPublicAddress } from './address.ts';
import { Agents, type AgentsOptions, type Route, type Way } from './agents.ts';
import { Body, type StallLimits } from './body.ts';
import { safeUrl } from './redact.ts';
import { isBrokenConnection, transportError } from './transport-error.ts';
import { proxyRefusal } from './tunnel.ts';

export type { Route } from './agents.ts';

export interface TransportOptions extends AgentsOptions {
  readonly userAgent: string;
  /** From the request to the end of the response's headers. */
  readonly headersTimeoutMs: number;
  readonly stall: StallLimits;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | UploadBody;
  readonly route: Route;
  /** Only addresses of the public internet will do: the URL was named by somebody out there. */
  readonly publicOnly: boolean;
}

/** A body that is sent as it comes. */
export interface UploadBody {
  /** Bytes: sent as Content-Length; fewer or more are an error. */
  readonly length: number;
  /** Its chunks are nobody else's: see ByteStream. */
  readonly exclusive?: boolean;
  /** Called for each try of the request anew. Whoever made it releases what is behind it. */
  open(): AsyncIterable<Uint8Array>;
}

export interface HttpResponse {
  readonly status: number;
  /** Who answered, after all redirects. */
  readonly url: URL;
  /** One value of a header, by its lower-case name; several lines are joined as RFC 9110 section 5.3 allows. */
  header(name: string): string | undefined;
  readonly body: Body;
}

/**
 * After a chunk of this size undici asks for the next one only when the socket has handed all of it, and all before it, to the kernel
 * (test/pins/undici.test.ts).
 */
const FILLS_SOCKET = getDefaultHighWaterMark(false);

/** A dead connection takes so much of a body without a word. */
const MAX_STALE_SENT_BYTES = 4 << 20;

/** How often a request is sent anew because the idle connection that it was given turned out to be dead. */
const MAX_STALE = 8;

export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions;
  readonly #agents: Agents;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#agents = new Agents(options);
  }

  /**
   * Sends one request; answers when the headers are here. The body must be read or disposed.
   * @throws GantryError NETWORK, TIMEOUT, TLS, REFUSED, MALFORMED, or the signal's reason
   */
  async send(request: HttpRequest, { signal }: CallOptions): Promise<HttpResponse> {
    for (let stale = 0; ; stale += 1) {
      // undici takes a connection back one turn after the end of a response; asked earlier it opens another one.
      await turn();
      signal.throwIfAborted();
      const way = this.#agents.wayTo(request.url, request.route, request.publicOnly);
      const exchange = new Exchange({ request, way, signal, options: this.#options });
      try {
        return await exchange.run();
      } catch (err) {
        // The server closed an idle connection while we took it up: nobody's failure, and not a try of the budget.
        if (!exchange.metDeadConnection || stale >= MAX_STALE) throw err;
      }
    }
  }

  /** Whether a host is on the public internet: all its addresses are. Undefined for a name that does not resolve. */
  async isPublicHost(hostname: string): Promise<boolean | undefined> {
    const host = hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0) return isPublicAddress(host);
    const lookup = this.#options.lookup ?? dnsLookup;
    return new Promise((resolve) => {
      lookup(host, { all: true }, (err, addresses) => {
        if (err !== null || !Array.isArray(addresses)) resolve(undefined);
        else resolve(addresses.every(({ address }) => isPublicAddress(address)));
      });
    });
  }

  /** Closes all connections. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#agents[Symbol.asyncDispose]();
  }
}

interface ExchangeParts {
  readonly request: HttpRequest;
  readonly way: Way;
  readonly signal: AbortSignal;
  readonly options: TransportOptions;
}

/** One request on its way, as undici's handler of it. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #parts: ExchangeParts;
  readonly #response = Promise.withResolvers<HttpResponse>();
  #controller: Dispatcher.DispatchController | undefined;
  #body: Body | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reused = false;
  /** Bytes of the body that undici has taken. */
  #sent = 0;
  metDeadConnection = false;

  constructor(parts: ExchangeParts) {
    this.#parts = parts;
  }

  run(): Promise<HttpResponse> {
    const { request, way, signal, options } = this.#parts;
    const { url, method } = request;
    const path = `${url.pathname}${url.search}`;
    const forward = way.forwarder === undefined ? undefined : { host: url.host, ...proxyHeaders(way) };
    signal.addEventListener('abort', this.#stop, { once: true });
    // What undici throws at once, it gives to onResponseError.
    way.dispatcher.dispatch(
      {
        origin: way.forwarder?.origin ?? url.origin,
        path: way.forwarder === undefined ? path : `${url.origin}${path}`,
        method,
        headers: {
          'user-agent': options.userAgent,
          'accept-encoding': 'identity',
          ...lengthOf(request),
          ...request.headers,
          ...forward,
        },
        body: this.#bodyOf(request),
        // undici closes the connection after every HEAD, for servers that send a body with it; a mirror run is all HEADs.
        ...(method === 'HEAD' ? { reset: false } : {}),
      },
      this,
    );
    return this.#response.promise;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { signal, way } = this.#parts;
    this.#controller = controller;
    this.#reused = !way.isFresh;
    if (signal.aborted) {
      controller.abort(reasonOf(signal));
      return;
    }
    this.#arm();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) return; // informational: the clock goes on
    clearTimeout(this.#timer);
    const { request, way, options } = this.#parts;
    if (status === 407 && way.forwarder !== undefined) {
      controller.abort(proxyRefusal(status, way.forwarder));
      return;
    }
    const body = new Body(controller, options.stall, request.url);
    body.onClose(() => this.#release());
    this.#body = body;
    this.#response.resolve({ status, url: request.url, header: (name) => joined(headers[name]), body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.end();
  }

  onResponseError(_controller: unknown, err: Error): void {
    const { request, signal } = this.#parts;
    this.#release();
    // After more than what the buffers of a socket take, the other side was alive.
    const wasIdle = this.#reused && this.#sent <= MAX_STALE_SENT_BYTES;
    this.metDeadConnection = wasIdle && this.#body === undefined && isBrokenConnection(err);
    const error = signal.aborted ? reasonOf(signal) : transportError(err, request.url);
    this.#body?.fail(error);
    this.#response.reject(error);
  }

  readonly #stop = (): void => {
    const reason = reasonOf(this.#parts.signal);
    // Before the connection stands there is nothing to abort; onRequestStart will do it.
    if (this.#body !== undefined) this.#body.abort(reason);
    else this.#controller?.abort(reason);
    clearTimeout(this.#timer);
    this.#response.reject(reason);
  };

  #bodyOf({ body }: HttpRequest): string | Uint8Array | Readable | null {
    if (body === undefined) return null;
    if (typeof body === 'string' || body instanceof Uint8Array) return body;
    const chunks: unknown = this.#watched(body);
    // oxlint-disable-next-line no-unsafe-type-assertion -- undici takes any iterable; its types do not say so
    return chunks as Readable;
  }

  /**
   * The clock stands still while we wait for the next bytes to send: whoever gives them has one of its own. What was sent is freed, since the
   * garbage collector would let a hundred megabytes come together first.
   */
  async *#watched(body: UploadBody): AsyncGenerator<Uint8Array, void, undefined> {
    clearTimeout(this.#timer);
    let sent: ArrayBuffer[] = [];
    for await (const chunk of body.open()) {
      this.#arm();
      const { byteLength } = chunk;
      this.#sent += byteLength;
      if (body.exclusive === true && fillsItsBuffer(chunk)) sent.push(chunk.buffer);
      yield chunk;
      clearTimeout(this.#timer);
      if (byteLength < FILLS_SOCKET) continue;
      for (const buffer of sent) buffer.transfer(0);
      sent = [];
    }
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const { options, signal } = this.#parts;
    if (this.#body !== undefined || signal.aborted) return; // it has answered, or need not any more
    const { headersTimeoutMs } = options;
    this.#timer = setTimeout(() => this.#controller?.abort(this.#late()), headersTimeoutMs);
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#parts.signal.removeEventListener('abort', this.#stop);
  }

  #late(): GantryError {
    const { url } = this.#parts.request;
    const seconds = this.#parts.options.headersTimeoutMs / 1000;
    const message = `${url.host} did not answer within ${seconds} s (${safeUrl(url)})`;
    return new GantryError('TIMEOUT', message, { origin: 'source', host: url.host });
  }
}

type Headers = Record<string, string | string[] | undefined>;

const joined = (value: string | string[] | undefined): string | undefined =>
  value === undefined ? undefined : asUtf8(Array.isArray(value) ? value.join(', ') : value);

/** undici reads headers as Latin-1; where their bytes are UTF-8, a Location or Link with such a path would lead elsewhere. */
function asUtf8(text: string): string {
  if (/^[\u0000-\u007f]*$/.test(text)) return text; // oxlint-disable-line no-control-regex -- all of ASCII
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'));
  } catch {
    return text;
  }
}

/** Without it undici would send chunks, which many registries refuse (411). */
const lengthOf = ({ body }: HttpRequest): Record<string, string> =>
  typeof body === 'object' && 'length' in body && !(body instanceof Uint8Array)
    ? { 'content-length': String(body.length) }
    : {};

const proxyHeaders = ({ proxyAuthorization }: Way): Record<string, string> =>
  proxyAuthorization === undefined ? {} : { 'proxy-authorization': proxyAuthorization.reveal() };

const reasonOf = ({ reason }: AbortSignal): Error =>
  reason instanceof Error ? reason : new GantryError('CANCELLED', 'cancelled', { cause: reason });
