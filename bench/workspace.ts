import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Removes the directories of `cache` that end in the id of a process which is gone: what a killed benchmark left. */
async function removeStale(cache: string): Promise<void> {
  for (const entry of await readdir(cache)) {
    const pid = /(?:^run|\.building)-(\d+)$/.exec(entry)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(cache, entry), { recursive: true, force: true });
  }
}

/** The name under which this process builds something in the cache before it is renamed into place. */
export const draftOf = (dir: string): string => `${dir}.building-${process.pid}`;

/** A directory for one run of the benchmark, on the disk of the cache; disposing it removes it. */
export async function openWorkspace(cache: string): Promise<AsyncDisposable & { readonly dir: string }> {
  await mkdir(cache, { recursive: true });
  await removeStale(cache);
  const dir = join(cache, `run-${process.pid}`);
  await mkdir(dir);
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}
