/** How long a plan will take. */
import type { CallOptions } from '../../call.ts';
import type { Resolver } from '../../remote/ports.ts';
import { isDigest } from '../../oci/digest.ts';
import type { Eta, PlanBlob } from './plan-file.ts';
import { sum } from './report.ts';

const SAMPLE_BYTES = 4 << 20;
const SAMPLE_MS = 3_000;

/** By the rate that is given, or by that of one transfer from a source, which is cut short. Null where nothing has to be sent. */
export async function etaOf(
  resolver: Resolver,
  blobs: readonly PlanBlob[],
  { rate, signal }: CallOptions & { readonly rate: number | undefined },
): Promise<Eta | null> {
  const bytes = sum(blobs, ({ send, size }) => send.length * size);
  if (bytes === 0) return null;
  const eta = (bytesPerSecond: number, basis: string): Eta => ({
    seconds: Math.ceil(bytes / bytesPerSecond),
    bytesPerSecond: Math.round(bytesPerSecond),
    basis,
  });
  if (rate !== undefined) return eta(rate, 'the rate that --rate gives');
  const largest = blobs.filter(({ send }) => send.length > 0).toSorted((a, b) => b.size - a.size)[0];
  const measured = largest && (await measure(resolver, largest, { signal }).catch(() => undefined));
  if (measured === undefined) return null;
  const { from, read, ms } = measured;
  const basis = `one transfer from ${from}: ${read} bytes in ${ms} ms; the targets were not measured, and several transfers together may be faster`;
  return eta((read / ms) * 1000, basis);
}

async function measure(
  resolver: Resolver,
  { digest, size, source }: PlanBlob,
  opts: CallOptions,
): Promise<{ from: string; read: number; ms: number } | undefined> {
  if (!isDigest(digest)) return undefined;
  const desc = { digest, size, mediaType: 'application/octet-stream' };
  const began = performance.now();
  await using stream = await resolver.fetcher(source).fetch('blob', desc, opts);
  let read = 0;
  for await (const chunk of stream) {
    read += chunk.byteLength;
    if (read >= SAMPLE_BYTES || performance.now() - began >= SAMPLE_MS) break;
  }
  return read === 0 ? undefined : { from: source, read, ms: Math.max(1, Math.round(performance.now() - began)) };
}
