/** Bytes on their way into an archive, checked against their descriptor. */
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, type Digest, Digester, digestOf } from '../oci/digest.ts';
import type { ContentSource, PushOptions } from '../remote/ports.ts';

/** How much has to come before it is worth telling. */
const REPORT_BYTES = 256 << 10;

/**
 * All bytes of a source. Ends normally only when exactly what the descriptor says has gone through; never yields a byte
 * beyond its size.
 * @throws GantryError SIZE_MISMATCH, DIGEST_MISMATCH, and what the source throws
 */
export async function* verified(
  desc: Descriptor,
  source: ContentSource,
  opts: PushOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const digester = new Digester(algorithmOf(desc.digest));
  let size = 0;
  let reported = 0;
  await using body = await source.open({ signal: opts.signal });
  for await (const chunk of body) {
    opts.signal.throwIfAborted();
    size += chunk.byteLength;
    if (size > desc.size) throw sizeMismatch(desc, 'more');
    digester.update(chunk);
    yield chunk;
    if (size - reported < REPORT_BYTES) continue;
    reported = size;
    opts.onProgress?.(size);
  }
  if (size < desc.size) throw sizeMismatch(desc, `${size}`);
  checkDigest(desc, digester.digest());
  if (size !== reported) opts.onProgress?.(size);
}

/** @throws GantryError SIZE_MISMATCH, DIGEST_MISMATCH */
export function checkBytes(desc: Descriptor, bytes: Uint8Array): void {
  if (bytes.byteLength !== desc.size) throw sizeMismatch(desc, `${bytes.byteLength}`);
  checkDigest(desc, digestOf(bytes, algorithmOf(desc.digest)));
}

function checkDigest({ digest }: Descriptor, got: Digest): void {
  if (got === digest) return;
  throw new GantryError('DIGEST_MISMATCH', `${digest} came with bytes that are ${got}`, { origin: 'source', digest });
}

const sizeMismatch = ({ digest, size }: Descriptor, got: string): GantryError =>
  new GantryError('SIZE_MISMATCH', `${digest} has ${size} bytes, and ${got} came`, { origin: 'source', digest });
