/** Blobs on their way into the store. Clients of one blob share one transfer, each reading what has come at its own pace. */
import { type ByteStream, type CallOptions, type OpenOptions, sleep } from '../../call.ts';
import type { GrowingProvider } from '../../content/ports.ts';
import { asGantryError, GantryError } from '../../errors.ts';
import type { ContentNode } from '../../flow/handler.ts';
import { Slots } from '../../flow/slots.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { refKey } from '../../oci/ref-key.ts';

/** Brings a blob into the store. @throws GantryError whatever keeps it from there */
export type FetchBlob = (node: ContentNode, opts: CallOptions) => Promise<void>;

export interface TransfersParts {
  readonly store: GrowingProvider;
  readonly fetch: FetchBlob;
  /** At a time. */
  readonly maxActive: number;
  /** Beyond it nothing is begun: whoever asks is told to come back. */
  readonly maxWaiting: number;
}

/** Until an ingest is there to be followed. */
const LOOK_MS = 25;
const COME_BACK_MS = 5_000;

export class Transfers implements AsyncDisposable {
  readonly #parts: TransfersParts;
  readonly #slots: Slots;
  readonly #running = new Map<string, Transfer>();
  readonly #stop = new AbortController();

  constructor(parts: TransfersParts) {
    this.#parts = parts;
    this.#slots = new Slots(parts.maxActive);
  }

  get count(): number {
    return this.#running.size;
  }

  /** The transfer of a node's content, which goes on when those who asked for it are gone. @throws GantryError BUSY */
  of(node: ContentNode): Transfer {
    const key = `${node.source} ${node.desc.digest}`;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    if (this.#running.size >= this.#parts.maxWaiting) throw tooMany();
    const transfer = new Transfer(this.#parts.store, node.desc, this.#fetch(node));
    this.#running.set(key, transfer);
    const ended = (): void => void this.#running.delete(key);
    transfer.done.then(ended, ended);
    return transfer;
  }

  /** Ends what is under way; it stays in the store, and is taken up again by whoever wants it next. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new GantryError('CANCELLED', 'the server is stopping'));
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done));
  }

  async #fetch(node: ContentNode): Promise<void> {
    const { signal } = this.#stop;
    const leave = await this.#slots.take(signal);
    try {
      await this.#parts.fetch(node, { signal });
    } finally {
      leave();
    }
  }
}

export class Transfer {
  readonly desc: Descriptor;
  /** When all of it is in the store. */
  readonly done: Promise<void>;
  readonly #store: GrowingProvider;
  /** Aborts with the reason when it has failed. */
  readonly #failed = new AbortController();
  readonly #begun: Promise<void>;

  constructor(store: GrowingProvider, desc: Descriptor, done: Promise<void>) {
    this.#store = store;
    this.desc = desc;
    this.done = done;
    done.catch((err: unknown) => this.#failed.abort(asGantryError(err)));
    this.#begun = Promise.race([done, this.#firstBytes()]);
    this.#begun.catch(() => undefined); // told to those who wait
  }

  /**
   * Waits for the first bytes: until then what keeps them away can be told in the status of an answer.
   * @throws GantryError why there will be none; TIMEOUT when there are none after so many milliseconds
   */
  begun(withinMs: number, opts: CallOptions): Promise<void> {
    return within(this.#begun, withinMs, this.desc, opts);
  }

  /** Waits for all of it. @throws GantryError as begun does */
  whole(withinMs: number, opts: CallOptions): Promise<void> {
    return within(this.done, withinMs, this.desc, opts);
  }

  /** What has come and what comes, from `offset` on. It ends well only when all of the blob is right, and in the store. */
  async open({ offset = 0, signal }: OpenOptions): Promise<ByteStream> {
    const stream = await this.#follow(AbortSignal.any([signal, this.#failed.signal]));
    return offset === 0 ? stream : from(stream, offset);
  }

  async #follow(signal: AbortSignal): Promise<ByteStream> {
    const { digest, size } = this.desc;
    for (;;) {
      // Between two tries nothing is there for a while; whether there will be another one, only the transfer knows.
      const request = { ref: refKey(this.desc), digest, size };
      const stream = await this.#store.follow(request, { signal, patienceMs: Infinity });
      if (stream !== undefined) return stream;
      await sleep(LOOK_MS, signal);
    }
  }

  async #firstBytes(): Promise<void> {
    await using stream = await this.#follow(this.#failed.signal);
    for await (const _first of stream) return;
  }
}

async function within(
  event: Promise<void>,
  withinMs: number,
  { digest }: Descriptor,
  { signal }: CallOptions,
): Promise<void> {
  const answered = new AbortController();
  const late = sleep(withinMs, AbortSignal.any([signal, answered.signal])).then(() => {
    const why = `${digest} has not come within ${withinMs / 1000} s; it is still being fetched`;
    throw new GantryError('TIMEOUT', why, { origin: 'source', digest, retryAfterMs: COME_BACK_MS });
  });
  try {
    await Promise.race([event, late]);
  } finally {
    late.catch(() => undefined);
    answered.abort();
  }
}

/** All of a stream is read, since all of it is verified; the first bytes are not handed out. */
function from(stream: ByteStream, offset: number): ByteStream {
  return {
    async *[Symbol.asyncIterator]() {
      let left = offset;
      for await (const chunk of stream) {
        const skipped = Math.min(left, chunk.byteLength);
        left -= skipped;
        if (skipped < chunk.byteLength) yield chunk.subarray(skipped);
      }
    },
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
}

const tooMany = (): GantryError =>
  new GantryError('BUSY', 'too many blobs are being fetched', { retryAfterMs: COME_BACK_MS });
