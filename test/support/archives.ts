/** Images read and written through archives, without a registry. */
import assert from 'node:assert/strict';
import { type Archives, openArchives } from '../../src/archive/archives.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { algorithmOf, digestOf } from '../../src/oci/digest.ts';
import { parseLocation } from '../../src/oci/location.ts';
import { childrenOf, parseManifest } from '../../src/oci/manifest.ts';
import type { ContentKind, ContentSource } from '../../src/remote/ports.ts';
import { collect, never } from './clients.ts';
import type { Image } from './images.ts';
import { type Content, readAll } from './registry.ts';

const opts = { signal: never };

/** What a location leads to, every byte of it checked: digests, the root first, each once. */
export async function readLocation(text: string): Promise<{ root: Descriptor; digests: string[] }> {
  await using archives = openArchives();
  const ref = parseLocation(text);
  const { desc: root } = await archives.entry.resolver.resolve(ref, opts);
  const seen = new Set<string>();
  const read = async (kind: ContentKind, desc: Descriptor): Promise<void> => {
    if (seen.has(desc.digest)) return;
    seen.add(desc.digest);
    const bytes = await collect(await archives.entry.resolver.fetcher(ref.repository).fetch(kind, desc, opts));
    assert.equal(bytes.length, desc.size);
    assert.equal(digestOf(bytes, algorithmOf(desc.digest)), desc.digest);
    if (kind === 'blob') return;
    await Promise.all(childrenOf(parseManifest(bytes, desc)).map((child) => read(child.kind, child.desc)));
  };
  await read('manifest', root);
  return { root, digests: [...seen] };
}

export const sourceOf = (content: Content): ContentSource => ({
  open: async ({ offset = 0 }) => ({
    async *[Symbol.asyncIterator]() {
      yield* content.bytes(offset, content.size);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
});

/** Puts an image into an archive, as a copy would; blobs all at once. */
export async function putImage(archives: Archives, repository: string, image: Image, tag?: string): Promise<void> {
  const pusher = archives.entry.resolver.pusher(repository);
  const push = async (desc: Descriptor): Promise<void> => {
    const content = image.blobs.get(desc.digest);
    assert.ok(content);
    await pusher.push(desc, sourceOf(content), opts);
  };
  await Promise.all([image.config, ...image.layers].map(push));
  await pusher.putManifest(image.desc, image.manifest, { ...opts, ...(tag === undefined ? {} : { tag }) });
}

export const bytesOf = (image: Image, desc: Descriptor): Buffer => {
  const content = image.blobs.get(desc.digest);
  assert.ok(content);
  return readAll(content);
};
