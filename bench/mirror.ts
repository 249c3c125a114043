/** A registry to mirror into, made empty for each run. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { PullTask } from './contenders.ts';
import { type Corpus, inParallel } from './corpus.ts';
import { mirrorContenders } from './mirror-contenders.ts';
import { freePort } from './port.ts';
import type { Destination } from './pull.ts';
import { PushClient } from './push.ts';
import { type Registry, startRegistry } from './registry.ts';
import type { Verdict } from './verify.ts';

/** @param dir on the disk of the cache; the registry keeps its content there */
export async function openMirrorTarget(
  bin: string,
  dir: string,
  corpus: Corpus,
): Promise<Destination & AsyncDisposable> {
  const port = await freePort();
  const storage = join(dir, 'storage');
  const start = (): Promise<Registry> => startRegistry(storage, join(dir, 'log'), port);
  let registry = await start();
  const drop = async (): Promise<void> => {
    await registry[Symbol.asyncDispose]();
    await rm(storage, { recursive: true, force: true });
    registry = await start();
  };
  return {
    contenders: mirrorContenders(bin),
    to: registry.host,
    drop,
    verify: (_contender, task) => verifyRegistry(task, registry.host, corpus),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** Every tag has its digest, and every blob is in every repository that needs it. A registry checks bytes when it takes them. */
async function verifyRegistry({ images }: PullTask, host: string, corpus: Corpus): Promise<Verdict> {
  using client = new PushClient(host);
  const sizes = new Map(corpus.blobs.map(({ digest, size }) => [digest, size]));
  let tags = 0;
  let blobs = 0;
  await inParallel(images, 8, async (image) => {
    if ((await client.digestOfTag(image.repository, image.tag)) !== image.digest) tags++;
    for (const digest of image.blobs) {
      if ((await client.sizeOf(image.repository, 'blobs', digest)) !== sizes.get(digest)) blobs++;
    }
  });
  const notes = [
    ...(tags > 0 ? [`${tags} of ${images.length} tags missing or wrong`] : []),
    ...(blobs > 0 ? [`${blobs} blobs missing`] : []),
  ];
  return { complete: notes.length === 0, note: notes.join('; ') };
}
