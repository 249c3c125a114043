/** The ports of content and of registries, in memory. */
import type { ByteStream } from '../../../src/call.ts';
import type { ContentWriter, Ingest, Ingester, IngestRequest, Provider } from '../../../src/content/ports.ts';
import { GantryError } from '../../../src/errors.ts';
import type { HandlerContext, NodeEvent } from '../../../src/flow/handler.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { Fetcher } from '../../../src/remote/ports.ts';

export const never: AbortSignal = new AbortController().signal;

export const context = (attempt = 0): HandlerContext & { readonly events: NodeEvent[] } => {
  const events: NodeEvent[] = [];
  return { signal: never, attempt, report: (event) => void events.push(event), events };
};

export const descriptorOf = (bytes: Uint8Array | string, mediaType: string = OCI_LAYER): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: Buffer.byteLength(bytes),
});

export function streamOf(bytes: Uint8Array, onClose?: () => void): ByteStream {
  return {
    async *[Symbol.asyncIterator]() {
      for (let at = 0; at < bytes.length; at += 4) yield bytes.subarray(at, at + 4);
    },
    [Symbol.asyncDispose]: async () => onClose?.(),
  };
}

/** Content by digest. `put` gives the descriptor of what it has put. */
export class MemoryContent implements Provider {
  readonly blobs = new Map<Digest, Buffer>();
  readonly opened: Digest[] = [];

  put(bytes: string, mediaType?: string): Descriptor {
    const desc = descriptorOf(bytes, mediaType);
    this.blobs.set(desc.digest, Buffer.from(bytes));
    return desc;
  }

  manifest(config: Descriptor, layers: readonly Descriptor[], extra: object = {}): Descriptor {
    return this.put(
      JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...extra }),
      OCI_MANIFEST,
    );
  }

  index(manifests: readonly Descriptor[]): Descriptor {
    return this.put(
      JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: manifests.map(toJson) }),
      OCI_INDEX,
    );
  }

  async open({ digest }: Pick<Descriptor, 'digest'>): Promise<ByteStream> {
    this.opened.push(digest);
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) throw new GantryError('NOT_FOUND', `${digest} is not here`, { origin: 'store', digest });
    return streamOf(bytes);
  }
}

const toJson = ({ platform, ...rest }: Descriptor): object =>
  platform === undefined ? rest : { ...rest, platform: { os: platform.os, architecture: platform.architecture } };

/** A store that keeps partial data as the real one does: on disposal, but not after a mismatch. */
export class MemoryStore extends MemoryContent implements Ingester {
  readonly partial = new Map<string, Buffer>();
  readonly requests: IngestRequest[] = [];
  busy = false;
  openWriters = 0;

  async ingest(request: IngestRequest): Promise<Ingest> {
    this.requests.push(request);
    const { digest } = request;
    const present = digest === undefined ? undefined : this.blobs.get(digest);
    if (digest !== undefined && present !== undefined) {
      return { state: 'present', info: { digest, size: present.length, createdAt: new Date(0) } };
    }
    if (this.busy) return { state: 'busy', since: new Date(0) };
    this.openWriters += 1;
    return { state: 'open', writer: new MemoryWriter(this, request) };
  }
}

class MemoryWriter implements ContentWriter {
  readonly #store: MemoryStore;
  readonly #request: IngestRequest;
  #bytes: Buffer;
  #ended = false;

  constructor(store: MemoryStore, request: IngestRequest) {
    this.#store = store;
    this.#request = request;
    this.#bytes = store.partial.get(request.ref) ?? Buffer.alloc(0);
  }

  get offset(): number {
    return this.#bytes.length;
  }

  write(chunk: Uint8Array): void {
    if (this.#bytes.length + chunk.length > (this.#request.size ?? Infinity)) {
      throw new GantryError('SIZE_MISMATCH', 'a byte too many', { origin: 'source' });
    }
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
  }

  async commit(): Promise<{ digest: Digest; size: number; createdAt: Date }> {
    const digest = digestOf(this.#bytes);
    if (digest !== this.#request.digest) {
      await this.discard();
      throw new GantryError('DIGEST_MISMATCH', `the bytes are ${digest}`, { origin: 'source' });
    }
    this.#store.blobs.set(digest, this.#bytes);
    this.#end();
    return { digest, size: this.#bytes.length, createdAt: new Date(0) };
  }

  async discard(): Promise<void> {
    this.#end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#end();
    if (this.#bytes.length > 0) this.#store.partial.set(this.#request.ref, this.#bytes);
  }

  #end(): void {
    if (!this.#ended) this.#store.openWriters -= 1;
    this.#ended = true;
    this.#store.partial.delete(this.#request.ref);
  }
}

/** Serves bytes whatever is asked for, and writes down the questions. */
export function fetcherOf(bytes: Uint8Array | Error, asked: string[] = []): Fetcher & { open: number } {
  return {
    open: 0,
    async fetch(kind, _desc, { offset = 0 }) {
      asked.push(`${kind} ${offset}`);
      if (bytes instanceof Error) throw bytes;
      this.open += 1;
      return streamOf(bytes.subarray(offset), () => {
        this.open -= 1;
      });
    },
  };
}
