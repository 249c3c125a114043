import { constants } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { algorithmOf, type Digest, Digester } from '../oci/digest.ts';
import { streamFile } from './blob-stream.ts';
import { type StoreFs, takeAway } from './fs.ts';
import type { Layout } from './layout.ts';

/**
 * Takes what has the name of a blob and is not that blob out of the way. Another process may have put good content there
 * since it was judged, so what was moved is read once more.
 */
export async function takeDamaged(parts: { fs: StoreFs; layout: Layout }, digest: Digest): Promise<void> {
  const { fs, layout } = parts;
  await fs.mkdir(layout.damaged, { recursive: true });
  const aside = join(layout.damaged, `${digest.replace(':', '-')}.${randomUUID()}`);
  await takeAway(fs, layout.blob(digest), aside, async () => !(await isContent(fs, aside, digest)));
}

async function isContent(fs: StoreFs, path: string, digest: Digest): Promise<boolean> {
  if (!(await fs.lstat(path)).isFile()) return false;
  const file = await fs.open(path, constants.O_RDONLY);
  const digester = new Digester(algorithmOf(digest));
  await using bytes = streamFile(file, path, { signal: new AbortController().signal });
  for await (const chunk of bytes) digester.update(chunk);
  return digester.digest() === digest;
}
