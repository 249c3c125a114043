/** Reads a store again and tells what is wrong with it. */
import type { CallOptions } from '../call.ts';
import type { ImageRecord } from '../content/ports.ts';
import { isCode, messageOf } from '../errors.ts';
import { Slots } from '../flow/slots.ts';
import { readManifest } from '../handlers/children.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isRootType } from '../oci/manifest.ts';
import type { ContentStore } from '../store/content-store.ts';

export interface Problem {
  /** damaged: the bytes are wrong, the file is moved aside. missing: an image needs it, and it is not here. */
  readonly kind: 'damaged' | 'missing' | 'unreadable';
  readonly digest: Digest;
  readonly image: string | undefined;
  readonly detail: string;
}

export interface VerifyReport {
  readonly blobs: number;
  readonly bytes: number;
  readonly images: number;
  readonly problems: readonly Problem[];
}

/** Blobs that are read at the same time: enough to hash while the disk works. */
const READERS = 4;

/** Hashes the named content, or all, and checks that each image has everything it needs. Damaged files are moved aside. */
export async function verifyStore(
  store: ContentStore,
  digests: readonly Digest[],
  opts: CallOptions,
): Promise<VerifyReport> {
  const problems: Problem[] = [];
  let blobs = 0;
  let bytes = 0;
  const slots = new Slots(READERS);
  const checks: Promise<void>[] = [];
  for await (const info of wanted(store, digests, opts)) {
    blobs += 1;
    bytes += info.size;
    const leave = await slots.take(opts.signal);
    checks.push(checkBlob(store, info.digest, problems, opts).finally(leave));
  }
  await Promise.all(checks);
  const images = digests.length === 0 ? await store.names.list(opts) : [];
  for (const image of images) await checkImage(store, image, problems, opts);
  return { blobs, bytes, images: images.length, problems };
}

async function* wanted(
  store: ContentStore,
  digests: readonly Digest[],
  opts: CallOptions,
): AsyncGenerator<{ digest: Digest; size: number }> {
  if (digests.length === 0) yield* store.walk(opts);
  for (const digest of digests) {
    await store.path(digest, opts); // says what is not here
    const info = await store.stat(digest, opts);
    if (info !== undefined) yield info;
  }
}

async function checkBlob(store: ContentStore, digest: Digest, problems: Problem[], opts: CallOptions): Promise<void> {
  try {
    if (await store.isIntact(digest, opts)) return;
    await store.quarantine(digest);
    const detail = 'the bytes are not those of the digest; moved aside, pull its image again';
    problems.push({ kind: 'damaged', digest, image: undefined, detail });
  } catch (err) {
    if (isCode(err, 'NOT_FOUND')) return; // deleted meanwhile
    opts.signal.throwIfAborted();
    problems.push({ kind: 'unreadable', digest, image: undefined, detail: messageOf(err) });
  }
}

/** An index may be here with some of its platforms only; an image manifest needs all that it lists. */
async function checkImage(
  store: ContentStore,
  { name, desc }: ImageRecord,
  problems: Problem[],
  opts: CallOptions,
): Promise<void> {
  const look = async (each: Descriptor): Promise<void> => {
    if (!isRootType(each.mediaType)) return;
    const manifest = await readManifest(store, each, opts);
    if (manifest.kind === 'index') {
      for (const entry of manifest.manifests)
        if ((await store.stat(entry.digest, opts)) !== undefined) await look(entry);
      return;
    }
    for (const part of [manifest.config, ...manifest.layers]) {
      const info = await store.stat(part.digest, opts);
      if (info?.size !== part.size) problems.push(missing(name, part.digest));
    }
  };
  try {
    await look(desc);
  } catch (err) {
    opts.signal.throwIfAborted();
    problems.push(
      isCode(err, 'NOT_FOUND')
        ? missing(name, desc.digest)
        : { kind: 'unreadable', digest: desc.digest, image: name, detail: messageOf(err) },
    );
  }
}

const missing = (image: string, digest: Digest): Problem => ({
  kind: 'missing',
  digest,
  image,
  detail: 'not in the store; pull the image again',
});
