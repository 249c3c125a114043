/** Blobs on their way into the store. Clients of one blob share one transfer, each reading what has come at its own pace. */
import { type ByteStream, type CallOptions, type OpenOptions, sleep } from '../../call.ts';
import type { GrowingProvider } from '../../content/ports.ts';
import { asGantryError, GantryError } from '../../errors.ts';
import type { ContentNode } from '../../flow/handler.ts';
import { Slots } from '../../flow/slots.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { registryOf } from '../../oci/location.ts';
import { refKey } from '../../oci/ref-key.ts';
import { SharedCalls } from '../../registry/shared-calls.ts';

/** Brings a blob into the store. @throws GantryError whatever keeps it from there */
export type FetchBlob = (node: ContentNode, opts: CallOptions) => Promise<void>;

export interface TransfersParts {
  readonly store: GrowingProvider;
  readonly fetch: FetchBlob;
  /** Of one registry at a time: one that is stuck must not keep the others waiting. */
  readonly maxActive: number;
  /** Of one registry, those that are being fetched included. Beyond it nothing is begun: whoever asks is told to come back. */
  readonly maxOfRegistry: number;
  /** The same over all of them. */
  readonly maxInAll: number;
}

/** Between two looks whether there is an ingest to be followed, in milliseconds: each is a look at the disk. */
const FIRST_LOOK_MS = 25;
const LAST_LOOK_MS = 250;
/** While it waits for its turn, only another process may be at it. */
const WAITING_LOOK_MS = 1_000;
const COME_BACK_MS = 5_000;

/** Those of one registry. */
interface Share {
  readonly slots: Slots;
  count: number;
}

export class Transfers implements AsyncDisposable {
  readonly #parts: TransfersParts;
  /** By registry: as many as there are rules. */
  readonly #shares = new Map<string, Share>();
  readonly #running = new Map<string, Transfer>();
  readonly #stop = new AbortController();

  constructor(parts: TransfersParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#running.size;
  }

  /** The transfer of a node's content, which goes on when those who asked for it are gone. @throws GantryError BUSY */
  of(node: ContentNode): Transfer {
    // Of a wrong size somebody may have been told: what a transfer of that size gives is not what others are to get.
    const key = `${node.source} ${node.desc.digest} ${node.desc.size}`;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const share = this.#shareOf(registryOf(node.source));
    const { maxOfRegistry, maxInAll } = this.#parts;
    if (share.count >= maxOfRegistry || this.#running.size >= maxInAll) throw tooMany();
    share.count += 1;
    const transfer = new Transfer(this.#parts.store, node.desc, (onStart) => this.#fetch(node, share.slots, onStart));
    this.#running.set(key, transfer);
    const ended = (): void => {
      share.count -= 1;
      this.#running.delete(key);
    };
    transfer.done.then(ended, ended);
    return transfer;
  }

  /** Ends what is under way; it stays in the store, and is taken up again by whoever wants it next. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new GantryError('CANCELLED', 'the server is stopping'));
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done));
  }

  #shareOf(registry: string): Share {
    const share = this.#shares.get(registry) ?? { slots: new Slots(this.#parts.maxActive), count: 0 };
    this.#shares.set(registry, share);
    return share;
  }

  async #fetch(node: ContentNode, slots: Slots, onStart: () => void): Promise<void> {
    const { signal } = this.#stop;
    const leave = await slots.take(signal);
    onStart();
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
  /** When its turn has come. */
  readonly #started = Promise.withResolvers<void>();
  #isStarted = false;
  #isDone = false;
  /** Whoever waits for the first bytes looks for them together; nobody does when all have left. */
  readonly #first = new SharedCalls<void>({ ttlMs: 0 });
  #hasBegun = false;

  /** @param run brings the content, and tells when its turn has come */
  constructor(store: GrowingProvider, desc: Descriptor, run: (onStart: () => void) => Promise<void>) {
    this.#store = store;
    this.desc = desc;
    this.done = run(() => {
      this.#isStarted = true;
      this.#started.resolve();
    });
    this.done.then(
      () => {
        this.#isDone = true;
      },
      (err: unknown) => this.#failed.abort(asGantryError(err)),
    );
  }

  /**
   * Waits for the first bytes: until then what keeps them away can be told in the status of an answer.
   * @param until on the clock of `performance.now`
   * @throws GantryError why there will be none; TIMEOUT when there are none by then
   */
  async begun(until: number, opts: CallOptions): Promise<void> {
    if (this.#hasBegun) return;
    const look = (shared: CallOptions): Promise<void> => this.#look(shared);
    await within((each) => this.#first.get('', look, each), until, this.desc, opts);
    this.#hasBegun = true;
  }

  /** Waits for all of it. @throws GantryError as begun does */
  whole(until: number, opts: CallOptions): Promise<void> {
    return within(() => this.done, until, this.desc, opts);
  }

  /** What has come and what comes, from `offset` on. It ends well only when all of the blob is right, and in the store. */
  async open({ offset = 0, signal }: OpenOptions): Promise<ByteStream> {
    const stream = await this.#follow(AbortSignal.any([signal, this.#failed.signal]));
    return offset === 0 ? stream : from(stream, offset);
  }

  async #follow(signal: AbortSignal): Promise<ByteStream> {
    const { digest, size } = this.desc;
    for (let lookMs = FIRST_LOOK_MS; ;) {
      // Between two tries nothing is there for a while; whether there will be another one, only the transfer knows.
      const isLast = this.#isDone;
      const request = { ref: refKey(this.desc), digest, size };
      const stream = await this.#store.follow(request, { signal, isExpected: () => !this.#isDone });
      if (stream !== undefined) return stream;
      if (isLast)
        throw new GantryError('NOT_FOUND', `${digest} is not in the store any more`, { origin: 'store', digest });
      if (this.#isStarted) {
        await sleep(lookMs, signal);
        lookMs = Math.min(LAST_LOOK_MS, lookMs * 2);
      } else {
        await Promise.race([this.#started.promise, sleep(WAITING_LOOK_MS, signal)]);
      }
    }
  }

  /** Ends with the first bytes, and when the transfer has ended. */
  async #look({ signal }: CallOptions): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([this.done, this.#firstBytes(AbortSignal.any([signal, over.signal]))]);
    } finally {
      over.abort();
    }
  }

  async #firstBytes(signal: AbortSignal): Promise<void> {
    await using stream = await this.#follow(signal);
    for await (const _first of stream) return;
  }
}

async function within(
  event: (opts: CallOptions) => Promise<void>,
  until: number,
  { digest }: Descriptor,
  { signal }: CallOptions,
): Promise<void> {
  const answered = new AbortController();
  const each = { signal: AbortSignal.any([signal, answered.signal]) };
  const late = sleep(Math.max(0, until - performance.now()), each.signal).then(() => {
    const why = `${digest} has not come in time; it is still being fetched`;
    throw new GantryError('TIMEOUT', why, { digest, retryAfterMs: COME_BACK_MS });
  });
  try {
    await Promise.race([event(each), late]);
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
