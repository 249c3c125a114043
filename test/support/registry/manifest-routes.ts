import { isIndexType, isManifestType, isNonDistributable, isSchema1Type } from '../../../src/oci/media-types.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { type Answer, answer, type Asked, json, ociError } from './answer.ts';
import type { Kind } from './log.ts';
import type { Repositories } from './storage.ts';

export interface ManifestOptions {
  /** An index may name manifests that are not there. */
  readonly sparse?: boolean;
  /** Tags that cannot be put again once they exist. */
  readonly immutableTags?: true | ((tag: string) => boolean);
  /** How a PUT of such a tag is refused; 400 TAG_INVALID unless given. */
  readonly immutableStatus?: 400 | 409;
  /** Whether such a tag may be put again with the digest that it has; refused unless given. */
  readonly immutableSame?: 'taken' | 'refused';
  /** False: 405 for every DELETE of content. */
  readonly deletes?: boolean;
  /** False: a tag cannot be deleted, and the answer is that of docker-registry. */
  readonly tagDeletes?: boolean;
  /** Bytes; 4 MiB unless given. */
  readonly maxManifest?: number;
}

interface Child {
  digest?: string;
  mediaType?: string;
  urls?: string[];
}

interface ManifestFields {
  mediaType?: string;
  config?: Child;
  layers?: Child[];
  manifests?: Child[];
  fsLayers?: { blobSum: string }[];
  subject?: Child;
}

interface Missing {
  readonly kind: 'blob' | 'manifest';
  readonly digest: string;
}

function parse(bytes: Buffer): ManifestFields | undefined {
  try {
    const parsed: ManifestFields | null = JSON.parse(bytes.toString());
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** As a registry sees whether the media type is that of the document: by its fields. */
function isOfType(mediaType: string, fields: ManifestFields): boolean {
  if (fields.mediaType !== undefined && fields.mediaType !== mediaType) return false;
  if (isIndexType(mediaType)) return Array.isArray(fields.manifests);
  if (isManifestType(mediaType)) return fields.config !== undefined && Array.isArray(fields.layers);
  return isSchema1Type(mediaType) && Array.isArray(fields.fsLayers);
}

const invalid = (detail: string): Answer => ociError(400, 'MANIFEST_INVALID', 'manifest invalid', detail);

/** How manifests and tags come in, and how content is deleted. */
export class ManifestRoutes {
  /** What was put before what it refers to, one line each. */
  readonly violations: string[] = [];
  readonly #stored: Repositories;
  readonly #options: ManifestOptions;
  readonly #place: () => { readonly origin: string; readonly hasReferrers: boolean };
  readonly #removing: Partial<Record<Kind, (repo: string, object: string) => Answer>> = {
    'delete-manifest': (repo, digest) => this.#deleteManifest(repo, digest),
    'delete-tag': (repo, tag) => this.#deleteTag(repo, tag),
    'delete-blob': (repo, digest) => this.#deleteBlob(repo, digest),
  };

  constructor(
    stored: Repositories,
    options: ManifestOptions,
    place: () => { readonly origin: string; readonly hasReferrers: boolean },
  ) {
    this.#stored = stored;
    this.#options = options;
    this.#place = place;
  }

  /** Undefined: the request is about something else. */
  serve(asked: Asked): Promise<Answer> | Answer | undefined {
    const { kind, repo = '', object = '' } = asked.entry;
    if (kind === 'put-manifest' || kind === 'put-tag') return this.#put(asked);
    const remove = this.#removing[kind];
    if (remove === undefined || this.#options.deletes !== false) return remove?.(repo, object);
    return ociError(405, 'UNSUPPORTED', 'the operation is unsupported');
  }

  /** Looks whether everything is there that a manifest refers to, also when it will be refused. */
  async check(asked: Asked): Promise<Missing[]> {
    const { repo = '', object = '' } = asked.entry;
    const missing = this.#missing(repo, parse(await asked.body.all()) ?? {});
    for (const { kind, digest } of missing) this.violations.push(`PUT ${repo} ${object}: ${kind} ${digest} is missing`);
    return missing;
  }

  async #put(asked: Asked): Promise<Answer> {
    const { repo = '', object = '', kind, headers } = asked.entry;
    const missing = await this.check(asked);
    const bytes = await asked.body.all();
    if (bytes.length > (this.#options.maxManifest ?? 4 * 1024 * 1024)) {
      return ociError(413, 'MANIFEST_INVALID', 'manifest invalid', 'too large');
    }
    const mediaType = headers['content-type'] ?? '';
    const fields = parse(bytes);
    if (fields === undefined) return invalid('not JSON');
    if (!isOfType(mediaType, fields)) return invalid(`not ${mediaType}`);
    const digest =
      kind === 'put-manifest' && object.startsWith('sha512:') ? digestOf(bytes, 'sha512') : digestOf(bytes);
    if (kind === 'put-manifest' && digest !== object) {
      return ociError(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    }
    if (missing.length > 0) {
      const error = { code: 'MANIFEST_BLOB_UNKNOWN', message: 'blob unknown to registry' };
      return json(400, { errors: missing.map((child) => ({ ...error, detail: child.digest })) });
    }
    const isTag = kind === 'put-tag';
    if (isTag && this.#isFixed(repo, object, digest)) return this.#fixed(object);
    this.#stored.putManifest(repo, bytes, { mediaType, digest, ...(isTag ? { tag: object } : {}) });
    return this.#created(repo, digest, fields.subject?.digest);
  }

  #missing(repo: string, { config, layers = [], manifests = [], fsLayers = [] }: ManifestFields): Missing[] {
    const here = this.#stored.get(repo);
    const named: readonly (Child | undefined)[] = [
      config,
      ...layers,
      ...fsLayers.map((it) => ({ digest: it.blobSum })),
    ];
    const blobs = named
      .filter((child) => child !== undefined)
      .filter(({ mediaType = '', urls = [] }) => !(isNonDistributable(mediaType) && urls.length > 0))
      .map(({ digest = '' }) => digest)
      .filter((digest) => here?.blobs.has(digest) !== true);
    const entries = (this.#options.sparse === true ? [] : manifests)
      .map(({ digest = '' }) => digest)
      .filter((digest) => here?.manifests.has(digest) !== true);
    return [
      ...blobs.map((digest): Missing => ({ kind: 'blob', digest })),
      ...entries.map((digest): Missing => ({ kind: 'manifest', digest })),
    ];
  }

  #isFixed(repo: string, tag: string, digest: string): boolean {
    const { immutableTags, immutableSame } = this.#options;
    const has = this.#stored.get(repo)?.tags.get(tag);
    if (immutableTags === undefined || has === undefined) return false;
    if (has === digest && immutableSame === 'taken') return false;
    return immutableTags === true || immutableTags(tag);
  }

  #fixed(tag: string): Answer {
    const code = this.#options.immutableStatus === 409 ? 'TAG_ALREADY_EXISTS' : 'TAG_INVALID';
    return ociError(this.#options.immutableStatus ?? 400, code, `tag ${tag} exists and cannot be overwritten`);
  }

  #created(repo: string, digest: string, subject: string | undefined): Answer {
    const { origin, hasReferrers } = this.#place();
    return answer(201, {
      location: `${origin}/v2/${repo}/manifests/${digest}`,
      'docker-content-digest': digest,
      ...(subject !== undefined && hasReferrers ? { 'oci-subject': subject } : {}),
    });
  }

  #deleteManifest(repo: string, digest: string): Answer {
    const here = this.#stored.get(repo);
    if (here?.manifests.has(digest) !== true) return ociError(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    this.#stored.removeManifest(repo, digest);
    for (const [tag, named] of here.tags) if (named === digest) here.tags.delete(tag);
    return answer(202);
  }

  #deleteTag(repo: string, tag: string): Answer {
    if (this.#options.tagDeletes === false) {
      return ociError(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    }
    const found = this.#stored.get(repo)?.tags.delete(tag);
    return found === true ? answer(202) : ociError(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  }

  #deleteBlob(repo: string, digest: string): Answer {
    const found = this.#stored.get(repo)?.blobs.delete(digest);
    return found === true ? answer(202) : ociError(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
  }
}
