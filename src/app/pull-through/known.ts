/** What the manifests that were served say about content: its size and type, and that a name leads to it. */
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { childrenOf, type Manifest, parseManifest } from '../../oci/manifest.ts';

/** Some thousand images; what falls out is asked for again. */
const MAX_ENTRIES = 100_000;

export class KnownContent {
  /** `repository digest`; the one that was told last comes last. */
  readonly #entries = new Map<string, Descriptor>();
  /** Manifests that were looked into. */
  readonly #read = new Set<string>();

  get(repository: string, digest: Digest): Descriptor | undefined {
    return this.#entries.get(`${repository} ${digest}`);
  }

  /** A manifest that is about to be served. */
  learn(repository: string, desc: Descriptor, bytes: Uint8Array): void {
    const key = `${repository} ${desc.digest}`;
    if (this.#read.has(key)) return;
    this.#read.add(key);
    this.#add(repository, [desc, ...below(parseManifest(bytes, desc, `manifest ${desc.digest}`))]);
  }

  #add(repository: string, descs: readonly Descriptor[]): void {
    for (const desc of descs) {
      const key = `${repository} ${desc.digest}`;
      this.#entries.delete(key);
      this.#entries.set(key, desc);
    }
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) return;
      this.#entries.delete(oldest);
      this.#read.clear(); // what was forgotten is learned again when its manifest is served
    }
  }
}

const below = (manifest: Manifest): Descriptor[] => childrenOf(manifest).map(({ desc }) => desc);
