/** Indexes that are made of others. What they list stays, as JSON, what it was. */
import type { Descriptor } from './descriptor.ts';
import { type Digest, digestOf } from './digest.ts';
import { field, type JsonObject, malformed, objectAt } from './fields.ts';
import { parseStrictJson } from './json.ts';
import { descriptorToJson, type ImageIndex, type Manifest, parseManifest } from './manifest.ts';
import { OCI_INDEX } from './media-types.ts';

/** The index that a stripped one was made of. */
const SOURCE = 'dev.gantry.source.digest';
/** The platforms that were wanted of it. */
const PLATFORMS = 'dev.gantry.platforms';

export interface MadeIndex {
  readonly desc: Descriptor;
  readonly bytes: Buffer;
}

/** What has to be the same for a stripped index to be the same. */
export interface StripOrigin {
  readonly source: Digest;
  /** As PlatformMatcher.text says. */
  readonly platforms: string;
}

/** An index that lists only some of the entries of another one. The same input gives the same bytes. */
export function stripIndex(
  bytes: Uint8Array,
  index: ImageIndex,
  kept: readonly Descriptor[],
  from: StripOrigin,
): MadeIndex {
  const { document, entries } = rawIndex(bytes, from.source);
  const wanted = new Set(kept);
  const manifests = entries.filter((_entry, i) => {
    const desc = index.manifests[i];
    return desc !== undefined && wanted.has(desc);
  });
  const annotations = { ...index.annotations, [SOURCE]: from.source, [PLATFORMS]: inOrder(from.platforms) };
  return made({ ...document, manifests, annotations }, index.mediaType);
}

/** Whether an index was stripped of this one, for these platforms. */
export const isStrippedOf = ({ annotations }: Manifest, from: StripOrigin): boolean =>
  annotations?.[SOURCE] === from.source && annotations[PLATFORMS] === inOrder(from.platforms);

/** In whatever order they are asked for, the same platforms make the same index. */
const inOrder = (platforms: string): string => platforms.split(',').toSorted().join(',');

/**
 * An index that also lists `added`; undefined when it does already. Without an index to begin with, a new one.
 * @param gone entries that are left out
 * @param what names the index in messages
 * @throws GantryError MALFORMED when it is none
 */
export function extendIndex(
  bytes: Uint8Array | undefined,
  added: readonly Descriptor[],
  gone: ReadonlySet<Digest>,
  what: string,
): MadeIndex | undefined {
  if (bytes === undefined) return made({ ...NEW_INDEX, manifests: added.map(descriptorToJson) }, OCI_INDEX);
  const index = parseManifest(bytes, { mediaType: OCI_INDEX }, what);
  if (index.kind !== 'index') throw malformed(what, 'it is no index');
  const known = new Set(index.manifests.map(({ digest }) => digest));
  const missing = added.filter(({ digest }) => !known.has(digest));
  if (missing.length === 0) return undefined;
  const { document, entries } = rawIndex(bytes, what);
  const kept = entries.filter((_entry, i) => {
    const desc = index.manifests[i];
    return desc !== undefined && !gone.has(desc.digest);
  });
  return made({ ...document, manifests: [...kept, ...missing.map(descriptorToJson)] }, index.mediaType);
}

const NEW_INDEX = { schemaVersion: 2, mediaType: OCI_INDEX };

/** An index as JSON, which has more than is read of it. */
function rawIndex(bytes: Uint8Array, what: string): { document: JsonObject; entries: readonly unknown[] } {
  const document = objectAt(parseStrictJson(bytes, what), what);
  const entries: unknown = field(document, 'manifests') ?? [];
  if (!Array.isArray(entries)) throw malformed(what, 'it is no index');
  return { document, entries };
}

function made(document: JsonObject, mediaType: string): MadeIndex {
  const bytes = Buffer.from(JSON.stringify(document));
  return { desc: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}
