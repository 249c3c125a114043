import type { IncomingMessage } from 'node:http';
import type { LogEntry } from './log.ts';
import { pause, unlessGone } from './wait.ts';

/** How the body of a request is read, where it is not read at once. */
export interface Reading {
  /** Stops after so many bytes and says nothing, until the client goes away. */
  readonly stopAfter?: number;
  readonly bytesPerSecond?: number;
  /**
   * Answers after so many bytes, whatever the request asks for, which does not happen. The rest is read then, or is left unread
   * and the connection closed.
   */
  readonly early?: { readonly after: number; readonly rest: 'read' | 'unread' };
}

/** The client went away before its request was complete. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

const LOGGED = 65_536;

/** The body of a request as it comes from the socket. It counts what came in the log. */
export class RequestBody {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #entry: LogEntry;
  readonly #gone: AbortSignal;
  readonly #slow = Promise.withResolvers<void>();
  #reading: Reading = {};
  #all: Promise<Buffer> | undefined;

  constructor(req: IncomingMessage, entry: LogEntry, gone: AbortSignal) {
    // Not destroyed with its iterator: there is an answer to send.
    this.#chunks = req.iterator({ destroyOnReturn: false });
    req.on('error', () => {}); // the client may leave whenever it likes
    this.#entry = entry;
    this.#gone = gone;
  }

  get reading(): Reading {
    return this.#reading;
  }

  /** Fulfilled when the client is made to wait, which may be for ever. */
  get slow(): Promise<void> {
    return this.#slow.promise;
  }

  order(reading: Reading): void {
    this.#reading = { ...this.#reading, ...reading };
  }

  /** The chunks that are left. @throws ClientGone */
  async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const { stopAfter = Infinity, bytesPerSecond } = this.#reading;
      if (this.#entry.bytesReceived >= stopAfter) await this.#stopped();
      const chunk = await this.#next();
      if (chunk === undefined) return;
      this.#entry.bytesReceived += chunk.length;
      yield chunk;
      if (bytesPerSecond === undefined) continue;
      this.#slow.resolve();
      await pause((chunk.length / bytesPerSecond) * 1000, this.#gone);
    }
  }

  /** Everything, for what is small; may be asked for again. Goes into the log. @throws ClientGone */
  all(): Promise<Buffer> {
    this.#all ??= Array.fromAsync(this.rest()).then((chunks) => {
      const whole = Buffer.concat(chunks);
      this.#entry.body = whole.subarray(0, LOGGED).toString();
      return whole;
    });
    return this.#all;
  }

  /** Reads at least so many bytes, if there are as many, and throws them away. @throws ClientGone */
  async skip(bytes = Infinity): Promise<void> {
    const until = this.#entry.bytesReceived + bytes;
    if (bytes > 0) for await (const _ of this.rest()) if (this.#entry.bytesReceived >= until) return;
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#chunks.next();
      return done === true ? undefined : value;
    } catch (err) {
      throw new ClientGone('the client left', { cause: err });
    }
  }

  async #stopped(): Promise<never> {
    this.#slow.resolve();
    await unlessGone(new Promise(() => {}), this.#gone);
    throw new ClientGone('the client left');
  }
}
