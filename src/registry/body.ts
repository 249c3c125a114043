import type { Dispatcher } from 'undici';
import type { ByteStream } from '../call.ts';
import { GantryError } from '../errors.ts';
import { safeUrl } from './redact.ts';

/** Above this the connection is paused until the consumer has caught up; bounds the memory of one transfer. */
const HIGH_WATER_BYTES = 512 << 10;
const LOW_WATER_BYTES = 128 << 10;

/** What `discard` reads of an unwanted body before it gives the connection up instead. */
const MAX_DISCARD_BYTES = 64 << 10;
const MAX_DISCARD_MS = 1000;

export interface StallLimits {
  /** Without a byte for so long, a body is given up. Milliseconds. */
  readonly stallMs: number;
  /** Slower than this over `rateWindowMs` is as good as stalled: a trickle of one byte a second must end. Bytes per second. */
  readonly minRate: number;
  readonly rateWindowMs: number;
}

export const DEFAULT_STALL_LIMITS: StallLimits = { stallMs: 30_000, minRate: 1024, rateWindowMs: 60_000 };

/**
 * The body of one response as a byte stream. Chunks arrive by callback and wait in a short queue: this costs a third less
 * CPU than a node stream. The clock of the watchdog stands still while we are the slow side.
 */
export class Body implements ByteStream {
  readonly #controller: Dispatcher.DispatchController;
  readonly #url: URL;
  readonly #watchdog: NodeJS.Timeout;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #paused = false;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: unknown;
  #wake: (() => void) | undefined;
  #closers: (() => void)[] = [];
  #received = 0;
  #receivedAtTick = 0;
  #hasStalled = false;
  #silentMs = 0;
  #windowMs = 0;
  #windowBytes = 0;

  constructor(controller: Dispatcher.DispatchController, limits: StallLimits, url: URL) {
    this.#controller = controller;
    this.#url = url;
    const tickMs = Math.max(10, Math.min(1000, limits.stallMs / 4));
    this.#watchdog = setInterval(() => this.#watch(tickMs, limits), tickMs);
    this.#watchdog.unref();
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received;
  }

  /** Whether it was given up because it sent nothing for too long, or too little. */
  get hasStalled(): boolean {
    return this.#hasStalled;
  }

  /** Calls back once when no more bytes will come, for whatever reason; at once when that is so already. */
  onClose(callback: () => void): void {
    if (this.#state === 'open') this.#closers.push(callback);
    else callback();
  }

  push(chunk: Uint8Array): void {
    if (this.#state !== 'open') return;
    this.#queue.push(chunk);
    this.#queued += chunk.byteLength;
    this.#received += chunk.byteLength;
    if (this.#queued >= HIGH_WATER_BYTES && !this.#paused) {
      this.#paused = true;
      this.#controller.pause();
    }
    this.#wake?.();
  }

  end(): void {
    this.#close('ended');
  }

  fail(err: unknown): void {
    this.#error ??= err;
    this.#close('failed');
  }

  /** Gives up: the connection cannot be used again, because the rest of the body would come first. */
  abort(err: Error): void {
    if (this.#state !== 'open') return;
    this.fail(err);
    this.#controller.abort(err);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#queue.shift();
        if (chunk !== undefined) {
          this.#queued -= chunk.byteLength;
          if (this.#paused && this.#queued <= LOW_WATER_BYTES) this.#resume();
          yield chunk;
        } else if (this.#state === 'failed') {
          throw this.#error;
        } else if (this.#state === 'ended') {
          return;
        } else {
          await this.#more();
        }
      }
    } finally {
      this.#give();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#give();
  }

  /** The whole body. @throws GantryError TOO_LARGE beyond `limit` bytes */
  async bytes(limit: number, what: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this) {
      size += chunk.byteLength;
      if (size > limit) {
        const message = `${this.#url.host} sent more than ${limit} bytes for ${what}`;
        throw new GantryError('TOO_LARGE', message, { origin: 'source', host: this.#url.host });
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** The first bytes of the body; the rest is thrown away. For error texts. */
  async head(limit: number): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size >= limit) break;
    }
    return Buffer.concat(chunks).subarray(0, limit);
  }

  /**
   * For the body of a 401 or a redirect, which says nothing: reads the few bytes that it has, because giving it up would
   * cost the connection, and with it a handshake for the request that follows.
   */
  async discard(): Promise<void> {
    const timer = setTimeout(() => this.#give(), MAX_DISCARD_MS);
    try {
      await this.head(MAX_DISCARD_BYTES);
    } catch {
      // Nobody wanted it; the next request finds out what is wrong with the connection.
    } finally {
      clearTimeout(timer);
    }
  }

  #give(): void {
    if (this.#state === 'open') this.abort(new GantryError('CANCELLED', 'the body was not wanted any more'));
    this.#queue = [];
    this.#queued = 0;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #resume(): void {
    this.#paused = false;
    this.#silentMs = 0;
    this.#windowMs = 0;
    this.#windowBytes = 0;
    this.#controller.resume();
  }

  #close(state: 'ended' | 'failed'): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    clearInterval(this.#watchdog);
    this.#wake?.();
    for (const callback of this.#closers) callback();
    this.#closers = [];
  }

  #watch(tickMs: number, limits: StallLimits): void {
    const bytes = this.#received - this.#receivedAtTick;
    this.#receivedAtTick = this.#received;
    if (this.#paused) return;
    this.#silentMs = bytes > 0 ? 0 : this.#silentMs + tickMs;
    this.#windowMs += tickMs;
    this.#windowBytes += bytes;
    if (this.#silentMs >= limits.stallMs) {
      this.#stall(`sent no byte for ${limits.stallMs / 1000} s`);
    } else if (this.#windowMs >= limits.rateWindowMs) {
      if (this.#windowBytes < (limits.minRate * this.#windowMs) / 1000) {
        this.#stall(`sent less than ${limits.minRate} bytes per second`);
      }
      this.#windowMs = 0;
      this.#windowBytes = 0;
    }
  }

  #stall(what: string): void {
    const { host } = this.#url;
    this.#hasStalled = true;
    this.abort(new GantryError('TIMEOUT', `${host} ${what} (${safeUrl(this.#url)})`, { origin: 'source', host }));
  }
}
