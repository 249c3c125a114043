/** Looks for what is attached to manifests, at the lowest price that its registry allows. */
import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import type { NodeScope } from '../flow/handler.ts';
import { COSIGN_TAGS, fallbackTag, typeOfDigestTag } from '../oci/attached.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isRootType } from '../oci/manifest.ts';
import type { RepositoryLists, Resolver } from '../remote/ports.ts';
import { wantsReferrer, wantsType } from './artifact-filter.ts';
import type { AttachedSelection } from './copy-selection.ts';
import type { FallbackTags } from './fallback-tag.ts';

/** A tag that is made of a digest, and what it means. */
interface DigestTag {
  readonly tag: string;
  readonly desc: Descriptor;
}

export interface Found {
  readonly referrers: readonly Descriptor[];
  readonly tags: readonly DigestTag[];
}

export const NOTHING: Found = { referrers: [], tags: [] };

export interface FoundParts {
  readonly resolver: Resolver;
  readonly fallback: FallbackTags;
  readonly listsTags: boolean;
}

/** Of one manifest. */
const MAX_TAGS = 1000;
/** What a policy wants to know of an image, its manifest needs a moment later; what falls out is asked for again. */
const MAX_KEPT = 1000;

export class FoundAttached {
  readonly #parts: FoundParts;
  /** See keyOf. */
  readonly #kept = new Map<string, Found>();

  constructor(parts: FoundParts) {
    this.#parts = parts;
  }

  /** What is to come along with a manifest. Archives have nothing of the kind, and take nothing of the kind. */
  async wanted(
    { source, target }: NodeScope,
    digest: Digest,
    by: AttachedSelection,
    opts: CallOptions,
  ): Promise<Found> {
    if (!by.referrers && !by.digestTags) return NOTHING;
    if (this.#listsOf(source) === undefined || this.#listsOf(target) === undefined) return NOTHING;
    const { referrerSource = source } = by;
    const key = keyOf(source, digest, by);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    const referrers = by.referrers ? (kept?.referrers ?? (await this.referrers(referrerSource, digest, opts))) : [];
    const isTagWanted = (tag: string): boolean => wantsType(by, typeOfDigestTag(tag));
    const tags = kept?.tags.filter(({ tag }) => isTagWanted(tag));
    return {
      referrers: referrers.filter((desc) => wantsReferrer(by, desc)),
      tags: by.digestTags ? (tags ?? (await this.#tags(source, digest, isTagWanted, opts))) : [],
    };
  }

  /** The types of all that is attached to a manifest, wanted or not. */
  async types(source: string, digest: Digest, by: AttachedSelection, opts: CallOptions): Promise<string[]> {
    if (this.#listsOf(source) === undefined) return [];
    const found: Found = {
      referrers: await this.referrers(by.referrerSource ?? source, digest, opts),
      tags: await this.#tags(source, digest, () => true, opts),
    };
    this.#keep(keyOf(source, digest, by), found);
    return [
      ...found.referrers.map(({ artifactType = '' }) => artifactType),
      ...found.tags.map(({ tag }) => typeOfDigestTag(tag)),
    ];
  }

  /** What has a manifest as its subject. Old kinds of artifacts, which are no manifests of today, are left out. */
  async referrers(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]> {
    const lists = this.#listsOf(repository);
    const listed = (await lists?.referrers(subject, opts)) ?? (await this.#fallback(repository, subject, opts));
    return listed.filter(({ digest, mediaType }) => digest !== subject && isRootType(mediaType));
  }

  async #fallback(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]> {
    const tags = await this.#listed(repository, subject, opts);
    if (tags !== undefined && !tags.includes(fallbackTag(subject))) return [];
    return this.#parts.fallback.list(repository, subject, opts);
  }

  async #tags(
    repository: string,
    digest: Digest,
    isWanted: (tag: string) => boolean,
    opts: CallOptions,
  ): Promise<DigestTag[]> {
    const stem = fallbackTag(digest);
    const named = (await this.#listed(repository, digest, opts)) ?? COSIGN_TAGS.map((end) => `${stem}.${end}`);
    const asked = named.filter((tag) => tag !== stem && isWanted(tag));
    if (asked.length > MAX_TAGS) throw tooMany(repository, digest, asked.length);
    const descs = await Promise.all(asked.map(async (tag) => this.#listsOf(repository)?.find(tag, opts)));
    return asked.flatMap((tag, i) => {
      const desc = descs[i];
      return desc === undefined || !isRootType(desc.mediaType) ? [] : { tag, desc };
    });
  }

  /** The tags that are made of a digest, as the list of the repository has them; undefined where each of them has to be asked for. */
  async #listed(repository: string, digest: Digest, opts: CallOptions): Promise<readonly string[] | undefined> {
    const lists = this.#parts.listsTags ? this.#listsOf(repository) : undefined;
    try {
      return lists === undefined ? undefined : ((await lists.digestTags(opts)).get(fallbackTag(digest)) ?? []);
    } catch (err) {
      // Some registries do not list tags, or not to everybody.
      if (isCode(err, 'NOT_FOUND', 'DENIED', 'UNAUTHORIZED', 'UNSUPPORTED')) return undefined;
      throw err;
    }
  }

  #listsOf(repository: string): RepositoryLists | undefined {
    return this.#parts.resolver.lists?.(repository);
  }

  #keep(key: string, found: Found): void {
    this.#kept.set(key, found);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }
}

/** By repository and digest, and the repository that its referrers are read from. */
const keyOf = (source: string, digest: Digest, { referrerSource = '' }: AttachedSelection): string =>
  `${source}@${digest} ${referrerSource}`;

const tooMany = (repository: string, digest: Digest, count: number): GantryError =>
  new GantryError('TOO_LARGE', `${repository} has ${count} tags that are made of ${digest}, more than ${MAX_TAGS}`, {
    origin: 'source',
    digest,
    hint: 'copy the image without its digest tags',
  });
