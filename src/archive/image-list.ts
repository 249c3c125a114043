/** Which images an archive has, and which of them a name means. */
import { GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { malformed } from '../oci/fields.ts';
import { parseManifest } from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { parseReference } from '../oci/reference.ts';
import { showText } from '../oci/show.ts';

/** image-spec, annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The whole reference, as containerd and BuildKit write it; they have only the tag in the other. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** An image under all names that it has there. */
export interface ListedImage<Image> {
  readonly names: readonly string[];
  /** Equal for two entries that are the same image. */
  readonly id: string;
  readonly image: Image;
}

/** The first name of each image that has one, each name once. */
export const firstNames = (images: readonly ListedImage<unknown>[]): string[] => [
  ...new Set(images.map(({ names: [first] }) => first).filter((name) => name !== undefined)),
];

/** The canonical form of a whole reference; undefined for what is none. */
export function canonicalName(text: string): string | undefined {
  try {
    return parseReference(text).name;
  } catch (err) {
    if (isCode(err, 'INVALID')) return undefined;
    throw err;
  }
}

/** The entries of an index.json. @throws GantryError MALFORMED, TOO_LARGE, UNSUPPORTED */
export function listedImages(bytes: Uint8Array, where: string): ListedImage<Descriptor>[] {
  const index = parseManifest(bytes, { mediaType: OCI_INDEX }, where);
  if (index.kind !== 'index') throw malformed(where, 'not an image index');
  return index.manifests.map(({ mediaType, digest, size, annotations = {} }) => ({
    names: [annotations[REF_NAME], annotations[CONTAINERD_NAME]].filter((name) => name !== undefined),
    id: digest,
    image: { mediaType, digest, size },
  }));
}

/**
 * The image of that name, or the only one where no name is given. A name that is not there as it was typed may be there in its
 * full form: `redis:7` for `docker.io/library/redis:7`.
 * @throws GantryError NOT_FOUND, which lists what there is; INVALID when the name does not decide
 */
export function pickImage<Image>(
  images: readonly ListedImage<Image>[],
  name: string | undefined,
  where: string,
): Image {
  const [found, ...others] = distinct(candidates(images, name));
  if (found === undefined) {
    const what = name === undefined ? 'no image' : `no image of the name ${showText(name)}`;
    throw notFound(`${where} has ${what}`, images);
  }
  if (others.length === 0) return found.image;
  if (name === undefined) throw notFound(`${where} has several images, and none is named`, images);
  throw new GantryError('INVALID', `${where} has ${others.length + 1} images of the name ${showText(name)}`, {
    origin: 'source',
    hint: `choose one by its digest: ${[found, ...others]
      .slice(0, MAX_SHOWN)
      .map(({ id }) => id)
      .join(', ')}`,
  });
}

function candidates<Image>(
  images: readonly ListedImage<Image>[],
  name: string | undefined,
): readonly ListedImage<Image>[] {
  if (name === undefined) {
    // What has no name beside one that has is about it: a signature, a list of contents.
    const named = images.filter(({ names }) => names.length > 0);
    return named.length > 0 ? named : images;
  }
  const exact = images.filter(({ names }) => names.includes(name));
  if (exact.length > 0) return exact;
  const canonical = canonicalName(name);
  if (canonical === undefined) return [];
  return images.filter(({ names }) => names.some((each) => canonicalName(each) === canonical));
}

const distinct = <Image>(images: readonly ListedImage<Image>[]): ListedImage<Image>[] => [
  ...new Map(images.map((image) => [image.id, image])).values(),
];

const MAX_SHOWN = 10;

function notFound<Image>(message: string, images: readonly ListedImage<Image>[]): GantryError {
  const names = images.flatMap(({ names: [first], id }) => first ?? id);
  const more = names.length > MAX_SHOWN ? `, and ${names.length - MAX_SHOWN} more` : '';
  const shown = names.slice(0, MAX_SHOWN).map((name) => showText(name));
  return new GantryError('NOT_FOUND', message, {
    origin: 'source',
    ...(names.length === 0 ? {} : { hint: `it has ${shown.join(', ')}${more}` }),
  });
}
