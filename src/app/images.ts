import type { CallOptions } from '../call.ts';
import type { ImageRecord } from '../content/ports.ts';
import { isCode } from '../errors.ts';
import { contentBelow } from '../handlers/needed.ts';
import type { Digest } from '../oci/digest.ts';
import type { ContentStore } from '../store/content-store.ts';

export interface ImageEntry extends ImageRecord {
  /** Bytes in the store that belong to the image, each content once. */
  readonly size: number;
}

/** The images of a store with what they take. */
export async function listImages(store: ContentStore, opts: CallOptions): Promise<ImageEntry[]> {
  const entries: ImageEntry[] = [];
  for (const record of await store.names.list(opts)) {
    let size = 0;
    for (const digest of await readableBelow(store, record, opts)) {
      size += (await store.stat(digest, opts))?.size ?? 0;
    }
    entries.push({ ...record, size });
  }
  return entries;
}

/** One damaged manifest is no reason not to list the others; `verify` tells about it. */
async function readableBelow(store: ContentStore, { desc }: ImageRecord, opts: CallOptions): Promise<Iterable<Digest>> {
  try {
    return await contentBelow([{ kind: 'manifest', desc }], store, opts);
  } catch (err) {
    if (!isCode(err, 'DIGEST_MISMATCH', 'SIZE_MISMATCH', 'MALFORMED', 'UNSUPPORTED', 'TOO_LARGE')) throw err;
    return [desc.digest];
  }
}
