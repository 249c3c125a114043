import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { digestOf, type Digest } from '../src/oci/digest.ts';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../src/oci/media-types.ts';
import { layerStream, planDigest, type BuiltLayer, type LayerSpec } from './layer.ts';
import { PushClient } from './push.ts';
import { startRegistry, type Registry } from './registry.ts';
import { draftOf } from './workspace.ts';

/** Raise it when the same plan would give other bytes: caches of older versions are then built anew. */
const VERSION = 1;

export interface ImagePlan {
  readonly repository: string;
  readonly tag: string;
  readonly layers: readonly LayerSpec[];
}

/** What a corpus is made from. */
export interface CorpusPlan {
  readonly name: string;
  readonly seed: string;
  readonly images: readonly ImagePlan[];
}

export interface CorpusBlob {
  readonly digest: Digest;
  readonly size: number;
  /** One repository that serves it. */
  readonly repository: string;
}

export interface CorpusImage {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  readonly size: number;
  /** Config and layers. */
  readonly blobs: readonly Digest[];
}

/** corpus.json: what the storage beside it holds. */
export interface Corpus {
  readonly version: number;
  readonly name: string;
  readonly seed: string;
  readonly plan: Digest;
  /** Digests depend on the compressor: another zlib build may compress the same tar into other bytes. */
  readonly madeWith: { readonly node: string; readonly zlib: string; readonly arch: string };
  readonly bytes: number;
  readonly tarBytes: number;
  /** One digest over all images: equal corpora have equal ones. */
  readonly digest: Digest;
  readonly images: readonly CorpusImage[];
  readonly blobs: readonly CorpusBlob[];
}

type Say = (line: string) => void;

/** Runs `work` over all items, at most `width` at a time. */
export async function inParallel<T>(
  items: Iterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: width }, lane));
}

interface Placed extends BuiltLayer {
  readonly repository: string;
}

/** Makes every distinct layer once, in the first repository that uses it. Two at a time: deflate runs in threads. */
async function pushLayers(client: PushClient, plan: CorpusPlan, say: Say): Promise<Map<string, Placed>> {
  const wanted = new Map<string, { spec: LayerSpec; repository: string }>();
  for (const { layers, repository } of plan.images) {
    for (const spec of layers) if (!wanted.has(spec.id)) wanted.set(spec.id, { spec, repository });
  }
  const placed = new Map<string, Placed>();
  let bytes = 0;
  let told = performance.now();
  const largestFirst = [...wanted.values()].toSorted((a, b) => b.spec.bytes - a.spec.bytes);
  await inParallel(largestFirst, 2, async ({ spec, repository }) => {
    const { stream, built } = layerStream(spec);
    let layer: BuiltLayer | undefined;
    await client.stream(repository, stream, () => (layer ??= built()).digest);
    placed.set(spec.id, { ...(layer ?? built()), repository });
    bytes += layer?.size ?? 0;
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    say(`corpus: ${placed.size} of ${wanted.size} layers, ${(bytes / 1e6).toFixed(0)} MB`);
  });
  return placed;
}

function configOf(image: ImagePlan, layers: readonly Placed[]): Buffer {
  return Buffer.from(
    JSON.stringify({
      created: '2024-01-01T00:00:00Z',
      architecture: 'amd64',
      os: 'linux',
      config: {
        Env: ['PATH=/usr/bin:/bin'],
        Cmd: ['/bin/true'],
        Labels: { name: image.repository, version: image.tag },
      },
      rootfs: { type: 'layers', diff_ids: layers.map((l) => l.diffId) },
      history: image.layers.map((l) => ({ created: '2024-01-01T00:00:00Z', created_by: `COPY ${l.id} /` })),
    }),
  );
}

async function pushImage(client: PushClient, image: ImagePlan, placed: Map<string, Placed>): Promise<CorpusImage> {
  const { repository, tag } = image;
  const layers = image.layers.map((spec) => {
    const layer = placed.get(spec.id);
    if (!layer) throw new Error(`layer ${spec.id} was not built`);
    return layer;
  });
  for (const layer of layers) {
    if (layer.repository !== repository) await client.mount(repository, layer.digest, layer.repository);
  }
  const config = configOf(image, layers);
  const configDigest = await client.blob(repository, config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: configDigest, size: config.length },
      layers: layers.map(({ digest, size }) => ({ mediaType: OCI_LAYER_GZIP, digest, size })),
    }),
  );
  const digest = await client.manifest(repository, tag, manifest);
  return { repository, tag, digest, size: manifest.length, blobs: [configDigest, ...layers.map((l) => l.digest)] };
}

async function fill(registry: Registry, plan: CorpusPlan, say: Say): Promise<Corpus> {
  using client = new PushClient(registry.host);
  const placed = await pushLayers(client, plan, say);
  const images: CorpusImage[] = [];
  const blobs = new Map<Digest, CorpusBlob>();
  for (const { digest, size, repository } of placed.values()) blobs.set(digest, { digest, size, repository });
  for (const planned of plan.images) {
    const image = await pushImage(client, planned, placed);
    images.push(image);
    for (const digest of image.blobs) {
      if (blobs.has(digest)) continue;
      const size = await client.sizeOf(image.repository, 'blobs', digest);
      if (size === undefined) throw new Error(`the registry lost ${digest}`);
      blobs.set(digest, { digest, size, repository: image.repository });
    }
  }
  const all = [...blobs.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  return {
    version: VERSION,
    name: plan.name,
    seed: plan.seed,
    plan: planDigest(plan),
    madeWith: { node: process.version, zlib: process.versions.zlib ?? '', arch: arch() },
    bytes: all.reduce((sum, b) => sum + b.size, 0),
    tarBytes: [...placed.values()].reduce((sum, l) => sum + l.tarBytes, 0),
    digest: digestOf(images.map((i) => `${i.repository}:${i.tag}@${i.digest}\n`).join('')),
    images,
    blobs: all,
  };
}

async function build(dir: string, plan: CorpusPlan, say: Say): Promise<void> {
  say(`corpus: building ${plan.name} in ${dir} (once)`);
  const started = performance.now();
  const draft = draftOf(dir);
  await mkdir(join(draft, 'storage'), { recursive: true });
  {
    await using registry = await startRegistry(join(draft, 'storage'), join(draft, 'log'));
    const corpus = await fill(registry, plan, say);
    await writeFile(join(draft, 'corpus.json'), `${JSON.stringify(corpus, null, 2)}\n`);
  }
  await rm(join(draft, 'log'), { recursive: true });
  await rename(draft, dir);
  say(`corpus: built in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

/** The rest of the file follows from the version; what it lists is checked against the registry. */
const isCorpusOf = (plan: CorpusPlan, value: unknown): value is Corpus =>
  typeof value === 'object' &&
  value !== null &&
  'version' in value &&
  value.version === VERSION &&
  'plan' in value &&
  value.plan === planDigest(plan);

async function readCorpus(dir: string, plan: CorpusPlan): Promise<Corpus | undefined> {
  const text = await readFile(join(dir, 'corpus.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed: unknown = JSON.parse(text);
  return isCorpusOf(plan, parsed) ? parsed : undefined;
}

/** Everything that corpus.json lists is in the registry, with its size. */
async function isWhole(registry: Registry, corpus: Corpus): Promise<boolean> {
  using client = new PushClient(registry.host);
  let whole = true;
  await inParallel(corpus.blobs, 8, async (b) => {
    if ((await client.sizeOf(b.repository, 'blobs', b.digest)) !== b.size) whole = false;
  });
  await inParallel(corpus.images, 8, async (i) => {
    if ((await client.sizeOf(i.repository, 'manifests', i.digest)) !== i.size) whole = false;
  });
  return whole;
}

/** A registry that serves the corpus of `plan`, built now or taken from the cache; its log goes into `scratch`. */
export async function serveCorpus(
  cache: string,
  plan: CorpusPlan,
  scratch: string,
  say: Say,
): Promise<{ corpus: Corpus; registry: Registry }> {
  const dir = join(cache, `${plan.name}-v${VERSION}`);
  for (const attempt of ['cached', 'fresh'] as const) {
    const corpus = await readCorpus(dir, plan);
    if (corpus) {
      const registry = await startRegistry(join(dir, 'storage'), scratch);
      if (await isWhole(registry, corpus)) return { corpus, registry };
      await registry[Symbol.asyncDispose]();
    }
    if (attempt === 'fresh') break;
    await rm(dir, { recursive: true, force: true });
    await build(dir, plan, say);
  }
  throw new Error(`the corpus in ${dir} is not whole, although it was just built`);
}
