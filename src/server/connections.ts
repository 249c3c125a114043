/** What the clients of a server may take of it by connecting: connections of one address, and requests of one connection. */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Requests of a connection that are not answered yet. node reads on and on while none of them is answered, so that one connection could fill the
 * memory; container engines send one at a time, and so do browsers.
 */
const MAX_OPEN_REQUESTS = 32;

/** Requests that are not answered yet, by their connection. */
export class OpenRequests {
  readonly #bySocket = new Map<Socket, Set<ServerResponse>>();

  /** False for one request too many: its connection is ended, and nothing else may be done for it. */
  add(response: ServerResponse, socket: Socket): boolean {
    const open = this.#of(socket);
    // What came in one piece with the one too many still comes after it.
    if (socket.destroyed || open.size >= MAX_OPEN_REQUESTS) {
      socket.destroy();
      return false;
    }
    open.add(response);
    response.once('close', () => open.delete(response));
    return true;
  }

  *[Symbol.iterator](): Iterator<ServerResponse> {
    for (const open of this.#bySocket.values()) yield* open;
  }

  #of(socket: Socket): Set<ServerResponse> {
    const known = this.#bySocket.get(socket);
    if (known !== undefined) return known;
    const open = new Set<ServerResponse>();
    this.#bySocket.set(socket, open);
    socket.once('close', () => this.#bySocket.delete(socket));
    return open;
  }
}

/** Drops connections of an address that has `max` open. */
export function limitByAddress(server: Server, max: number): void {
  const counts = new Map<string, number>();
  server.on('connection', (socket) => {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) return; // gone already
    const count = counts.get(remoteAddress) ?? 0;
    if (count >= max) {
      socket.destroy();
      return;
    }
    counts.set(remoteAddress, count + 1);
    socket.once('close', () => {
      const left = (counts.get(remoteAddress) ?? 1) - 1;
      if (left > 0) counts.set(remoteAddress, left);
      else counts.delete(remoteAddress);
    });
  });
}
