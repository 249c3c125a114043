import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { type Digest, Digester } from '../../../src/oci/digest.ts';
import { asContent, type Content, readAll } from './content.ts';

export interface StoredManifest {
  readonly content: Content;
  readonly mediaType: string;
}

/** What belongs to one image: everything that its root leads to. The root is the first of `manifests`, parents come before children. */
export interface Bundle {
  readonly desc: Descriptor;
  readonly manifests: ReadonlyMap<Digest, StoredManifest>;
  readonly blobs: ReadonlyMap<Digest, Content>;
}

export interface Repository {
  readonly manifests: Map<string, StoredManifest>;
  readonly blobs: Map<string, Content>;
  readonly tags: Map<string, string>;
}

const digestOfAny = (content: Content): Digest => {
  const digester = new Digester();
  for (const chunk of content.bytes(0, content.size)) digester.update(chunk);
  return digester.digest();
};

/** What a registry holds. Nothing is checked: a digest may be given bytes that are not its own. */
export class Repositories {
  readonly #all = new Map<string, Repository>();

  get(name: string): Repository | undefined {
    return this.#all.get(name);
  }

  names(): string[] {
    return [...this.#all.keys()].toSorted();
  }

  #of(name: string): Repository {
    const found = this.#all.get(name);
    if (found) return found;
    const made: Repository = { manifests: new Map(), blobs: new Map(), tags: new Map() };
    this.#all.set(name, made);
    return made;
  }

  add(repo: string, tag: string | undefined, bundle: Bundle): void {
    const target = this.#of(repo);
    for (const [digest, manifest] of bundle.manifests) target.manifests.set(digest, manifest);
    for (const [digest, blob] of bundle.blobs) target.blobs.set(digest, blob);
    if (tag !== undefined) target.tags.set(tag, bundle.desc.digest);
  }

  tag(repo: string, tag: string, digest: string): void {
    this.#of(repo).tags.set(tag, digest);
  }

  putBlob(repo: string, data: Content | Uint8Array | string, digest?: string): string {
    const content = asContent(data);
    const name = digest ?? digestOfAny(content);
    this.#of(repo).blobs.set(name, content);
    return name;
  }

  putManifest(
    repo: string,
    data: Content | Uint8Array | string,
    options: { mediaType: string; tag?: string; digest?: string },
  ): string {
    const content = asContent(data);
    const name = options.digest ?? digestOfAny(content);
    this.#of(repo).manifests.set(name, { content, mediaType: options.mediaType });
    if (options.tag !== undefined) this.tag(repo, options.tag, name);
    return name;
  }

  removeBlob(repo: string, digest: string): void {
    this.#all.get(repo)?.blobs.delete(digest);
  }

  removeManifest(repo: string, digest: string): void {
    this.#all.get(repo)?.manifests.delete(digest);
  }

  /** A blob by its digest alone, as a CDN finds it. */
  findBlob(digest: string): Content | undefined {
    for (const repo of this.#all.values()) {
      const found = repo.blobs.get(digest);
      if (found) return found;
    }
    return undefined;
  }

  /** The descriptors of the manifests whose subject is `digest`. */
  referrers(repo: string, digest: string): Referrer[] {
    const found: Referrer[] = [];
    for (const [name, { content, mediaType }] of this.#all.get(repo)?.manifests ?? []) {
      if (content.size > 4 * 1024 * 1024) continue;
      const parsed = parseManifest(readAll(content));
      if (parsed?.subject?.digest !== digest) continue;
      const artifactType = parsed.artifactType ?? parsed.config?.mediaType;
      found.push({
        mediaType,
        digest: name,
        size: content.size,
        ...(artifactType === undefined ? {} : { artifactType }),
        ...(parsed.annotations === undefined ? {} : { annotations: parsed.annotations }),
      });
    }
    return found;
  }
}

/** A descriptor whose digest is whatever the test chose. */
export interface Referrer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
}

interface ReferrerFields {
  subject?: { digest?: string };
  artifactType?: string;
  config?: { mediaType?: string };
  annotations?: Record<string, string>;
}

function parseManifest(bytes: Buffer): ReferrerFields | undefined {
  try {
    const parsed: ReferrerFields = JSON.parse(bytes.toString());
    return parsed;
  } catch {
    return undefined; // tests store what is not JSON, too
  }
}
