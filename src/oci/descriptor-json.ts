/** Descriptors as they stand in manifests, indexes and index.json (image-spec, descriptor.md). */
import { GantryError } from '../errors.ts';
import type { Descriptor, Platform } from './descriptor.ts';
import { isDigest, type Digest } from './digest.ts';
import { field, FieldNames, isStringList, malformed, objectAt, optionalStringMap, type JsonObject } from './fields.ts';
import { showText, showValue } from './show.ts';

const DESCRIPTOR_FIELDS = new FieldNames(
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'platform',
  'artifactType',
);
const PLATFORM_FIELDS = new FieldNames('architecture', 'os', 'os.version', 'os.features', 'variant', 'features');

const NAME = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}';
/** RFC 6838, and parameters beyond it: sigstore bundles are `application/vnd.dev.sigstore.bundle+json;version=0.2`. */
const MEDIA_TYPE = new RegExp(`^${NAME}/${NAME}(?:; ?${NAME}=${NAME}){0,4}$`);
/** image-spec, descriptor.md#digests: the grammar, with algorithms that gantry does not know. */
const ANY_DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const MAX_DIGEST = 256;
const PLATFORM_TEXT = /^[\x20-\x7e]{0,128}$/;
const MAX_URLS = 32;
const URL_TEXT = /^[\x21-\x7e]{1,4096}$/;

/** `type/subtype`, which may go into a header as it stands. */
export const isMediaType = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 255 && MEDIA_TYPE.test(value);

/** Absent, null and "" are the same: writers in Go leave "" where they mean nothing. */
export function optionalMediaType(object: JsonObject, name: string, where: string): string | undefined {
  const value = field(object, name);
  if (value === undefined || value === '') return undefined;
  if (!isMediaType(value)) throw malformed(`${where}.${name}`, `must be a media type, got ${showValue(value)}`);
  return value;
}

function digestField(object: JsonObject, where: string): Digest {
  const value = field(object, 'digest');
  if (isDigest(value)) return value;
  if (typeof value === 'string' && value.length <= MAX_DIGEST && ANY_DIGEST.test(value)) {
    const algorithm = value.slice(0, value.indexOf(':'));
    if (algorithm !== 'sha256' && algorithm !== 'sha512') {
      throw new GantryError(
        'UNSUPPORTED',
        `${where}.digest: gantry does not know the algorithm ${showText(algorithm)}`,
        {
          origin: 'source',
        },
      );
    }
  }
  throw malformed(`${where}.digest`, `must be a digest, got ${showValue(value)}`);
}

function sizeField(object: JsonObject, where: string): number {
  const value = field(object, 'size');
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(`${where}.size`, `must be a whole number of bytes below 2^53, got ${showValue(value)}`);
}

function platformText(object: JsonObject, name: string, where: string): string {
  const value = field(object, name) ?? '';
  if (typeof value === 'string' && PLATFORM_TEXT.test(value)) return value;
  throw malformed(`${where}.${name}`, `must be a short text, got ${showValue(value)}`);
}

/** A platform that says nothing is no platform: tools write `{}` and empty strings for things that run anywhere. */
function parsePlatformField(value: unknown, where: string): Platform | undefined {
  if (value === undefined) return undefined;
  const object = objectAt(value, where, PLATFORM_FIELDS);
  const os = platformText(object, 'os', where);
  const architecture = platformText(object, 'architecture', where);
  const variant = platformText(object, 'variant', where);
  const osVersion = platformText(object, 'os.version', where);
  const osFeatures = field(object, 'os.features') ?? [];
  if (!isStringList(osFeatures) || osFeatures.length > 64 || !osFeatures.every((text) => PLATFORM_TEXT.test(text))) {
    throw malformed(`${where}.os.features`, 'must be a list of short texts');
  }
  if (os === '' && architecture === '') return undefined;
  return {
    os,
    architecture,
    ...(variant === '' ? {} : { variant }),
    ...(osVersion === '' ? {} : { osVersion }),
    ...(osFeatures.length === 0 ? {} : { osFeatures }),
  };
}

function urlsField(object: JsonObject, where: string): readonly string[] | undefined {
  const value = field(object, 'urls');
  if (value === undefined) return undefined;
  if (isStringList(value) && value.length <= MAX_URLS && value.every((url) => URL_TEXT.test(url))) {
    return value.length === 0 ? undefined : value;
  }
  throw malformed(`${where}.urls`, `must be a list of at most ${MAX_URLS} URLs`);
}

/**
 * Reads one descriptor (image-spec, descriptor.md#properties). `data` is ignored: content comes from where its digest is
 * checked. An optional field that is null or empty is absent.
 * @param where names the place in messages: `manifest sha256:...: layers.3`
 * @throws GantryError MALFORMED, or UNSUPPORTED for a digest of an unknown algorithm
 */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  const object = objectAt(value, where, DESCRIPTOR_FIELDS);
  const mediaType = field(object, 'mediaType');
  if (!isMediaType(mediaType)) {
    throw malformed(`${where}.mediaType`, `must be a media type, got ${showValue(mediaType)}`);
  }
  const digest = digestField(object, where);
  const size = sizeField(object, where);
  const platform = parsePlatformField(field(object, 'platform'), `${where}.platform`);
  const annotations = optionalStringMap(object, 'annotations', where);
  const artifactType = optionalMediaType(object, 'artifactType', where);
  const urls = urlsField(object, where);
  return {
    mediaType,
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(urls === undefined ? {} : { urls }),
  };
}

function platformToJson(platform: Platform): JsonObject {
  return {
    architecture: platform.architecture,
    os: platform.os,
    ...(platform.osVersion === undefined ? {} : { 'os.version': platform.osVersion }),
    ...(platform.osFeatures === undefined ? {} : { 'os.features': platform.osFeatures }),
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
  };
}

/** The descriptor with the field names and the order of image-spec, for JSON.stringify. */
export function descriptorToJson(desc: Descriptor): JsonObject {
  return {
    mediaType: desc.mediaType,
    digest: desc.digest,
    size: desc.size,
    ...(desc.urls === undefined ? {} : { urls: desc.urls }),
    ...(desc.annotations === undefined ? {} : { annotations: desc.annotations }),
    ...(desc.platform === undefined ? {} : { platform: platformToJson(desc.platform) }),
    ...(desc.artifactType === undefined ? {} : { artifactType: desc.artifactType }),
  };
}
