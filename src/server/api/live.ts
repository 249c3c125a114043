/**
 * Live state for any number of listeners. All of them share one reading and one serialisation, each gets what has changed, and one that does
 * not keep up gets the newest when it does: nobody has a queue.
 */
import type { ServerResponse } from 'node:http';
import type { CallOptions } from '../../call.ts';
import { isCode, messageOf, retryClass } from '../../errors.ts';

export interface LiveOptions extends CallOptions {
  /** Reads what a key stands for. */
  readonly read: (key: string, opts: CallOptions) => Promise<unknown>;
  readonly everyMs?: number;
  /** Shorter than what the server lets a socket be idle. */
  readonly heartbeatMs?: number;
}

/** What a key of events is called, and what it stands for: `runs`, `run r0123456789`. */
export type LiveKey = string;

interface Reading {
  readonly json: string;
  /** What is sent; another object when it has changed. */
  readonly frame: Buffer;
}

interface Listener {
  readonly out: ServerResponse;
  readonly keys: readonly LiveKey[];
  /** The last frame of each key that it was sent. */
  readonly sent: Map<LiveKey, Buffer>;
  isToldAway: boolean;
}

const EVERY_MS = 1000;
const HEARTBEAT_MS = 10_000;
/** Of what was written and not taken by the socket: beyond it a listener is left out until it has caught up. */
const MAX_UNSENT = 256 << 10;
const HEARTBEAT = Buffer.from(':\n\n');
/** In the place of what was read; JSON is never empty. */
const GONE = '';

export class Live {
  readonly #options: Required<LiveOptions>;
  readonly #listeners = new Set<Listener>();
  readonly #readings = new Map<LiveKey, Reading>();
  /** When each was last tried, with or without success, on the clock of `performance.now()`. */
  readonly #triedAt = new Map<LiveKey, number>();
  #away: string | undefined;
  #isWorking = false;
  #wake: (() => void) | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  /** @param options.signal ends all of them */
  constructor(options: LiveOptions) {
    this.#options = { everyMs: EVERY_MS, heartbeatMs: HEARTBEAT_MS, ...options };
    options.signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** What is listened to, of which each costs a reading a second. */
  get keys(): ReadonlySet<LiveKey> {
    return new Set([...this.#listeners].flatMap(({ keys }) => keys));
  }

  /** Sends events to an answer whose head was written, until its client is gone. */
  add(out: ServerResponse, keys: readonly LiveKey[]): void {
    const listener: Listener = { out, keys, sent: new Map(), isToldAway: false };
    if (this.#options.signal.aborted || out.destroyed) return void out.end();
    this.#listeners.add(listener);
    out.once('close', () => this.#remove(listener));
    out.on('error', () => undefined); // is followed by close
    this.#deliver(listener);
    this.#heartbeat ??= setInterval(() => this.#beat(), this.#options.heartbeatMs);
    this.#wake?.();
    void this.#work();
  }

  #remove(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    this.#wake?.();
  }

  /** As long as there is a listener. */
  async #work(): Promise<void> {
    if (this.#isWorking) return;
    this.#isWorking = true;
    while (this.#listeners.size > 0) {
      await this.#readDue();
      for (const listener of this.#listeners) this.#deliver(listener);
      await this.#pause();
    }
    this.#isWorking = false;
    this.#readings.clear();
    this.#triedAt.clear();
    this.#away = undefined;
  }

  async #readDue(): Promise<void> {
    const { keys } = this;
    for (const key of this.#triedAt.keys()) {
      if (keys.has(key)) continue;
      this.#readings.delete(key);
      this.#triedAt.delete(key);
    }
    const now = performance.now();
    const due = [...keys].filter((key) => this.#dueAt(key) <= now);
    if (due.length === 0) return;
    const failed = await Promise.all(due.map((key) => this.#read(key)));
    const away = failed.find((err) => retryClass(err) === 'backoff');
    if (away !== undefined) this.#away = messageOf(away);
    else if (this.#away !== undefined) this.#isBack();
  }

  #dueAt(key: LiveKey): number {
    return (this.#triedAt.get(key) ?? -Infinity) + this.#options.everyMs;
  }

  /** Answers what kept it from reading. */
  async #read(key: LiveKey): Promise<unknown> {
    const before = this.#readings.get(key);
    try {
      const json = JSON.stringify(await this.#options.read(key, this.#options));
      const frame = json === before?.json ? before.frame : frameOf(key.split(' ', 1)[0] ?? '', json);
      this.#readings.set(key, { json, frame });
      return undefined;
    } catch (err) {
      // What is not there any more would be taken for current for ever.
      if (isCode(err, 'NOT_FOUND') && before?.json !== GONE) {
        this.#readings.set(key, { json: GONE, frame: frameOf('gone', JSON.stringify({ message: messageOf(err) })) });
      }
      return err;
    } finally {
      this.#triedAt.set(key, performance.now());
    }
  }

  /** Everybody gets everything again, and knows by that that it is current. */
  #isBack(): void {
    this.#away = undefined;
    for (const listener of this.#listeners) {
      listener.sent.clear();
      listener.isToldAway = false;
    }
  }

  #deliver(listener: Listener): void {
    const { out, keys, sent } = listener;
    for (const key of keys) {
      const frame = this.#readings.get(key)?.frame;
      if (frame === undefined || sent.get(key) === frame) continue;
      if (out.writableLength > MAX_UNSENT) return;
      out.write(frame);
      sent.set(key, frame);
    }
    if (this.#away === undefined || listener.isToldAway) return;
    out.write(frameOf('away', JSON.stringify({ message: this.#away })));
    listener.isToldAway = true;
  }

  #beat(): void {
    for (const { out } of this.#listeners) if (out.writableLength === 0) out.write(HEARTBEAT);
  }

  /** Until something is to be read again, or somebody has come or gone. */
  async #pause(): Promise<void> {
    const first = [...this.keys].reduce((earliest, key) => Math.min(earliest, this.#dueAt(key)), Infinity);
    const ms = Math.min(first - performance.now(), this.#options.everyMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, ms));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #end(): void {
    for (const { out } of this.#listeners) out.end();
    this.#listeners.clear();
    clearInterval(this.#heartbeat);
    this.#wake?.();
  }
}

const frameOf = (event: string, json: string): Buffer => Buffer.from(`event: ${event}\ndata: ${json}\n\n`);
