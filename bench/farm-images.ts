import { digestOf, type Digest } from '../src/oci/digest.ts';
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../src/oci/media-types.ts';
import type { CorpusBlob, CorpusImage } from './corpus.ts';
import { Random } from './random.ts';

export interface FarmPlan {
  readonly images: number;
  readonly layers: number;
  /** Of each layer, in bytes. */
  readonly layerBytes: number;
}

/** Images that share nothing, the same on every machine: generated in no time, so that nothing needs to be kept. */
export interface FarmImages {
  readonly images: readonly CorpusImage[];
  readonly blobs: readonly CorpusBlob[];
  /** By digest, manifests too. */
  readonly contentOf: ReadonlyMap<Digest, () => Buffer>;
}

const HEADER_BYTES = 64;

/** Incompressible; layers differ in a header before it. */
function noise(bytes: number): Buffer {
  const random = new Random('farm');
  const words = Uint32Array.from({ length: Math.ceil(bytes / 4) }, () => random.bits());
  return Buffer.from(words.buffer, 0, bytes);
}

export function farmImages({ images, layers, layerBytes }: FarmPlan): FarmImages {
  const rest = noise(layerBytes - HEADER_BYTES);
  const contentOf = new Map<Digest, () => Buffer>();
  const blobs: CorpusBlob[] = [];
  const add = (repository: string, mediaType: string, content: () => Buffer) => {
    const bytes = content();
    const digest = digestOf(bytes);
    contentOf.set(digest, content);
    if (mediaType !== OCI_MANIFEST) blobs.push({ digest, size: bytes.length, repository });
    return { mediaType, digest, size: bytes.length };
  };
  const addImage = (_: unknown, at: number): CorpusImage => {
    const repository = `farm/app-${at}`;
    const layerOf = (layer: number) => (): Buffer =>
      Buffer.concat([Buffer.from(`${repository} ${layer}`.padEnd(HEADER_BYTES)), rest]);
    const parts = Array.from({ length: layers }, (_, layer) => add(repository, OCI_LAYER, layerOf(layer)));
    const made = {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: parts.map((p) => p.digest) },
    };
    const config = add(repository, OCI_CONFIG, () => Buffer.from(JSON.stringify(made)));
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: parts };
    const { digest, size } = add(repository, OCI_MANIFEST, () => Buffer.from(JSON.stringify(manifest)));
    return { repository, tag: '1', digest, size, blobs: [config, ...parts].map((part) => part.digest) };
  };
  return { images: Array.from({ length: images }, addImage), blobs, contentOf };
}
