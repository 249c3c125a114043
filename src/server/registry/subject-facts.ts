/** What lists of referrers need to know of manifests, each read once, as content does not change. Bounded in memory. */
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { ManifestFiles } from './manifest-files.ts';

/** What is remembered of a manifest. */
export interface Facts {
  readonly entries: readonly Digest[];
  readonly subject: Digest | undefined;
  /** As a list of referrers has it; only with a subject. */
  readonly referrer: Descriptor | undefined;
  /** Bytes of its annotations, as JSON. */
  readonly annotationBytes: number;
}

/** Bytes of annotations that are kept of one manifest: whole, or none of them. */
const MAX_ANNOTATIONS = 16 << 10;
/** And of all manifests. */
const MAX_ALL_ANNOTATIONS = 64 << 20;

export const NOTHING: Facts = { entries: [], subject: undefined, referrer: undefined, annotationBytes: 0 };
/** Not here, no manifest, or damaged. */
const ABSENT: Facts = { ...NOTHING };

export class SubjectFacts {
  readonly #manifests: ManifestFiles;
  readonly #max: number;
  readonly #known = new Map<Digest, Facts>();
  #annotationBytes = 0;

  /** @param max manifests that are remembered; others are read each time */
  constructor(manifests: ManifestFiles, max: number) {
    this.#manifests = manifests;
    this.#max = max;
  }

  async of(digest: Digest, opts: CallOptions): Promise<Facts> {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const facts = await this.#read(digest, opts);
    if (this.#known.size < this.#max && !this.#known.has(digest)) {
      this.#known.set(digest, facts);
      this.#annotationBytes += facts.annotationBytes;
    }
    return facts;
  }

  /** What was not here may have come. */
  forgetAbsent(): void {
    this.#forget((_, facts) => facts === ABSENT);
  }

  keepOnly(wanted: ReadonlySet<Digest>): void {
    this.#forget((digest) => !wanted.has(digest));
  }

  #forget(isUnwanted: (digest: Digest, facts: Facts) => boolean): void {
    for (const [digest, facts] of this.#known) {
      if (!isUnwanted(digest, facts)) continue;
      this.#known.delete(digest);
      this.#annotationBytes -= facts.annotationBytes;
    }
  }

  async #read(digest: Digest, opts: CallOptions): Promise<Facts> {
    try {
      const found = await this.#manifests.readOnce(digest, opts);
      if (found === undefined) return ABSENT;
      const room = Math.min(MAX_ANNOTATIONS, MAX_ALL_ANNOTATIONS - this.#annotationBytes);
      return factsOf(digest, found.bytes.length, found.manifest, room);
    } catch (err) {
      // A damaged one is told to those who ask for it; the others are not to go without their list.
      if (err instanceof GantryError) return ABSENT;
      throw err;
    }
  }
}

function factsOf(digest: Digest, size: number, manifest: Manifest, room: number): Facts {
  const entries = manifest.kind === 'index' ? manifest.manifests.map((entry) => entry.digest) : [];
  const subject = manifest.subject?.digest;
  if (subject === undefined) return entries.length === 0 ? NOTHING : { ...NOTHING, entries };
  // distribution-spec, "Listing Referrers": the config's media type where the manifest has none of its own.
  const artifactType = manifest.artifactType ?? (manifest.kind === 'manifest' ? manifest.config.mediaType : undefined);
  const { annotations } = manifest;
  const bytes = annotations === undefined ? 0 : Buffer.byteLength(JSON.stringify(annotations));
  const isKept = bytes <= room;
  const referrer = {
    mediaType: manifest.mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined || !isKept ? {} : { annotations }),
  };
  return { entries, subject, referrer, annotationBytes: isKept ? bytes : 0 };
}
