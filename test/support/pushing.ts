/** What tests of the push side share: a blob with its source, and what is at a registry afterwards. */
import assert from 'node:assert/strict';
import type { ByteStream, OpenOptions } from '../../src/call.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_LAYER_GZIP } from '../../src/oci/media-types.ts';
import type { RegistryClient } from '../../src/registry/client.ts';
import type { ContentSource } from '../../src/remote/ports.ts';
import { never } from './clients.ts';
import { type Content, inMemory, randomBytesOf, readAll, type TestRegistry } from './registry.ts';

/** Content that notes how it was read. */
export class TestSource implements ContentSource {
  /** The offsets at which it was opened. */
  readonly opened: number[] = [];
  /** Streams that nobody has disposed. */
  streams = 0;
  readonly #content: Content;

  constructor(content: Content) {
    this.#content = content;
  }

  open({ offset = 0 }: OpenOptions): Promise<ByteStream> {
    this.opened.push(offset);
    this.streams += 1;
    const content = this.#content;
    let isOpen = true;
    return Promise.resolve({
      async *[Symbol.asyncIterator]() {
        yield* content.bytes(offset, content.size);
      },
      [Symbol.asyncDispose]: () => {
        if (isOpen) this.streams -= 1;
        isOpen = false;
        return Promise.resolve();
      },
    });
  }
}

export interface Blob {
  readonly desc: Descriptor;
  readonly content: Content;
}

/** Incompressible bytes. */
export function blobOf(seed: string, size: number): Blob {
  const bytes = randomBytesOf(seed, size);
  return { desc: { mediaType: OCI_LAYER_GZIP, digest: digestOf(bytes), size }, content: inMemory(bytes) };
}

interface Pushing {
  readonly repo?: string;
  readonly signal?: AbortSignal;
  readonly source?: TestSource;
  readonly onProgress?: (offset: number) => void;
}

/** Pushes a blob. However that ends, nobody holds its source any more. */
export async function push(
  client: RegistryClient,
  registry: Pick<TestRegistry, 'host'>,
  { desc, content }: Blob,
  { repo = 'app', signal = never, source = new TestSource(content), ...more }: Pushing = {},
): Promise<TestSource> {
  try {
    await client.pusher(`${registry.host}/${repo}`).push(desc, source, { signal, ...more });
  } finally {
    assert.equal(source.streams, 0, 'a source was left open');
  }
  return source;
}

/** The blob is there, byte for byte. */
export function assertThere(registry: TestRegistry, { desc }: Blob, repo = 'app'): void {
  const found = registry.stored.get(repo)?.blobs.get(desc.digest);
  assert.ok(found, `not there; the log has:\n${registry.log.text()}`);
  assert.equal(found.size, desc.size);
  assert.equal(digestOf(readAll(found)), desc.digest);
}

export function assertAbsent(registry: TestRegistry, { desc }: Blob, repo = 'app'): void {
  assert.equal(registry.stored.get(repo)?.blobs.has(desc.digest) ?? false, false, 'taken for whole');
}
