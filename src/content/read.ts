import type { CallOptions } from '../call.ts';
import { type ErrorOrigin, GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { algorithmOf, digestOf } from '../oci/digest.ts';
import type { Provider } from './ports.ts';

/**
 * Reads small content whole and checks it against its descriptor.
 * @throws GantryError NOT_FOUND, TOO_LARGE beyond `limit` bytes, SIZE_MISMATCH, DIGEST_MISMATCH
 */
export async function readContent(
  provider: Provider,
  desc: Pick<Descriptor, 'digest' | 'size'>,
  opts: CallOptions & { limit: number; origin?: ErrorOrigin },
): Promise<Buffer> {
  if (desc.size > opts.limit) throw tooLarge(desc, opts.limit);
  const chunks: Uint8Array[] = [];
  let size = 0;
  await using body = await provider.open(desc, opts);
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > opts.limit) throw tooLarge(desc, opts.limit);
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const origin = { origin: opts.origin ?? 'store', digest: desc.digest } as const;
  if (size !== desc.size)
    throw new GantryError('SIZE_MISMATCH', `${desc.digest} has ${size} bytes, not ${desc.size}`, origin);
  const got = digestOf(bytes, algorithmOf(desc.digest));
  if (got !== desc.digest) throw new GantryError('DIGEST_MISMATCH', `${desc.digest} has bytes that are ${got}`, origin);
  return bytes;
}

const tooLarge = (desc: Pick<Descriptor, 'digest' | 'size'>, limit: number): GantryError =>
  new GantryError('TOO_LARGE', `${desc.digest} is larger than ${limit} bytes`, {
    origin: 'source',
    digest: desc.digest,
  });
