/** Garbage collection: what nothing needs goes, also while other processes pull into the same store. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type CallOptions, lockBackoffMs, sleep } from '../call.ts';
import type { Collected, CollectOptions, ContentInfo, Mark, Provider } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import type { FileLock } from './file-lock.ts';
import { linkOnce, moved, namesIn, quietly, unlinkIfExists } from './fs.ts';
import { type LeftoverParts, oldIngests, removeIngest, removeOldFiles } from './leftovers.ts';
import { readClaims, type SessionParts } from './session.ts';

export interface CollectParts extends LeftoverParts {
  readonly provider: Provider;
  walk(opts: CallOptions): AsyncIterable<ContentInfo>;
}

export async function collect(parts: CollectParts, mark: Mark, opts: CollectOptions): Promise<Collected> {
  await using _lock = await lockCollection(parts, opts);
  await restoreAll(parts);
  const isWanted = await wantedNow(parts, mark, opts);
  const garbage: ContentInfo[] = [];
  for await (const info of parts.walk(opts)) if (!isWanted(info.digest)) garbage.push(info);
  const ingests = await oldIngests(parts, opts);
  const statuses = ingests.flatMap(({ status }) => status ?? []);
  if (opts.dryRun) return { blobs: garbage, ingests: statuses };
  const blobs = garbage.length === 0 ? [] : await sweep(parts, mark, garbage, opts);
  for (const ingest of ingests) await removeIngest(parts, ingest);
  await removeOldFiles(parts, opts);
  return { blobs, ingests: statuses };
}

/** Others hold the lock for a moment, to delete one blob or to heal; only another collection is worth giving up for. */
async function lockCollection({ locks, layout }: CollectParts, opts: CallOptions): Promise<FileLock> {
  const path = layout.collectLock;
  for (let round = 0; ; round += 1) {
    if (!(await locks.isHeld(path, opts))) {
      const attempt = await locks.tryAcquire(path, () => ({ task: 'collect' }));
      if (attempt.state === 'held') return attempt.lock;
    }
    if ((await locks.look(path))?.note['task'] === 'collect') {
      throw new GantryError('BUSY', `another garbage collection runs in ${layout.root}`, { origin: 'store' });
    }
    await sleep(lockBackoffMs(round), opts.signal);
  }
}

/** What somebody needs. Claims are read first: whoever gives one up has recorded a name by then, and that is read after. */
async function wantedNow(parts: CollectParts, mark: Mark, opts: CallOptions): Promise<(digest: Digest) => boolean> {
  const claimed = await readClaims(parts);
  const needed = await mark(parts.provider, opts);
  return (digest) => needed.has(digest) || claimed.has(digest);
}

/**
 * Moves garbage aside, looks once more who came to need some of it meanwhile, gives that back, and deletes the rest. Each
 * sweep deletes only from a directory of its own: one that slept, and was taken for dead, cannot delete what its successor
 * has moved aside.
 */
async function sweep(
  parts: CollectParts,
  mark: Mark,
  garbage: readonly ContentInfo[],
  opts: CallOptions,
): Promise<ContentInfo[]> {
  const { fs, layout } = parts;
  const trash = join(layout.trash, randomUUID());
  await fs.mkdir(trash, { recursive: true });
  try {
    const aside: ContentInfo[] = [];
    for (const info of garbage) {
      opts.signal.throwIfAborted();
      if (await moved(fs, layout.blob(info.digest), layout.trashed(trash, info.digest))) aside.push(info);
    }
    const isWanted = await wantedNow(parts, mark, opts);
    const unwanted = aside.filter((info) => !isWanted(info.digest));
    for (const info of aside) if (isWanted(info.digest)) await restore(parts, trash, info.digest);
    for (const { digest } of unwanted) await unlinkIfExists(fs, layout.trashed(trash, digest));
    return unwanted;
  } catch (err) {
    await quietly(restoreAll(parts));
    throw err;
  } finally {
    await quietly(fs.rmdir(trash));
  }
}

type RestoreParts = Pick<SessionParts, 'fs' | 'layout'>;

async function restore({ fs, layout }: RestoreParts, trash: string, digest: Digest): Promise<void> {
  const path = layout.trashed(trash, digest);
  await linkOnce(fs, path, layout.blob(digest)); // or it was fetched again meanwhile, just as good
  await unlinkIfExists(fs, path);
}

/** Puts back whatever is in the trash. Only under the lock of the collection. */
async function restoreAll(parts: RestoreParts): Promise<void> {
  const { fs, layout } = parts;
  for (const each of await namesIn(fs, layout.trash)) {
    const trash = join(layout.trash, each);
    for (const entry of await namesIn(fs, trash)) {
      const digest = entry.replace('-', ':');
      if (isDigest(digest)) await restore(parts, trash, digest);
    }
    await quietly(fs.rmdir(trash));
  }
}

/** Puts back what a collection that was killed had moved aside. One that runs does so by itself. */
export async function healTrash({ fs, layout, locks }: SessionParts): Promise<void> {
  if ((await namesIn(fs, layout.trash)).length === 0) return;
  const attempt = await locks.tryAcquire(layout.collectLock);
  if (attempt.state === 'busy') return;
  await using _lock = attempt.lock;
  await restoreAll({ fs, layout });
}

/** Deletes one blob, unless a running pull relies on it. Whether it was there. @throws GantryError IN_USE */
export async function deleteBlob(parts: SessionParts, digest: Digest, opts: CallOptions): Promise<boolean> {
  const { fs, layout, locks } = parts;
  await using _lock = await locks.acquire(layout.collectLock, opts);
  await restoreAll(parts);
  const trash = join(layout.trash, randomUUID());
  await fs.mkdir(trash, { recursive: true });
  try {
    if (!(await moved(fs, layout.blob(digest), layout.trashed(trash, digest)))) return false;
    if (!(await readClaims(parts)).has(digest)) {
      await unlinkIfExists(fs, layout.trashed(trash, digest));
      return true;
    }
    throw new GantryError('IN_USE', `a running pull needs ${digest}`, { origin: 'store', digest });
  } finally {
    await quietly(restoreAll(parts));
    await quietly(fs.rmdir(trash));
  }
}
