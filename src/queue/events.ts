/** What happens in a run, told to those who watch it: batches over a channel, lost without harm. Results never go this way. */
import type { Redis } from 'ioredis';
import { errorOf } from './error-record.ts';
import type { DispatchEvent } from '../flow/dispatcher.ts';
import type { ErrorRecord } from '../flow/farm-status.ts';
import type { NodeEvent } from '../flow/handler.ts';
import type { Keys } from './keys.ts';
import { readNode } from './record.ts';

export type TicketEvent = Exclude<DispatchEvent, { kind: 'image' }>;

interface Sent {
  readonly kind: TicketEvent['kind'];
  /** JSON; see record.ts. */
  readonly node: string;
  readonly event?: NodeEvent;
  readonly error?: ErrorRecord;
}

const FLUSH_AFTER_MS = 50;

/**
 * Gathers the events of one ticket. What was gathered is sent before the ticket changes the graph: so nobody hears of a child
 * before he hears that it was added.
 */
export class EventSender {
  readonly #redis: Redis;
  readonly #channel: string;
  #batch: string[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis, channel: string) {
    this.#redis = redis;
    this.#channel = channel;
  }

  /** @param node JSON of the node; see record.ts */
  tell(kind: TicketEvent['kind'], node: string, what: Pick<Sent, 'event' | 'error'> = {}): void {
    const sent: Sent = { kind, node, ...what };
    this.#batch.push(JSON.stringify(sent));
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_AFTER_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#batch.length === 0) return;
    const message = `[${this.#batch.join(',')}]`;
    this.#batch = [];
    void this.#redis.publish(this.#channel, message).catch(() => undefined);
  }
}

function eventOf({ kind, node: json, event, error }: Sent): TicketEvent | undefined {
  const node = readNode(json);
  if (kind === 'node') return event && { kind, node, event };
  if (kind === 'failed') return error && { kind, node, error: errorOf(error) };
  return { kind, node };
}

/** Hears the events of one run, on a connection of its own. */
export class EventListener implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #publisher: Redis;
  readonly #channel: string;
  readonly #onEvent: (event: TicketEvent) => void;
  readonly #marks = new Map<string, () => void>();

  private constructor(redis: Redis, publisher: Redis, channel: string, onEvent: (event: TicketEvent) => void) {
    this.#redis = redis;
    this.#publisher = publisher;
    this.#channel = channel;
    this.#onEvent = onEvent;
    redis.on('message', (_channel: string, message: string) => this.#heard(message));
  }

  static async open(
    redis: Redis,
    keys: Keys,
    run: string,
    onEvent: (event: TicketEvent) => void,
  ): Promise<EventListener> {
    const own = redis.duplicate();
    own.on('error', () => undefined);
    const channel = keys.events(run);
    const listener = new EventListener(own, redis, channel, onEvent);
    await own.subscribe(channel);
    return listener;
  }

  /** Waits, though not for long, until all that was sent before has been heard: Redis keeps the order of a channel. */
  async settle(mark: string): Promise<void> {
    const heard = Promise.withResolvers<undefined>();
    this.#marks.set(mark, () => heard.resolve(undefined));
    const timer = setTimeout(() => heard.resolve(undefined), 1000);
    await this.#publisher.publish(this.#channel, JSON.stringify(mark)).catch(() => undefined);
    await heard.promise;
    clearTimeout(timer);
  }

  #heard(message: string): void {
    const sent: string | Sent[] = JSON.parse(message);
    if (typeof sent === 'string') this.#marks.get(sent)?.();
    else for (const event of sent.map(eventOf)) if (event !== undefined) this.#onEvent(event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#redis.disconnect();
  }
}
