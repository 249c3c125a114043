/** What registries hold besides images. */
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import * as types from '../../src/oci/media-types.ts';
import { image, type Image } from './images.ts';
import { inMemory, SyntheticBlob } from './registry/content.ts';
import type { Bundle } from './registry/storage.ts';
import { tarGz } from './tar.ts';

export const helmChart = (name = 'chart', version = '1.2.3'): Image =>
  image({
    config: {
      bytes: JSON.stringify({ name, version, apiVersion: 'v2' }),
      mediaType: 'application/vnd.cncf.helm.config.v1+json',
    },
    layers: [
      {
        raw: tarGz([{ name: `${name}/Chart.yaml`, body: `name: ${name}\nversion: ${version}\n` }]),
        mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
      },
    ],
  });

/** A signature as cosign stores it: an ordinary manifest under the tag `sha256-<hex>.sig`. */
export const cosignSignature = (of: Descriptor): Image & { readonly tag: string } => ({
  ...image({
    seed: of.digest,
    layers: [
      {
        raw: Buffer.from(JSON.stringify({ critical: { image: { 'docker-manifest-digest': of.digest } } })),
        mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      },
    ],
  }),
  tag: `${of.digest.replace(':', '-')}.sig`,
});

/** An artifact with the empty config of image-spec 1.1; refers to `subject` when there is one. */
export const artifact = (options: { artifactType?: string; subject?: Descriptor; content?: string } = {}): Image =>
  image({
    artifactType: options.artifactType ?? 'application/vnd.example.thing',
    config: { bytes: '{}', mediaType: types.OCI_EMPTY },
    layers: [{ raw: Buffer.from(options.content ?? 'thing'), mediaType: 'application/octet-stream' }],
    ...(options.subject === undefined ? {} : { subject: options.subject }),
  });

/** An image whose first layer is not in the registry but at `url`. Gives the layer's bytes for whoever serves them. */
export function foreignLayerImage(url: string, docker = false): Image & { readonly foreign: Buffer } {
  const foreign = tarGz([{ name: 'foreign', body: 'served elsewhere' }]);
  const mediaType = docker
    ? types.DOCKER_FOREIGN_LAYER_GZIP
    : 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
  const made = image({
    mediaTypes: docker ? 'docker' : 'oci',
    layers: [{ raw: foreign, mediaType, urls: [url] }, 500],
  });
  return { ...made, foreign };
}

/** A signed manifest of Docker's first schema. */
export function schema1(repo = 'library/old', tag = 'latest'): Bundle & { readonly manifest: Buffer } {
  const layer = tarGz([{ name: 'old', body: 'old' }]);
  const layerDigest = digestOf(layer);
  const document = {
    schemaVersion: 1,
    name: repo,
    tag,
    architecture: 'amd64',
    fsLayers: [{ blobSum: layerDigest }],
    history: [{ v1Compatibility: '{"id":"1"}' }],
    signatures: [{ header: { alg: 'ES256' }, signature: 'c2ln', protected: 'e30' }],
  };
  const manifest = Buffer.from(JSON.stringify(document, null, 3));
  const desc: Descriptor = {
    mediaType: types.DOCKER_SCHEMA1_SIGNED,
    digest: digestOf(manifest),
    size: manifest.length,
  };
  return {
    desc,
    manifest,
    manifests: new Map([[desc.digest, { content: inMemory(manifest), mediaType: desc.mediaType }]]),
    blobs: new Map([[layerDigest, inMemory(layer)]]),
  };
}

/** A manifest of `size` bytes under its right digest: too large only by its size. */
export async function hugeManifestBundle(size = 100 * 1024 * 1024): Promise<Bundle> {
  const head = '{"schemaVersion":2,"annotations":{"a":"';
  const content = await SyntheticBlob.filled({ head, fill: 'x', tail: '"}}', size });
  const desc: Descriptor = { mediaType: types.OCI_MANIFEST, digest: content.digest, size };
  return {
    desc,
    manifests: new Map([[desc.digest, { content, mediaType: desc.mediaType }]]),
    blobs: new Map<Digest, never>(),
  };
}
