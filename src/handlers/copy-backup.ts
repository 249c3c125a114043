/** Keeps what a tag means so far under its other name, before it comes to mean something else. */
import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import type { Child, ImageNode } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseLocation } from '../oci/location.ts';
import type { Resolver } from '../remote/ports.ts';
import { atTarget } from '../remote/registry-errors.ts';
import type { ManifestCache } from './manifest-cache.ts';

export interface BackupParts {
  readonly resolver: Resolver;
  readonly manifests: ManifestCache;
}

/**
 * What has to come to another repository for that, with all that is below it: a registry takes no manifest whose content it has
 * elsewhere only.
 * @param there what the tag means so far
 * @param next what it will mean
 */
export async function backupChildren(
  parts: BackupParts,
  node: ImageNode,
  { there, next }: { readonly there: Digest | undefined; readonly next: Digest },
  opts: CallOptions,
): Promise<Child[]> {
  const place = placeOfBackup(node);
  if (place === undefined || there === undefined || there === next || place.repository === node.target) return [];
  const desc = await describe(parts, node, there, opts);
  return [{ kind: 'manifest', desc, scope: { source: node.target, target: place.repository } }];
}

/**
 * Writes the other name, or answers what has to come to the other repository before: the tag may mean something else by now than what was
 * brought there.
 * @param brought the children of the image so far
 */
export async function keepBackup(
  parts: BackupParts,
  node: ImageNode,
  { brought, next }: { readonly brought: readonly Child[]; readonly next: Digest },
  opts: CallOptions,
): Promise<Child[]> {
  const { target, tag } = node;
  const place = placeOfBackup(node);
  if (place === undefined || tag === undefined) return [];
  const { resolver, manifests } = parts;
  const there = await resolver.pusher(target).lookup(tag, opts);
  if (there === undefined || there === next) return [];
  const missing = await backupChildren(parts, node, { there, next }, opts);
  const isBrought = ({ desc, scope }: Child): boolean => desc.digest === there && scope?.target === place.repository;
  if (missing.length > 0 && !brought.some(isBrought)) return missing;
  const desc = await describe(parts, node, there, opts);
  const bytes = await manifests.readAtTarget(resolver.fetcher(target), desc, opts);
  await resolver.pusher(place.repository).putManifest(desc, bytes, { signal: opts.signal, tag: place.tag });
  return [];
}

/** A tag alone is one of the same repository. */
function placeOfBackup({ backup, target }: ImageNode): { repository: string; tag: string } | undefined {
  if (backup === undefined) return undefined;
  if (!backup.includes('/')) return { repository: target, tag: backup };
  const { repository, tag = 'latest' } = parseLocation(backup);
  return { repository, tag };
}

async function describe(
  { resolver }: BackupParts,
  { target, tag = '', backup = '' }: ImageNode,
  digest: Digest,
  { signal }: CallOptions,
): Promise<Descriptor> {
  try {
    const ref = parseLocation(`${target}@${digest}`);
    return (await atTarget(digest, () => resolver.resolve(ref, { signal }))).desc;
  } catch (err) {
    if (!isCode(err, 'UNSUPPORTED', 'MALFORMED')) throw err;
    throw new GantryError(err.code, `${target}:${tag} cannot be kept as ${backup}: ${err.message}`, {
      origin: 'target',
      cause: err,
      digest,
      hint: 'delete the tag at the target, or copy without a backup',
    });
  }
}
