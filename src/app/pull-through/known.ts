/** What the manifests that were served say about content: its size and type, and that a name leads to it. */
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { childrenOf, type Manifest, parseManifest } from '../../oci/manifest.ts';

/** Some thousand images; what falls out is asked for again. */
const MAX_ENTRIES = 100_000;

export class KnownContent {
  /** `repository digest`; the one that was told last comes last. Undefined where it is in doubt. */
  readonly #entries = new Map<string, Descriptor | undefined>();
  /** Manifests that were looked into. */
  readonly #read = new Set<string>();

  get(repository: string, digest: Digest): Descriptor | undefined {
    return this.#entries.get(`${repository} ${digest}`);
  }

  /** What was said of it has turned out to be wrong. */
  doubt(repository: string, digest: Digest): void {
    this.#set(`${repository} ${digest}`, undefined);
  }

  /** A manifest that is about to be served. */
  learn(repository: string, desc: Descriptor, bytes: Uint8Array): void {
    const key = `${repository} ${desc.digest}`;
    if (this.#read.has(key)) return;
    this.#read.add(key);
    this.#add(repository, [desc, ...below(parseManifest(bytes, desc, `manifest ${desc.digest}`))]);
  }

  #add(repository: string, descs: readonly Descriptor[]): void {
    for (const { mediaType, digest, size } of descs) {
      const key = `${repository} ${digest}`;
      const before = this.#entries.get(key);
      // Anybody may write a manifest: when two say something else, only the registry knows.
      const isInDoubt =
        this.#entries.has(key) && (before === undefined || before.size !== size || before.mediaType !== mediaType);
      this.#set(key, isInDoubt ? undefined : { mediaType, digest, size }); // annotations may have megabytes
    }
  }

  #set(key: string, desc: Descriptor | undefined): void {
    this.#entries.delete(key);
    this.#entries.set(key, desc);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size <= MAX_ENTRIES || oldest === undefined) return;
    this.#entries.delete(oldest);
    this.#read.clear(); // what was forgotten is learned again when its manifest is served
  }
}

const below = (manifest: Manifest): Descriptor[] => childrenOf(manifest).map(({ desc }) => desc);
