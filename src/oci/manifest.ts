/**
 * Manifests and indexes (image-spec, manifest.md and image-index.md; Docker's schema 2 has the same shape). What a node
 * is follows from its position: what stands under `config` or `layers` is a blob whatever its media type, and `subject`
 * points up, so it is never a child.
 */
import { GantryError } from '../errors.ts';
import { isMediaType, optionalMediaType, parseDescriptor } from './descriptor-json.ts';
import type { Descriptor } from './descriptor.ts';
import {
  field,
  FieldNames,
  malformed,
  objectAt,
  optionalStringMap,
  type JsonObject,
  type StringMap,
} from './fields.ts';
import { parseStrictJson } from './json.ts';
import { isIndexType, isManifestType, isSchema1Type, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import { selectManifests, type PlatformMatcher } from './platform.ts';
import { showText, showValue } from './show.ts';

export { descriptorToJson, parseDescriptor } from './descriptor-json.ts';

/** Bytes; what registries and other clients agree on. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Entries of `manifests`, or layers and the config. */
export const MAX_CHILDREN = 10_000;

interface Common {
  /** The document's own media type; where it has none, the one that it was sent as. */
  readonly mediaType: string;
  /** What this one is about. Never a child. */
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  readonly annotations?: StringMap;
}

export interface ImageIndex extends Common {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
}

export interface ImageManifest extends Common {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export type Manifest = ImageIndex | ImageManifest;

export interface ManifestChild {
  readonly kind: 'manifest' | 'blob';
  readonly desc: Descriptor;
}

const FIELDS = new FieldNames(
  'schemaVersion',
  'mediaType',
  'artifactType',
  'manifests',
  'config',
  'layers',
  'blobs',
  'fsLayers',
  'subject',
  'annotations',
);

/** What servers say that do not know what they send. */
const GENERIC_TYPES: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/plain',
]);

const unsupported = (message: string, hint?: string): GantryError =>
  new GantryError('UNSUPPORTED', message, { origin: 'source', ...(hint === undefined ? {} : { hint }) });

/** Whether content of this type can be the root of an image or an entry of an index. */
export const isRootType = (mediaType: string): boolean => isIndexType(mediaType) || isManifestType(mediaType);

function checkType(mediaType: string, what: string): void {
  if (isRootType(mediaType)) return;
  if (isSchema1Type(mediaType)) throw schema1(what);
  throw unsupported(`${what}: ${showText(mediaType)} is not a type of manifest that gantry handles`);
}

const schema1 = (what: string): GantryError =>
  unsupported(
    `${what}: a Docker schema 1 manifest, whose digest does not cover the bytes that are sent`,
    'have the image built and pushed again; every Docker since 1.10 (2016) writes schema 2',
  );

/**
 * For a root or an entry of `manifests`, before it is fetched.
 * @throws GantryError UNSUPPORTED, which names the type
 */
export const assertManifestType = (desc: Pick<Descriptor, 'mediaType' | 'digest'>): void =>
  checkType(desc.mediaType, `manifest ${desc.digest}`);

/** The type of a Content-Type header or a descriptor; undefined when it says nothing. */
function sentAs(mediaType: string): string | undefined {
  const essence = mediaType.slice(0, 256).replace(/;.*$/s, '').trim().toLowerCase();
  return GENERIC_TYPES.has(essence) ? undefined : essence;
}

/** Only for documents that do not say what they are, from servers that do not either: OCI 1.0 left `mediaType` out. */
function detect(doc: JsonObject, what: string): string {
  if (field(doc, 'manifests') !== undefined) return OCI_INDEX;
  if (field(doc, 'config') !== undefined) return OCI_MANIFEST;
  throw malformed(what, 'neither a manifest nor an index: it has no mediaType, no manifests and no config');
}

function decideType(doc: JsonObject, expected: string, what: string): string {
  const own = field(doc, 'mediaType') ?? '';
  if (own !== '' && !isMediaType(own)) {
    throw malformed(`${what}: mediaType`, `must be a media type, got ${showValue(own)}`);
  }
  const sent = sentAs(expected);
  for (const mediaType of [own, sent ?? '']) if (mediaType !== '') checkType(mediaType, what);
  if (own !== '' && sent !== undefined && isIndexType(own) !== isIndexType(sent)) {
    throw malformed(`${what}: mediaType`, `says ${own}, but it was sent as ${sent}`);
  }
  return own === '' ? (sent ?? detect(doc, what)) : own;
}

function refuseFields(doc: JsonObject, names: readonly string[], mediaType: string, what: string): void {
  const found = names.find((name) => field(doc, name) !== undefined);
  // CVE-2021-41190: a document that is a manifest to one reader and an index to another.
  if (found !== undefined) throw malformed(what, `ambiguous: "${found}" in a document of type ${mediaType}`);
}

function descriptorList(doc: JsonObject, name: string, what: string): readonly Descriptor[] {
  if (!Object.hasOwn(doc, name)) throw malformed(`${what}: ${name}`, 'is missing');
  const value = field(doc, name) ?? [];
  if (!Array.isArray(value)) throw malformed(`${what}: ${name}`, `must be a list, got ${showValue(value)}`);
  if (value.length > MAX_CHILDREN) {
    throw new GantryError('TOO_LARGE', `${what}: ${name}: ${value.length} entries, at most ${MAX_CHILDREN} are read`, {
      origin: 'source',
    });
  }
  return value.map((item: unknown, i) => parseDescriptor(item, `${what}: ${name}.${i}`));
}

/** One digest has one size; a second one is a lie that would surface only after the download. */
function checkSizes(descs: readonly Descriptor[], what: string): void {
  const sizes = new Map<string, number>();
  for (const { digest, size } of descs) {
    const known = sizes.get(digest);
    if (known !== undefined && known !== size) {
      throw malformed(what, `${digest} stands there with ${known} and with ${size} bytes`);
    }
    sizes.set(digest, size);
  }
}

function parseCommon(doc: JsonObject, mediaType: string, what: string): Common {
  const subject = field(doc, 'subject');
  const artifactType = optionalMediaType(doc, 'artifactType', what);
  const annotations = optionalStringMap(doc, 'annotations', what);
  return {
    mediaType,
    ...(subject === undefined ? {} : { subject: parseDescriptor(subject, `${what}: subject`) }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/**
 * Reads a manifest or an index. What it is must be beyond doubt: the document's `mediaType`, the type that it was sent as
 * and its fields agree. Media types of entries are not judged here; see assertManifestType. The caller checks the digest.
 * @param expected the type in the Content-Type header or the descriptor that led here; generic types say nothing
 * @param what names the document in messages: `manifest sha256:...`
 * @throws GantryError MALFORMED; UNSUPPORTED for schema 1 and unknown types; TOO_LARGE beyond 4 MiB or 10,000 entries
 */
export function parseManifest(
  bytes: Uint8Array,
  expected: { readonly mediaType: string },
  what = 'manifest',
): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw new GantryError('TOO_LARGE', `${what}: ${bytes.byteLength} bytes, at most ${MAX_MANIFEST_BYTES} are read`, {
      origin: 'source',
    });
  }
  const doc = objectAt(parseStrictJson(bytes, what), what, FIELDS);
  const version = field(doc, 'schemaVersion');
  if (version === 1) throw schema1(what);
  const mediaType = decideType(doc, expected.mediaType, what);
  if (version !== 2) throw malformed(`${what}: schemaVersion`, `must be 2, got ${showValue(version)}`);

  if (isIndexType(mediaType)) {
    refuseFields(doc, ['config', 'layers', 'blobs', 'fsLayers'], mediaType, what);
    const manifests = descriptorList(doc, 'manifests', what);
    checkSizes(manifests, what);
    return { kind: 'index', ...parseCommon(doc, mediaType, what), manifests };
  }
  refuseFields(doc, ['manifests', 'blobs', 'fsLayers'], mediaType, what);
  const config = parseDescriptor(field(doc, 'config'), `${what}: config`);
  const layers = descriptorList(doc, 'layers', what);
  checkSizes([config, ...layers], what);
  return { kind: 'manifest', ...parseCommon(doc, mediaType, what), config, layers };
}

/**
 * What hangs below a manifest, each content once, in the order of the document; the config comes first.
 * @param matcher selects entries of an index by platform; absent: all. Selection comes before the removal of repeats,
 *   because one manifest may be listed for several platforms.
 */
export function childrenOf(manifest: Manifest, matcher?: PlatformMatcher): ManifestChild[] {
  const kind = manifest.kind === 'index' ? 'manifest' : 'blob';
  const once = new Map<string, ManifestChild>();
  for (const desc of directDescriptors(manifest, matcher)) {
    if (!once.has(desc.digest)) once.set(desc.digest, { kind, desc });
  }
  return [...once.values()];
}

function directDescriptors(manifest: Manifest, matcher: PlatformMatcher | undefined): readonly Descriptor[] {
  if (manifest.kind === 'manifest') return [manifest.config, ...manifest.layers];
  return matcher === undefined ? manifest.manifests : selectManifests(manifest.manifests, matcher);
}
