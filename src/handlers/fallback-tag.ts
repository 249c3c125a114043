/** Lists of referrers in registries that keep none: an index under a tag (distribution-spec, "Referrers Tag Schema"). */
import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import { fallbackTag } from '../oci/attached.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { extendIndex } from '../oci/edit-index.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { Resolver } from '../remote/ports.ts';
import type { ManifestCache } from './manifest-cache.ts';

export interface FallbackParts {
  readonly resolver: Resolver;
  readonly manifests: ManifestCache;
}

/** Registries cannot compare and swap. After so many writes that others have undone, they are not coming to an end. */
const MAX_WRITES = 5;

export class FallbackTags {
  readonly #parts: FallbackParts;
  /** The last write of each index. */
  readonly #writing = new Map<string, Promise<void>>();

  constructor(parts: FallbackParts) {
    this.#parts = parts;
  }

  /** What the index of a subject lists. */
  async list(repository: string, subject: Digest, opts: CallOptions): Promise<readonly Descriptor[]> {
    const there = await this.#read(repository, fallbackTag(subject), opts);
    return there?.listed ?? [];
  }

  /**
   * Adds to the index of a subject, and keeps what others have put there: in this process one write at a time, and after each of them a
   * look whether another process has overwritten it.
   * @throws GantryError BUSY, MALFORMED when the tag is taken by something else
   */
  async add(repository: string, subject: Digest, added: readonly Descriptor[], opts: CallOptions): Promise<void> {
    const tag = fallbackTag(subject);
    const key = `${repository}:${tag}`;
    const before = this.#writing.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => this.#add(repository, tag, added, opts));
    this.#writing.set(key, mine);
    try {
      await mine;
    } finally {
      if (this.#writing.get(key) === mine) this.#writing.delete(key);
    }
  }

  async #add(repository: string, tag: string, added: readonly Descriptor[], opts: CallOptions): Promise<void> {
    const pusher = this.#parts.resolver.pusher(repository);
    let gone: ReadonlySet<Digest> = new Set();
    for (let writes = 0; writes <= MAX_WRITES; writes += 1) {
      const there = await this.#read(repository, tag, opts);
      const made = extendIndex(there?.bytes, added, gone, `${repository}:${tag}`);
      if (made === undefined) return;
      if (writes === MAX_WRITES) break;
      try {
        await pusher.putManifest(made.desc, made.bytes, { signal: opts.signal, tag });
      } catch (err) {
        if (!isCode(err, 'NOT_FOUND') || gone.size > 0) throw err;
        gone = await this.#gone(repository, there?.listed ?? [], opts);
        if (gone.size === 0) throw err;
      }
    }
    throw new GantryError('BUSY', `${repository}:${tag} is overwritten by others again and again`, {
      origin: 'target',
      hint: 'it lists referrers; copy again when nobody else writes there',
    });
  }

  /** What has been deleted without being taken out of the index, which is then refused as a whole. */
  async #gone(repository: string, listed: readonly Descriptor[], opts: CallOptions): Promise<Set<Digest>> {
    const gone = new Set<Digest>();
    for (const desc of listed) {
      if (!(await this.#parts.resolver.pusher(repository).has('manifest', desc, opts))) gone.add(desc.digest);
    }
    return gone;
  }

  async #read(
    repository: string,
    tag: string,
    opts: CallOptions,
  ): Promise<{ readonly bytes: Buffer; readonly listed: readonly Descriptor[] } | undefined> {
    const { resolver, manifests } = this.#parts;
    const desc = await resolver.lists?.(repository)?.find(tag, opts);
    if (desc === undefined) return undefined;
    const bytes = await manifests.read(resolver.fetcher(repository), desc, opts);
    const manifest = parseManifest(bytes, desc, `${repository}:${tag}`);
    if (manifest.kind === 'index') return { bytes, listed: manifest.manifests };
    throw new GantryError('MALFORMED', `${repository}:${tag} should be an index of referrers, and is none`, {
      origin: 'source',
      digest: desc.digest,
    });
  }
}
