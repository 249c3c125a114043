/** Names of what hangs on a manifest beside what it lists: tags that are made of its digest. */
import { algorithmOf, type Digest, hexOf } from './digest.ts';

/** distribution-spec, "Referrers Tag Schema": the digest is cut to 64 characters. */
const MAX_REFERENCE = 64;

/**
 * The tag under which a registry without a list of referrers has an index of them (distribution-spec, "Referrers Tag Schema"), and
 * with which the names of digest tags begin.
 */
export const fallbackTag = (subject: Digest): string =>
  `${algorithmOf(subject)}-${hexOf(subject).slice(0, MAX_REFERENCE)}`;

const DIGEST_TAG = /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64})(?:\.[\w.-]+)?$/;

/** The part of a tag that is made of a digest, where it has one: `sha256-<hex>` of `sha256-<hex>.sig`. */
export const digestTagStem = (tag: string): string | undefined => DIGEST_TAG.exec(tag)?.[1];

/** What cosign writes. Asked for where nothing tells which tags there are. */
export const COSIGN_TAGS: readonly string[] = ['sig', 'att', 'sbom'];

/**
 * The artifact type of what has a digest tag, from the end of the tag: its manifest tells none, and cosign gives these types to the same
 * things where it stores them as referrers.
 */
export const typeOfDigestTag = (tag: string): string =>
  `application/vnd.dev.cosign.artifact.${tag.slice(tag.indexOf('.') + 1)}.v1+json`;
