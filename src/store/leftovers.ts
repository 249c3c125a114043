/** What writers have left behind and nobody holds: unfinished ingests, and the files of processes that were killed. */
import { join } from 'node:path';
import type { CollectOptions, IngestStatus } from '../content/ports.ts';
import { sameNote } from './attempts.ts';
import type { FileLocks } from './file-lock.ts';
import { ifExists, namesIn, type StoreFs, unlinkIfExists } from './fs.ts';
import type { Ingests } from './ingests.ts';
import type { Layout } from './layout.ts';

export interface LeftoverParts {
  readonly fs: StoreFs;
  readonly layout: Layout;
  readonly locks: FileLocks;
  readonly ingests: Ingests;
}

/** All files of one ref in ingest/. */
export interface OldIngest {
  readonly key: string;
  readonly files: readonly string[];
  /** Absent when its lock file is, or does not tell. */
  readonly status: IngestStatus | undefined;
}

/** `KEY.lock`, `KEY.OWNER.part`, `KEY.lock.UUID.old` */
const INGEST_FILE = /^([0-9a-f]{64})\.(?:lock|[0-9a-f-]{36}\.part|lock\.[0-9a-f-]{36}\.old)$/;

/** A write that is under way makes such a file and renames it at once. */
const TEMPORARY = /\.(?:tmp|new|old)$/;
const TEMPORARY_AGE_MS = 3_600_000;

/** The ingests that nobody holds and that have not moved for as long as the options say. */
export async function oldIngests(parts: LeftoverParts, opts: CollectOptions): Promise<OldIngest[]> {
  const entries = await namesIn(parts.fs, parts.layout.ingests);
  const groups = Map.groupBy(entries, (entry) => INGEST_FILE.exec(entry)?.[1]);
  const limit = Date.now() - opts.ingestsOlderThanMs;
  const checks = [...groups].map(async ([key, files]): Promise<OldIngest[]> => {
    if (key === undefined || (await newest(parts, files)) > limit) return [];
    const lock = join(parts.layout.ingests, `${key}.lock`);
    if (await parts.locks.isHeld(lock, opts)) return [];
    return [{ key, files, status: await parts.ingests.status(lock) }];
  });
  return (await Promise.all(checks)).flat();
}

/** When any of them last changed, in Unix milliseconds: a lock of this minute may go on with a file of yesterday. */
async function newest({ fs, layout }: LeftoverParts, files: readonly string[]): Promise<number> {
  const times = files.map(async (file) => (await ifExists(fs.lstat(join(layout.ingests, file))))?.mtime.getTime() ?? 0);
  return Math.max(...(await Promise.all(times)));
}

/** Removes an ingest under its lock: nobody else begins to write it meanwhile. Whether it did. */
export async function removeIngest(parts: LeftoverParts, { key, files }: OldIngest): Promise<boolean> {
  const lockName = `${key}.lock`;
  const attempt = await parts.locks.tryAcquire(join(parts.layout.ingests, lockName), sameNote);
  if (attempt.state === 'busy') return false;
  await using _lock = attempt.lock;
  for (const file of files) {
    if (file !== lockName) await unlinkIfExists(parts.fs, join(parts.layout.ingests, file));
  }
  return true;
}

/** Damaged content that nobody has come to look at, and temporary files of killed processes. */
export async function removeOldFiles(parts: LeftoverParts, opts: CollectOptions): Promise<void> {
  const { layout, locks } = parts;
  if ((await locks.look(layout.indexLock))?.holder === 'left') {
    const attempt = await locks.tryAcquire(layout.indexLock);
    if (attempt.state === 'held') await attempt.lock.release();
  }
  await removeOlder(parts, layout.damaged, /./, opts.ingestsOlderThanMs);
  for (const directory of [layout.root, layout.own, layout.names, layout.pendingNames, layout.sessions]) {
    await removeOlder(parts, directory, TEMPORARY, Math.max(TEMPORARY_AGE_MS, opts.ingestsOlderThanMs));
  }
}

async function removeOlder({ fs }: LeftoverParts, directory: string, which: RegExp, ageMs: number): Promise<void> {
  const limit = Date.now() - ageMs;
  for (const entry of await namesIn(fs, directory)) {
    if (!which.test(entry)) continue;
    const path = join(directory, entry);
    const info = await ifExists(fs.lstat(path));
    if (info !== undefined && info.mtime.getTime() <= limit) await fs.rm(path, { recursive: true, force: true });
  }
}
