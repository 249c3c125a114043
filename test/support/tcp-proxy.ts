import { connect, createServer, type Server, type Socket } from 'node:net';
import { closed, listen } from './listen.ts';

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** Stands between a client and a server, and can stop forwarding: a network that went silent. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #target: number;
  #paused = false;
  #refusing = false;
  #accepted = 0;
  #port = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  /** To a port of 127.0.0.1. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#port = await listen(proxy.#server);
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Connections accepted since the start. */
  get accepted(): number {
    return this.#accepted;
  }

  get open(): number {
    return this.#pairs.size;
  }

  /** Forwards nothing more, in either direction, on old and new connections; all stay open. */
  pause(): void {
    this.#paused = true;
    for (const { client, upstream } of this.#pairs) {
      client.pause();
      upstream.pause();
    }
  }

  resume(): void {
    this.#paused = false;
    for (const { client, upstream } of this.#pairs) {
      client.resume();
      upstream.resume();
    }
  }

  /** Ends all connections, in both directions. */
  cut(by: 'FIN' | 'RST' = 'RST'): void {
    for (const socket of [...this.#pairs].flatMap(({ client, upstream }) => [client, upstream])) {
      if (by === 'RST') socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  /** New connections are reset while this is true. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const over = closed(this.#server);
    this.cut();
    await over;
  }

  #accept(client: Socket): void {
    this.#accepted += 1;
    client.on('error', () => {});
    if (this.#refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true });
    const pair: Pair = { client, upstream };
    this.#pairs.add(pair);
    this.#forward(client, upstream, pair);
    this.#forward(upstream, client, pair);
    if (this.#paused) this.pause();
  }

  #forward(from: Socket, to: Socket, pair: Pair): void {
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (!this.#paused) from.resume();
    });
    from.on('end', () => to.end());
    from.on('error', () => to.resetAndDestroy());
    from.on('close', () => {
      if (!to.writableEnded) to.end(); // what is on its way still arrives
      if (to.destroyed) this.#pairs.delete(pair);
    });
  }
}
