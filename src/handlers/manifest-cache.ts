import type { CallOptions } from '../call.ts';
import type { Provider } from '../content/ports.ts';
import { readContent } from '../content/read.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { Fetcher } from '../remote/ports.ts';
import { atTarget } from '../remote/registry-errors.ts';

/** Manifests of some thousand open images; what falls out is read again. */
const MAX_BYTES = 32 << 20;

/** The bytes of manifests that were read a moment ago: an image with five tags is read once, and written under each. */
export class ManifestCache {
  readonly #kept = new Map<Digest, Buffer>();
  #bytes = 0;

  /** A manifest of a repository, which is only asked for it when it is not known. */
  async read(fetcher: Fetcher, desc: Descriptor, opts: CallOptions): Promise<Buffer> {
    const known = this.#kept.get(desc.digest);
    if (known !== undefined) return known;
    const bytes = await readBytes(fetcher, desc, opts);
    this.#keep(desc.digest, bytes);
    return bytes;
  }

  /** The same, of a repository that is written to. */
  readAtTarget(fetcher: Fetcher, desc: Descriptor, opts: CallOptions): Promise<Buffer> {
    return atTarget(desc.digest, () => this.read(fetcher, desc, opts));
  }

  #keep(digest: Digest, bytes: Buffer): void {
    if (this.#kept.has(digest)) return;
    this.#kept.set(digest, bytes);
    this.#bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.#kept) {
      if (this.#bytes <= MAX_BYTES) break;
      this.#kept.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}

/** A manifest as its repository has it, verified. @throws GantryError NOT_FOUND, TOO_LARGE, DIGEST_MISMATCH */
function readBytes(fetcher: Fetcher, desc: Descriptor, { signal }: CallOptions): Promise<Buffer> {
  const provider: Provider = { open: (_what, opts) => fetcher.fetch('manifest', desc, opts) };
  return readContent(provider, desc, { signal, limit: MAX_MANIFEST_BYTES, origin: 'source' });
}
