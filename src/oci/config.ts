import { GantryError } from '../errors.ts';
import type { Platform } from './descriptor.ts';
import { isDigest, type Digest } from './digest.ts';
import {
  field,
  isObject,
  isStringList,
  isStringMap,
  malformed,
  objectAt,
  type JsonObject,
  type StringMap,
} from './fields.ts';
import { parseStrictJson } from './json.ts';
import { showValue } from './show.ts';

/** Bytes. */
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/** How a container of the image starts, under the names of the specification. Absent: not said. */
export interface ExecutionConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
  readonly Labels?: StringMap;
  /** `80/tcp`. */
  readonly ExposedPorts?: readonly string[];
  /** Paths. */
  readonly Volumes?: readonly string[];
}

export interface ImageConfig {
  /** Absent when the document names neither system nor architecture. */
  readonly platform: Platform | undefined;
  /** Digests of the uncompressed layers, the bottom one first. */
  readonly diffIds: readonly Digest[];
  /** As it was written: RFC 3339, but nothing checks that. */
  readonly created: string | undefined;
  readonly author: string | undefined;
  readonly config: ExecutionConfig;
}

const text = (object: JsonObject, name: string): string | undefined => {
  const value = field(object, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
};

const list = (object: JsonObject, name: string): readonly string[] | undefined => {
  const value = field(object, name);
  return isStringList(value) ? value : undefined;
};

const keys = (object: JsonObject, name: string): readonly string[] | undefined => {
  const value = field(object, name);
  return isObject(value) ? Object.keys(value) : undefined;
};

function platformOf(doc: JsonObject): Platform | undefined {
  const os = text(doc, 'os');
  const architecture = text(doc, 'architecture');
  if (os === undefined && architecture === undefined) return undefined;
  const variant = text(doc, 'variant');
  const osVersion = text(doc, 'os.version');
  const osFeatures = list(doc, 'os.features');
  return {
    os: os ?? '',
    architecture: architecture ?? '',
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
    ...(osFeatures === undefined ? {} : { osFeatures }),
  };
}

function executionConfig(value: unknown): ExecutionConfig {
  if (!isObject(value)) return {};
  const labels = field(value, 'Labels');
  const found = {
    User: text(value, 'User'),
    Env: list(value, 'Env'),
    Entrypoint: list(value, 'Entrypoint'),
    Cmd: list(value, 'Cmd'),
    WorkingDir: text(value, 'WorkingDir'),
    StopSignal: text(value, 'StopSignal'),
    Labels: isStringMap(labels) ? labels : undefined,
    ExposedPorts: keys(value, 'ExposedPorts'),
    Volumes: keys(value, 'Volumes'),
  };
  // Dropping what is undefined keeps the types of the rest.
  return Object.fromEntries(Object.entries(found).filter(([, item]) => item !== undefined));
}

function parseDiffIds(doc: JsonObject, what: string): readonly Digest[] {
  const rootfs = field(doc, 'rootfs');
  if (rootfs === undefined) return [];
  const where = `${what}: rootfs`;
  const ids = field(objectAt(rootfs, where), 'diff_ids') ?? [];
  if (!Array.isArray(ids)) throw malformed(`${where}.diff_ids`, `must be a list, got ${showValue(ids)}`);
  return ids.map((id: unknown, i) => {
    if (isDigest(id)) return id;
    throw malformed(`${where}.diff_ids.${i}`, `must be a digest, got ${showValue(id)}`);
  });
}

/**
 * Reads an image's config (image-spec, config.md). Only the layers are strict, because content is checked against them;
 * any other field of a wrong type counts as absent.
 * @param what names the document in messages: `config sha256:...`
 * @throws GantryError MALFORMED, TOO_LARGE
 */
export function parseImageConfig(bytes: Uint8Array, what = 'config'): ImageConfig {
  if (bytes.byteLength > MAX_CONFIG_BYTES) {
    throw new GantryError('TOO_LARGE', `${what}: ${bytes.byteLength} bytes, at most ${MAX_CONFIG_BYTES} are read`, {
      origin: 'source',
    });
  }
  const doc = objectAt(parseStrictJson(bytes, what), what);
  return {
    platform: platformOf(doc),
    diffIds: parseDiffIds(doc, what),
    created: text(doc, 'created'),
    author: text(doc, 'author'),
    config: executionConfig(field(doc, 'config')),
  };
}
