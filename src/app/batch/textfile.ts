import { readFile, stat } from 'node:fs/promises';
import { writeFileWhole } from '../mirror/write-file.ts';

/** The collector runs as another user, whatever the umask of this process. */
const READABLE = 0o644;

/**
 * Replaces a file of the textfile collector of node_exporter.
 * @param metrics makes the new text, given that of before: empty where there is none
 * @throws GantryError IO
 */
export async function writeTextfile(path: string, metrics: (before: string) => Promise<string>): Promise<void> {
  const isThere = await stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
  const before = isThere ? await readFile(path, 'utf8').catch(() => '') : '';
  await writeFileWhole(path, await metrics(before), { mode: READABLE });
}
