import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { PullTask } from './contenders.ts';
import { inParallel } from './corpus.ts';

export interface Verdict {
  readonly complete: boolean;
  /** What is missing or wrong, or worth knowing; empty if all is as it should be. */
  readonly note: string;
}

async function indexDigests(layout: string): Promise<string[]> {
  const index: unknown = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
  if (typeof index !== 'object' || index === null || !('manifests' in index) || !Array.isArray(index.manifests))
    return [];
  return index.manifests.map((entry: unknown) =>
    typeof entry === 'object' && entry !== null && 'digest' in entry ? String(entry.digest) : '',
  );
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return hash.digest('hex');
}

/** How many of the wanted contents are absent from `blobs/`, have another size or, with `deep`, other bytes. */
async function badBlobs({ images, blobs, target }: PullTask, deep: boolean): Promise<number> {
  let bad = 0;
  await inParallel([...images, ...blobs], 8, async ({ digest, size }) => {
    const hex = digest.slice('sha256:'.length);
    const path = join(target, 'blobs', 'sha256', hex);
    const found = await stat(path).catch(() => undefined);
    if (found?.size !== size || (deep && (await sha256Of(path)) !== hex)) bad++;
  });
  return bad;
}

/** Whether a layout holds every image: named in index.json, and every blob of it there. */
export async function verifyLayout(task: PullTask, deep: boolean): Promise<Verdict> {
  const entries = await indexDigests(task.target).catch(() => undefined);
  if (!entries) return { complete: false, note: 'no readable index.json' };
  const named = new Set(entries);
  const lost = task.images.filter((i) => !named.has(i.digest)).length;
  const bad = await badBlobs(task, deep);
  const notes = [
    ...(lost > 0 ? [`${lost} of ${task.images.length} images missing from index.json`] : []),
    ...(bad > 0 ? [`${bad} blobs missing or wrong`] : []),
    ...(entries.length > task.images.length
      ? [`index.json has ${entries.length} entries for ${task.images.length} images`]
      : []),
  ];
  return { complete: lost === 0 && bad === 0, note: notes.join('; ') };
}

/** The floor has files named by digest and no index. */
export async function verifyFiles({ blobs, target }: PullTask): Promise<Verdict> {
  let bad = 0;
  for (const { digest, size } of blobs) {
    const found = await stat(join(target, digest.slice('sha256:'.length))).catch(() => undefined);
    if (found?.size !== size) bad++;
  }
  return { complete: bad === 0, note: bad > 0 ? `${bad} blobs missing` : '' };
}
