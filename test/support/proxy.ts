import * as http from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { closed, listen } from './listen.ts';

export interface ProxyEntry {
  readonly method: string;
  /** `host:port` of a CONNECT, else the absolute URL. */
  readonly target: string;
  readonly proxyAuthorization: string | undefined;
  readonly authorization: string | undefined;
}

export interface ProxyOptions {
  /** `user:password` that clients must bring. */
  readonly credentials?: string;
  /** Where a name leads, for names that exist only in the test: `{'registry.example:443': '127.0.0.1:5000'}`. */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** A forward proxy that notes what it was asked for. */
export class TestProxy implements AsyncDisposable {
  readonly log: ProxyEntry[] = [];
  readonly #options: ProxyOptions;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  private constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = http.createServer((req, res) => this.#forward(req, res));
    this.#server.on('connect', (req: http.IncomingMessage, client: Socket, head: Buffer) => {
      this.#tunnel(req, client, head);
    });
    this.#server.on('connection', (socket) => this.#keep(socket));
  }

  static async start(options: ProxyOptions = {}): Promise<TestProxy> {
    const proxy = new TestProxy(options);
    proxy.#port = await listen(proxy.#server);
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const over = closed(this.#server);
    for (const socket of this.#sockets) socket.destroy();
    await over;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Notes the request; false when it lacks the credentials. */
  #note(req: http.IncomingMessage): boolean {
    const { authorization, 'proxy-authorization': proxyAuthorization } = req.headers;
    this.log.push({ method: req.method ?? '', target: req.url ?? '', proxyAuthorization, authorization });
    const { credentials } = this.#options;
    if (credentials === undefined) return true;
    return proxyAuthorization === `Basic ${Buffer.from(credentials).toString('base64')}`;
  }

  #place(authority: string): { host: string; port: number } {
    const [, host = '', port = '80'] = /^(.*):(\d+)$/.exec(this.#options.hosts?.[authority] ?? authority) ?? [];
    return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
  }

  #tunnel(req: http.IncomingMessage, client: Socket, head: Buffer): void {
    if (!this.#note(req)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\n\r\n');
      return;
    }
    const upstream = connect(this.#place(req.url ?? ''), () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      pipeline(client, upstream, () => upstream.destroy());
      pipeline(upstream, client, () => client.destroy());
    });
    this.#keep(upstream);
    upstream.on('error', () => client.destroy());
  }

  #forward(req: http.IncomingMessage, res: http.ServerResponse): void {
    if (!this.#note(req)) {
      res.writeHead(407, { 'proxy-authenticate': 'Basic realm="proxy"' }).end();
      return;
    }
    const url = URL.parse(req.url ?? '');
    if (url === null) {
      res.writeHead(400).end('a proxy wants an absolute URL');
      return;
    }
    const { 'proxy-authorization': _, 'proxy-connection': _connection, ...headers } = req.headers;
    const place = this.#place(`${url.hostname}:${url.port === '' ? '80' : url.port}`);
    const options = { ...place, method: req.method, path: url.pathname + url.search, headers, agent: false };
    const upstream = http.request(options, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, res, () => {});
    });
    upstream.on('error', () => res.destroy());
    upstream.on('socket', (socket) => this.#keep(socket));
    pipeline(req, upstream, () => {});
  }
}
