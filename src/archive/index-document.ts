/** index.json of an image layout as it is written: what is there stays, with all its fields. */
import { GantryError } from '../errors.ts';
import { descriptorToJson } from '../oci/descriptor-json.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { field, isObject, type JsonObject, malformed } from '../oci/fields.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { REF_NAME } from './image-list.ts';

const nameIn = (entry: unknown): unknown => {
  const annotations = isObject(entry) ? field(entry, 'annotations') : undefined;
  return isObject(annotations) ? field(annotations, REF_NAME) : undefined;
};

const digestIn = (entry: unknown): unknown => (isObject(entry) ? field(entry, 'digest') : undefined);

/**
 * The text of `document` with these images in it. A name stands there once, for what it was given to last; an image without a
 * name only where nothing else lists it.
 * @throws GantryError MALFORMED when `manifests` is no list; TOO_LARGE beyond what readers take
 */
export function indexWith(document: JsonObject, images: readonly Descriptor[], where = 'index.json'): string {
  const found = field(document, 'manifests') ?? [];
  if (!Array.isArray(found)) throw malformed(where, 'manifests must be a list');
  const named = new Map<string, Descriptor>();
  const unnamed: Descriptor[] = [];
  for (const image of images) {
    const name = image.annotations?.[REF_NAME];
    if (name === undefined) unnamed.push(image);
    else named.set(name, image);
  }
  const entries: unknown[] = found.filter((entry: unknown) => {
    const name = nameIn(entry);
    return typeof name !== 'string' || !named.has(name);
  });
  entries.push(...[...named.values()].map(descriptorToJson));
  const listed = new Set(entries.map(digestIn));
  for (const image of unnamed) {
    if (!listed.has(image.digest)) entries.push(descriptorToJson(image));
    listed.add(image.digest);
  }
  const text = JSON.stringify({ ...document, manifests: entries });
  if (Buffer.byteLength(text) <= MAX_MANIFEST_BYTES) return text;
  throw new GantryError(
    'TOO_LARGE',
    `${where}: so many images that it would be larger than ${MAX_MANIFEST_BYTES} bytes`,
    {
      origin: 'user',
      hint: 'spread them over several archives',
    },
  );
}
