import type { Digest } from '../../oci/digest.ts';

/** `sha256-<hex>`, alone or with `.sig`, `.att`, `.sbom` and the like behind it: tags that belong to the manifest they name. */
const PARTS = /^(?<algorithm>sha256|sha512)-(?<hex>[0-9a-f]+)(?:\.|$)/;

export interface DigestTag {
  readonly tag: string;
  /** What it belongs to. */
  readonly of: Digest;
}

/** Those of `tags` that belong to one of the manifests. */
export function digestTagsOf(manifests: ReadonlySet<Digest>, tags: readonly string[]): DigestTag[] {
  const byText = new Map<string, Digest>([...manifests].map((digest) => [digest, digest]));
  return tags.flatMap((tag) => {
    const { algorithm = '', hex = '' } = PARTS.exec(tag)?.groups ?? {};
    const of = byText.get(`${algorithm}:${hex}`);
    return of === undefined ? [] : [{ tag, of }];
  });
}
