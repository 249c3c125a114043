/** Images for tests. The same options give the same bytes. */
import { gzipSync } from 'node:zlib';
import type { Descriptor, Platform } from '../../src/oci/descriptor.ts';
import { type Algorithm, type Digest, digestOf } from '../../src/oci/digest.ts';
import * as types from '../../src/oci/media-types.ts';
import { type Content, inMemory, randomBytesOf, type SyntheticBlob } from './registry/content.ts';
import type { Bundle, StoredManifest } from './registry/storage.ts';
import { tar, type TarEntry } from './tar.ts';

/** A number: a tar.gz with one file of so many bytes. */
export type LayerSpec =
  | number
  /** A tar.gz of these entries. */
  | { readonly entries: readonly TarEntry[] }
  /** These bytes as they are: for sizes that must be exact, and for what is no tar. */
  | {
      readonly raw: Uint8Array;
      readonly mediaType?: string;
      readonly urls?: readonly string[];
      /** Of what it is when it is unpacked; its own digest unless given. */
      readonly diffId?: Digest;
      readonly algorithm?: Algorithm;
    }
  /** Made while it is served: for gigabytes. */
  | { readonly synthetic: SyntheticBlob; readonly mediaType?: string };

export interface ImageOptions {
  readonly seed?: string | number;
  readonly layers?: readonly LayerSpec[];
  readonly mediaTypes?: 'oci' | 'docker';
  readonly platform?: Platform;
  readonly compressible?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  /** Bytes of the config when it is not that of a runnable image. */
  readonly config?: { readonly bytes: Uint8Array | string; readonly mediaType: string };
}

export interface Image extends Bundle {
  /** The exact bytes of the manifest. */
  readonly manifest: Buffer;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface ImageIndex extends Bundle {
  readonly manifest: Buffer;
  readonly entries: readonly Descriptor[];
}

interface Layer {
  readonly desc: Descriptor;
  readonly content: Content;
  readonly diffId: Digest;
}

const LINUX: Platform = { os: 'linux', architecture: 'amd64' };

function tarLayer(entries: readonly TarEntry[], mediaType: string): Layer {
  const plain = tar(entries);
  const packed = gzipSync(plain, { level: 6 });
  const desc: Descriptor = { mediaType, digest: digestOf(packed), size: packed.length };
  return { desc, content: inMemory(packed), diffId: digestOf(plain) };
}

function layerOf(spec: LayerSpec, index: number, options: ImageOptions): Layer {
  const mediaType = options.mediaTypes === 'docker' ? types.DOCKER_LAYER_GZIP : types.OCI_LAYER_GZIP;
  if (typeof spec === 'number') {
    const name = `${options.seed ?? 0}/${index}/${spec}`;
    const body = options.compressible === true ? Buffer.alloc(spec, `${name} `) : randomBytesOf(name, spec);
    const directory: TarEntry = { name: `layer-${index}/`, type: '5' };
    return tarLayer([directory, { name: `layer-${index}/data`, body }], mediaType);
  }
  if ('entries' in spec) return tarLayer(spec.entries, mediaType);
  if ('synthetic' in spec) {
    const { size, digest } = spec.synthetic;
    return { desc: { mediaType: spec.mediaType ?? mediaType, digest, size }, content: spec.synthetic, diffId: digest };
  }
  const digest = digestOf(spec.raw, spec.algorithm);
  const urls = spec.urls === undefined ? {} : { urls: spec.urls };
  const desc = { mediaType: spec.mediaType ?? mediaType, digest, size: spec.raw.length, ...urls };
  return { desc, content: inMemory(spec.raw), diffId: spec.diffId ?? digest };
}

const configOf = (platform: Platform, layers: readonly Layer[], seed: string | number): string =>
  JSON.stringify({
    architecture: platform.architecture,
    os: platform.os,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    ...(platform.osVersion === undefined ? {} : { 'os.version': platform.osVersion }),
    created: '2024-01-02T03:04:05Z',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/true'], Labels: { seed: String(seed) } },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, i) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${i}` })),
  });

/** The bytes of a document and what names them. */
export function documentOf(value: unknown, mediaType: string): { bytes: Buffer; desc: Descriptor } {
  const bytes = Buffer.from(JSON.stringify(value, null, 2));
  return { bytes, desc: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}

export function image(options: ImageOptions = {}): Image {
  const docker = options.mediaTypes === 'docker';
  const layers = (options.layers ?? [1000, 2000]).map((spec, i) => layerOf(spec, i, options));
  const platform = options.platform ?? LINUX;
  const configBytes = Buffer.from(options.config?.bytes ?? configOf(platform, layers, options.seed ?? 0));
  const config: Descriptor = {
    mediaType: options.config?.mediaType ?? (docker ? types.DOCKER_CONFIG : types.OCI_CONFIG),
    digest: digestOf(configBytes),
    size: configBytes.length,
  };
  const mediaType = docker ? types.DOCKER_MANIFEST : types.OCI_MANIFEST;
  const { bytes, desc } = documentOf(
    {
      schemaVersion: 2,
      mediaType,
      artifactType: options.artifactType,
      config,
      layers: layers.map((layer) => layer.desc),
      subject: options.subject,
      annotations: options.annotations,
    },
    mediaType,
  );
  const blobs = new Map<Digest, Content>([[config.digest, inMemory(configBytes)]]);
  // What `urls` serve is not in the registry.
  for (const { desc: layer, content } of layers) if (!layer.urls) blobs.set(layer.digest, content);
  return {
    desc,
    manifest: bytes,
    manifests: new Map([[desc.digest, { content: inMemory(bytes), mediaType }]]),
    blobs,
    config,
    layers: layers.map((layer) => layer.desc),
  };
}

/** A platform as an index writes it. */
const platformField = ({ osVersion, osFeatures, ...rest }: Platform): Record<string, unknown> => ({
  ...rest,
  ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
  ...(osFeatures === undefined ? {} : { 'os.features': osFeatures }),
});

export interface IndexEntry {
  readonly of: Bundle;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface IndexOptions {
  readonly mediaTypes?: 'oci' | 'docker';
  readonly annotations?: Readonly<Record<string, string>>;
  /** Adds for every entry the attestation manifest that BuildKit would. */
  readonly attestations?: boolean;
  /** Adds this many more copies of every entry. */
  readonly copies?: number;
}

/** An index over images (or other indexes). */
export function index(entries: readonly IndexEntry[], options: IndexOptions = {}): ImageIndex {
  const all = options.attestations === true ? entries.flatMap((e) => [e, attestationOf(e.of)]) : entries;
  const mediaType = options.mediaTypes === 'docker' ? types.DOCKER_LIST : types.OCI_INDEX;
  const written = all.map((entry) => ({
    ...entry.of.desc,
    ...(entry.platform === undefined ? {} : { platform: platformField(entry.platform) }),
    ...(entry.annotations === undefined ? {} : { annotations: entry.annotations }),
  }));
  const manifestsField = Array.from({ length: 1 + (options.copies ?? 0) }, () => written).flat();
  const document = { schemaVersion: 2, mediaType, manifests: manifestsField, annotations: options.annotations };
  const { bytes, desc } = documentOf(document, mediaType);
  const manifests = new Map<Digest, StoredManifest>([[desc.digest, { content: inMemory(bytes), mediaType }]]);
  const blobs = new Map<Digest, Content>();
  for (const { of } of all) {
    for (const [digest, manifest] of of.manifests) {
      manifests.delete(digest); // what several name comes after all of them
      manifests.set(digest, manifest);
    }
    for (const [digest, blob] of of.blobs) blobs.set(digest, blob);
  }
  return { desc, manifest: bytes, manifests, blobs, entries: all.map((entry) => entry.of.desc) };
}

function attestationOf(of: Bundle): IndexEntry {
  const statement = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v0.1',
    subject: [{ digest: of.desc.digest }],
  });
  const attestation = image({
    seed: `attestation ${of.desc.digest}`,
    platform: { os: 'unknown', architecture: 'unknown' },
    layers: [{ raw: Buffer.from(statement), mediaType: 'application/vnd.in-toto+json' }],
  });
  return {
    of: attestation,
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': of.desc.digest,
    },
  };
}

/** An image for each of several platforms, as most images of a public registry are. */
export function multiPlatform(
  options: ImageOptions & IndexOptions & { platforms?: readonly string[] } = {},
): ImageIndex {
  const names = options.platforms ?? ['linux/amd64', 'linux/arm64/v8'];
  const entries = names.map((name) => {
    const [os = '', architecture = '', variant] = name.split('/');
    const platform: Platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
    return { of: image({ ...options, seed: `${options.seed ?? 0} ${name}`, platform }), platform };
  });
  return index(entries, options);
}

/** `depth` indexes one in the other, an image in the innermost. */
export function nestedIndex(depth: number, seed: string | number = 0): ImageIndex {
  let outermost = index([{ of: image({ seed, layers: [100] }), platform: LINUX }]);
  const { blobs } = outermost;
  let manifests = [...outermost.manifests];
  for (let i = 1; i < depth; i += 1) {
    outermost = index([{ of: { desc: outermost.desc, manifests: new Map(), blobs: new Map() } }]);
    manifests = [...outermost.manifests, ...manifests];
  }
  return { ...outermost, manifests: new Map(manifests), blobs };
}

/** An index with `times` entries that are all the same. */
export const sameChild = (times: number, of: Bundle = image({ layers: [100] })): ImageIndex =>
  index([{ of, platform: LINUX }], { copies: times - 1 });
