/** Counts what is asked of a registry, and the bytes of blobs that it hands out. */
import type { ByteStream, CallOptions } from '../../call.ts';
import type { OpenFile } from '../../content/ports.ts';
import type { CacheStatus, ImageSource, OpenGrowing, ServedBlob } from '../../server/registry/source.ts';

export interface RegistryObserver {
  /** unknown: it is not here, and nobody who was asked has it. */
  answered(kind: 'tag' | 'manifest' | 'blob', cache: CacheStatus['kind'] | 'unknown' | 'error'): void;
  /** Bytes of a blob. */
  sent(bytes: number): void;
}

export function countedImages(source: ImageSource, observer: RegistryObserver): ImageSource {
  const counted = async <T extends { readonly status: CacheStatus }>(
    kind: 'tag' | 'manifest' | 'blob',
    { signal }: CallOptions,
    answer: Promise<T | undefined>,
  ): Promise<T | undefined> => {
    try {
      const found = await answer;
      observer.answered(kind, found?.status.kind ?? 'unknown');
      return found;
    } catch (err) {
      if (!signal.aborted) observer.answered(kind, 'error'); // a client that has left was not answered at all
      throw err;
    }
  };
  return {
    resolve: (repository, tag, opts) => counted('tag', opts, source.resolve(repository, tag, opts)),
    manifest: (repository, digest, opts) => counted('manifest', opts, source.manifest(repository, digest, opts)),
    blob: async (repository, digest, opts) => {
      const found = await counted('blob', opts, source.blob(repository, digest, opts));
      return found && countedBlob(found, observer);
    },
    tags: (repository, opts) => source.tags(repository, opts),
    repositories: (opts) => source.repositories(opts),
    referrers: (repository, subject, opts) => source.referrers(repository, subject, opts),
  };
}

function countedBlob(blob: ServedBlob, observer: RegistryObserver): ServedBlob {
  if (blob.kind === 'file') return { ...blob, file: countedFile(blob.file, observer) };
  const open: OpenGrowing = async (opts) => countedStream(await blob.open(opts), observer);
  return { ...blob, open };
}

const countedFile = (file: OpenFile, observer: RegistryObserver): OpenFile => ({
  size: file.size,
  read: async (...args) => {
    const done = await file.read(...args);
    observer.sent(done.bytesRead);
    return done;
  },
  close: () => file.close(),
});

const countedStream = (stream: ByteStream, observer: RegistryObserver): ByteStream => ({
  async *[Symbol.asyncIterator]() {
    for await (const chunk of stream) {
      observer.sent(chunk.byteLength);
      yield chunk;
    }
  },
  [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
});
