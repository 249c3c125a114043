/** One request and its answer, on node's own terms: web streams would cost more than everything else that is done for a blob. */
import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ByteStream, CallOptions } from '../../call.ts';
import type { OpenFile } from '../../content/ports.ts';
import { GantryError } from '../../errors.ts';
import type { Blocks } from './blocks.ts';
import type { Span } from './conditional.ts';

/** Requests that wait or are answered, by their connection: many may be sent on one before the first is answered. */
const OPEN = new WeakMap<Socket, Set<AbortController>>();

function openOn(socket: Socket): Set<AbortController> {
  let open = OPEN.get(socket);
  if (open === undefined) {
    const fresh = new Set<AbortController>();
    socket.once('close', () => {
      for (const each of fresh) each.abort();
    });
    OPEN.set(socket, fresh);
    open = fresh;
  }
  return open;
}

export class Exchange {
  readonly request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #gone = new AbortController();

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.#response = response;
  }

  /** Aborts when the client is gone, also while its turn has not come. */
  get call(): CallOptions {
    return { signal: this.#gone.signal };
  }

  get isHead(): boolean {
    return this.request.method === 'HEAD';
  }

  get isBegun(): boolean {
    return this.#response.headersSent;
  }

  /** Does `work` when all earlier requests of the connection were answered: what is sent before that would pile up in memory. */
  async inTurn(work: () => Promise<void>): Promise<void> {
    const { socket } = this.request;
    const open = openOn(socket);
    open.add(this.#gone);
    try {
      if (socket.destroyed) this.#gone.abort();
      if (this.#response.socket === null) await once(this.#response, 'socket', { signal: this.#gone.signal });
      await work();
    } finally {
      open.delete(this.#gone);
      this.#gone.abort(); // nobody who was called for this goes on
    }
  }

  /** A short answer. To a HEAD, and with 304, node sends nothing but its headers. */
  reply(status: number, headers: OutgoingHttpHeaders, body: Buffer | string = ''): void {
    const length = status === 304 ? {} : { 'content-length': Buffer.byteLength(body) };
    this.#response.writeHead(status, { ...headers, ...length });
    this.#response.end(body);
  }

  /** The answer to a HEAD for something of this length. */
  replyHead(status: number, headers: OutgoingHttpHeaders, length: number): void {
    this.#response.writeHead(status, { ...headers, 'content-length': length });
    this.#response.end();
  }

  /** Part of a file. The next block is read while the last is on its way. */
  async sendFile(
    status: number,
    headers: OutgoingHttpHeaders,
    file: OpenFile,
    { start, end }: Span,
    blocks: Blocks,
  ): Promise<void> {
    this.#response.writeHead(status, { ...headers, 'content-length': end - start });
    let last = Promise.resolve();
    for (let position = start; position < end;) {
      const block = blocks.take(end - position);
      const count = await readSome(file, block, position, end).catch((err: unknown) => {
        blocks.give(block, true);
        throw err;
      });
      position += count;
      await last.catch((err: unknown) => {
        blocks.give(block, true);
        throw err;
      });
      last = this.#write(block.subarray(0, count)).then(
        () => blocks.give(block, true),
        (err: unknown) => {
          blocks.give(block, false);
          throw err;
        },
      );
      last.catch(() => {}); // whoever awaits it still gets it
    }
    await last;
    this.#response.end();
  }

  /**
   * The first `length` bytes of a stream. With `isRest` they are all that it has, and the last of them go out only when it has ended well:
   * that is what tells that all of them were right.
   */
  async sendStream(
    status: number,
    headers: OutgoingHttpHeaders,
    body: ByteStream,
    { length, isRest }: { readonly length: number; readonly isRest: boolean },
  ): Promise<void> {
    this.#response.writeHead(status, { ...headers, 'content-length': length });
    this.#response.flushHeaders();
    let left = length;
    let held: Uint8Array | undefined;
    for await (const chunk of body) {
      if (isRest && chunk.byteLength > left) throw new GantryError('SIZE_MISMATCH', 'a stream has more than was said');
      if (held !== undefined) await this.#write(held);
      held = chunk.byteLength > left ? chunk.subarray(0, left) : chunk;
      left -= held.byteLength;
      if (left === 0 && !isRest) break;
    }
    if (left > 0) throw new GantryError('SIZE_MISMATCH', `a stream ended ${left} bytes early`);
    this.#response.end(held);
  }

  /** Ends the connection, so that what was sent so far is not taken for all of it. */
  cut(): void {
    this.#response.destroy();
    this.request.socket.destroy();
  }

  #write(chunk: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { signal } = this.#gone;
    const gone = (): void => reject(signal.reason);
    if (signal.aborted) gone();
    signal.addEventListener('abort', gone, { once: true });
    this.#response.write(chunk, (err) => {
      signal.removeEventListener('abort', gone);
      if (err === null || err === undefined) resolve();
      else reject(err);
    });
    return promise;
  }
}

async function readSome(file: OpenFile, block: Buffer, position: number, end: number): Promise<number> {
  const { bytesRead } = await file.read(block, 0, Math.min(block.length, end - position), position);
  if (bytesRead === 0)
    throw new GantryError('SIZE_MISMATCH', 'a file of the store became shorter', { origin: 'store' });
  return bytesRead;
}
