/** Keeps what a tag means so far under its other name, before it comes to mean something else. */
import type { CallOptions } from '../call.ts';
import type { Child, ImageNode } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseLocation } from '../oci/location.ts';
import type { Resolver } from '../remote/ports.ts';
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
  const desc = await describe(parts, node.target, there, opts);
  return [{ kind: 'manifest', desc, scope: { source: node.target, target: place.repository } }];
}

/** Writes the other name. */
export async function keepBackup(parts: BackupParts, node: ImageNode, next: Digest, opts: CallOptions): Promise<void> {
  const { target, tag } = node;
  const place = placeOfBackup(node);
  if (place === undefined || tag === undefined) return;
  const { resolver, manifests } = parts;
  const digest = await resolver.pusher(target).lookup(tag, opts);
  if (digest === undefined || digest === next) return;
  const desc = await describe(parts, target, digest, opts);
  const bytes = await manifests.read(resolver.fetcher(target), desc, opts);
  await resolver.pusher(place.repository).putManifest(desc, bytes, { signal: opts.signal, tag: place.tag });
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
  repository: string,
  digest: Digest,
  { signal }: CallOptions,
): Promise<Descriptor> {
  return (await resolver.resolve(parseLocation(`${repository}@${digest}`), { signal })).desc;
}
