import type { CallOptions } from '../call.ts';
import type { ImageNames, Provider } from '../content/ports.ts';
import { readContent } from '../content/read.ts';
import { GantryError } from '../errors.ts';
import { readManifest } from '../handlers/children.ts';
import { type ImageConfig, MAX_CONFIG_BYTES, parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Manifest } from '../oci/manifest.ts';
import { isConfigType } from '../oci/media-types.ts';
import { formatPlatform, hostPlatform, matchPlatform, parsePlatform, selectManifests } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import type { Resolver } from '../remote/ports.ts';
import { providerOf } from './remote-image.ts';

/** What `gantry inspect` tells; docs/json.md describes the shape. */
export interface ImageDescription {
  readonly name: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly from: 'store' | 'registry';
  /** Of an index. */
  readonly platforms: readonly { readonly platform: string; readonly digest: string }[];
  /** Of the image that is described below: for an index, the entry that was chosen. */
  readonly platform: string | undefined;
  readonly created: string | undefined;
  /** Bytes of the configuration and the layers, as they are transferred. */
  readonly size: number;
  readonly layers: readonly { readonly digest: string; readonly size: number; readonly mediaType: string }[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface InspectParts {
  readonly store: (Provider & { readonly names: ImageNames }) | undefined;
  readonly resolver: Resolver;
}

interface Source {
  readonly from: 'store' | 'registry';
  readonly desc: Descriptor;
  readonly manifests: Provider;
  readonly blobs: Provider;
}

/** Describes an image from the store when its name is there, else from the registry. */
export async function inspectImage(
  parts: InspectParts,
  ref: Reference,
  opts: CallOptions & { platform: string | undefined },
): Promise<ImageDescription> {
  const source = (await inStore(parts, ref, opts)) ?? (await atRegistry(parts, ref, opts));
  const root = await readManifest(source.manifests, source.desc, opts);
  const { manifest, desc } = await imageOf(root, source, opts);
  const config = manifest === undefined ? undefined : await configOf(manifest, source, opts);
  const layers = manifest?.layers ?? [];
  const platform = config?.platform ?? desc?.platform;
  return {
    name: ref.name,
    digest: source.desc.digest,
    mediaType: source.desc.mediaType,
    from: source.from,
    platforms: root.kind === 'index' ? root.manifests.flatMap(platformOf) : [],
    platform: platform === undefined ? undefined : formatPlatform(platform),
    created: config?.created,
    size: [manifest?.config, ...layers].reduce((sum, each) => sum + (each?.size ?? 0), 0),
    layers: layers.map(({ digest, size, mediaType }) => ({ digest, size, mediaType })),
    config: { ...config?.config },
    annotations: { ...root.annotations },
  };
}

const platformOf = ({ platform, digest }: Descriptor): { platform: string; digest: string }[] =>
  platform === undefined ? [] : [{ platform: formatPlatform(platform), digest }];

async function inStore({ store }: InspectParts, ref: Reference, opts: CallOptions): Promise<Source | undefined> {
  const record = await store?.names.lookup(ref.name, opts);
  if (store === undefined || record === undefined) return undefined;
  return { from: 'store', desc: record.desc, manifests: store, blobs: store };
}

async function atRegistry({ resolver }: InspectParts, ref: Reference, opts: CallOptions): Promise<Source> {
  const { desc } = await resolver.resolve(ref, opts);
  const fetcher = resolver.fetcher(ref.repository);
  return {
    from: 'registry',
    desc,
    manifests: providerOf(fetcher, 'manifest', ''),
    blobs: providerOf(fetcher, 'blob', ''),
  };
}

/** The image manifest itself, or the best entry of an index. */
async function imageOf(
  root: Manifest,
  source: Source,
  opts: CallOptions & { platform: string | undefined },
): Promise<{ manifest: Extract<Manifest, { kind: 'manifest' }> | undefined; desc: Descriptor | undefined }> {
  if (root.kind === 'manifest') return { manifest: root, desc: undefined };
  const wanted = opts.platform === undefined ? hostPlatform() : parsePlatform(opts.platform);
  const [desc] = selectManifests(root.manifests, matchPlatform(wanted));
  if (desc === undefined) {
    if (opts.platform === undefined) return { manifest: undefined, desc: undefined };
    throw new GantryError('NOT_FOUND', `the index has no image for ${formatPlatform(wanted)}`, { origin: 'user' });
  }
  const manifest = await readManifest(source.manifests, desc, opts);
  return { manifest: manifest.kind === 'manifest' ? manifest : undefined, desc };
}

async function configOf(
  manifest: Extract<Manifest, { kind: 'manifest' }>,
  source: Source,
  opts: CallOptions,
): Promise<ImageConfig | undefined> {
  if (!isConfigType(manifest.config.mediaType)) return undefined; // of a chart or a signature: not an image's
  const bytes = await readContent(source.blobs, manifest.config, { ...opts, limit: MAX_CONFIG_BYTES });
  return parseImageConfig(bytes, `config ${manifest.config.digest}`);
}
