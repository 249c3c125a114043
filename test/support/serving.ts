/** A store with images in it, and the registry over it in this process. */
import type { OpenFile } from '../../src/content/ports.ts';
import { type Digest } from '../../src/oci/digest.ts';
import { createApp, startServer } from '../../src/server/http.ts';
import { addRegistry } from '../../src/server/registry/registry.ts';
import type { ImageSource } from '../../src/server/registry/source.ts';
import { StoreImages } from '../../src/server/registry/store-images.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { type Content, inMemory } from './registry/content.ts';
import type { Bundle } from './registry/storage.ts';
import { tempDir } from './temp.ts';

const { signal } = new AbortController();

/** Puts content there as it is, whatever its digest. */
export async function putBlob(store: ContentStore, digest: Digest, data: Content | Uint8Array): Promise<void> {
  const content = data instanceof Uint8Array ? inMemory(data) : data;
  const ingest = await store.ingest({ ref: digest, digest, size: content.size }, { signal });
  if (ingest.state !== 'open') return;
  await using writer = ingest.writer;
  for (const chunk of content.bytes(0, content.size)) await writer.write(Buffer.from(chunk));
  await writer.commit({ signal });
}

/** Puts all of an image there and gives it a name. */
export async function putImage(store: ContentStore, name: string, bundle: Bundle): Promise<void> {
  for (const [digest, content] of bundle.blobs) await putBlob(store, digest, content);
  for (const [digest, { content }] of bundle.manifests) await putBlob(store, digest, content);
  await store.names.record(name, bundle.desc, { signal });
  await store.names.publish({ signal });
}

export interface Serving extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly store: ContentStore;
  /** Lines of the log. */
  readonly log: readonly string[];
  /** Files of blobs that are open. */
  openFiles(): number;
}

/** @param source in the place of the store's images; made from them */
export async function serveStore(
  images: Readonly<Record<string, Bundle>>,
  options: { readonly isPrivate?: boolean; readonly source?: (store: ImageSource) => ImageSource } = {},
): Promise<Serving> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir('gantry-serving-'));
  const store = new ContentStore({ root: dir.join('store') });
  await store.create();
  for (const [name, bundle] of Object.entries(images)) await putImage(store, name, bundle);
  let open = 0;
  const files = {
    openFile: async (...args: Parameters<ContentStore['openFile']>): Promise<OpenFile | undefined> => {
      const file = await store.openFile(...args);
      if (file === undefined) return undefined;
      open += 1;
      const close = async (): Promise<void> => {
        open -= 1;
        await file.close();
      };
      return { size: file.size, read: (...range) => file.read(...range), close };
    },
  };
  const log: string[] = [];
  const fromStore = new StoreImages({ names: store.names, files });
  const source = options.source?.(fromStore) ?? fromStore;
  const app = addRegistry(createApp(), {
    source,
    isPrivate: options.isPrivate ?? false,
    log: (line) => log.push(line),
  });
  const server = stack.use(await startServer({ port: 0, host: '127.0.0.1', maxConnections: 1000 }, app));
  const owned = stack.move();
  return {
    url: server.url,
    port: server.port,
    store,
    log,
    openFiles: () => open,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
