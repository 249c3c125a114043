/** Takes tags out of repositories, also at registries that only delete manifests (distribution-spec, "Deleting tags"). */
import { randomUUID } from 'node:crypto';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { OCI_EMPTY, OCI_MANIFEST } from '../oci/media-types.ts';
import { parseRepository } from '../oci/reference.ts';
import type { Pusher } from '../remote/ports.ts';
import { targetError } from '../remote/registry-errors.ts';
import { streamOf } from './kept-manifests.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';

/** What became of a tag. */
export type Removal =
  | { readonly state: 'deleted' }
  /** It was not there. */
  | { readonly state: 'absent' }
  /** The registry deletes nothing, or not this; nothing has changed. */
  | { readonly state: 'unsupported'; readonly why: string };

/** What a client has to offer for it. */
export interface RemoverClient extends RegistryRequests {
  pusher(repository: string): Pusher;
}

/** By tag; a placeholder takes the tag and is deleted by its digest; not at all. */
type Way = 'tag' | 'placeholder' | { readonly why: string };

const DONE: ReadonlySet<number> = new Set([200, 202, 204]);
const ANSWERS = [...DONE, 400, 404, 405, 501];

const EMPTY = Buffer.from('{}');
const EMPTY_BLOB: Descriptor = { mediaType: OCI_EMPTY, digest: digestOf(EMPTY), size: EMPTY.length };

/**
 * Deletes tags and leaves the manifests below them alone: another tag may have the same one. Where a tag cannot be deleted (docker-registry
 * answers 400, and a manifest that is deleted by its digest takes all its tags along) the tag is given to a placeholder first: a manifest
 * that is like no other, so that nothing else goes with it.
 */
export class TagRemover {
  readonly #client: RemoverClient;
  /** By registry. */
  readonly #ways = new Map<string, Way>();

  constructor(client: RemoverClient) {
    this.#client = client;
  }

  /** @throws GantryError DENIED, UNAUTHORIZED, ...; when a placeholder has the tag already, the hint says so */
  async remove(repository: string, tag: string, opts: CallOptions): Promise<Removal> {
    try {
      return await this.#remove(repository, tag, opts);
    } catch (err) {
      throw targetError(err, undefined);
    }
  }

  async #remove(repository: string, tag: string, opts: CallOptions): Promise<Removal> {
    const { registry } = parseRepository(repository);
    const known = this.#ways.get(registry);
    if (known === undefined || known === 'tag') {
      const { status } = await this.#delete(repository, tag, opts);
      if (DONE.has(status)) {
        this.#ways.set(registry, 'tag');
        return { state: 'deleted' };
      }
    }
    // 404 is also what some registries say who look for a manifest of this name.
    if ((await this.#client.pusher(repository).lookup(tag, opts)) === undefined) return { state: 'absent' };
    const way = typeof known === 'object' ? known : await this.#byDigest(repository, known, opts);
    this.#ways.set(registry, way);
    if (typeof way === 'object') return { state: 'unsupported', why: way.why };
    return this.#replace(repository, tag, opts);
  }

  /** Whether the registry deletes manifests: tried with one that no tag has, before any tag is touched. */
  async #byDigest(repository: string, known: Way | undefined, opts: CallOptions): Promise<Way> {
    if (known === 'placeholder') return known;
    const { status, detail } = await this.#delete(
      repository,
      (await this.#put(repository, undefined, opts)).digest,
      opts,
    );
    if (DONE.has(status)) return 'placeholder';
    return {
      why: `the registry deletes neither tags nor manifests: it answered ${status}${detail === '' ? '' : `, ${detail}`}`,
    };
  }

  async #replace(repository: string, tag: string, opts: CallOptions): Promise<Removal> {
    const { digest } = await this.#put(repository, tag, opts);
    const { status } = await this.#delete(repository, digest, opts);
    if (DONE.has(status) || status === 404) return { state: 'deleted' };
    throw new GantryError('UPSTREAM', `${repository}:${tag} could not be deleted: the registry answered ${status}`, {
      origin: 'target',
      status,
      hint: `the tag holds the placeholder ${digest} now`,
    });
  }

  /** An artifact without content (image-spec, manifest.md, "Guidelines for Artifact Usage"). */
  async #put(repository: string, tag: string | undefined, opts: CallOptions): Promise<Descriptor> {
    const pusher = this.#client.pusher(repository);
    if (!(await pusher.has('blob', EMPTY_BLOB, opts))) {
      await pusher.push(
        EMPTY_BLOB,
        { open: ({ offset = 0 }) => Promise.resolve(streamOf(EMPTY.subarray(offset))) },
        opts,
      );
    }
    const manifest = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: 'application/vnd.dev.gantry.placeholder',
      config: EMPTY_BLOB,
      layers: [EMPTY_BLOB],
      annotations: { 'dev.gantry.placeholder': randomUUID() },
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const desc: Descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length };
    await pusher.putManifest(desc, bytes, tag === undefined ? opts : { ...opts, tag });
    return desc;
  }

  async #delete(repository: string, object: string, opts: CallOptions): Promise<{ status: number; detail: string }> {
    const { registry, path } = parseRepository(repository);
    const request: RegistryRequest = {
      method: 'DELETE',
      registry,
      path,
      object: `manifests/${object}`,
      capability: 'push',
      headers: {},
      expect: ANSWERS,
      what: `the deletion of ${object} in ${repository}`,
    };
    const response = await this.#client.request(request, opts);
    const { detail } = await response.refusal();
    return { status: response.status, detail };
  }
}
