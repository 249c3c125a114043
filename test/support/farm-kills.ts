/** Runs whose workers are killed: again and again, and in the middle of a large blob. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../bench/random.ts';
import type { ContentStore } from '../../src/store/content-store.ts';
import { filesBelow } from './cli.ts';
import { never } from './clients.ts';
import { differences, TestFarm, TIMES, until } from './farm.ts';
import { contentOf, type Corpus, fill, wholeBodies } from './farm-images.ts';
import { type Image, image, type LayerSpec } from './images.ts';
import { faults, TestRegistry } from './registry.ts';

export interface ChaosOptions {
  readonly images: number;
  readonly blobs: number;
  /** Of workers; half way Redis is killed, too. */
  readonly kills: number;
  readonly timeoutMs: number;
}

const CONCURRENCY = 4;
const opts = { signal: never };

/** Looks at the store all the time: content that a name needs and that is not there when the name is seen. */
class NameWatch implements AsyncDisposable {
  readonly missing: string[] = [];
  readonly #store: ContentStore;
  readonly #images: ReadonlyMap<string, Image>;
  readonly #seen = new Set<string>();
  readonly #over: Promise<void>;
  #isStopped = false;

  constructor(store: ContentStore, images: ReadonlyMap<string, Image>) {
    this.#store = store;
    this.#images = images;
    this.#over = this.#watch();
  }

  /** Names that were seen, and looked into. */
  get count(): number {
    return this.#seen.size;
  }

  async #watch(): Promise<void> {
    while (!this.#isStopped) {
      await this.#look();
      await sleep(Math.random() * 200); // the moment is meant to be random: this waits for nothing
    }
  }

  async #look(): Promise<void> {
    for (const { name } of await this.#store.names.list(opts)) {
      const image = this.#images.get(name);
      if (image === undefined || this.#seen.has(name)) continue;
      this.#seen.add(name);
      const infos = await Promise.all(
        [...image.blobs.keys(), image.desc.digest].map((it) => this.#store.stat(it, opts)),
      );
      if (infos.includes(undefined)) this.missing.push(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.#over;
  }
}

/** Kills a random worker each time that a further part of the images has ended, and puts a new one in its place. */
async function killWorkers(farm: TestFarm, run: string, { images, kills }: ChaosOptions): Promise<void> {
  const random = new Random(`${kills} kills`);
  for (let kill = 1; kill <= kills; kill += 1) {
    const wanted = (kill * images) / (kills + 1);
    await until(`kill ${kill}`, () => hasEnded(farm, run, wanted), 120_000);
    const { pids } = farm;
    await farm.endWorker(pids[random.between(0, pids.length - 1)] ?? 0);
    if (kill === Math.ceil(kills / 2)) {
      await farm.redis.kill();
      await farm.redis.start();
    }
    await farm.startWorker();
  }
}

async function hasEnded(farm: TestFarm, run: string, wanted: number): Promise<boolean> {
  const status = await farm.client.run(run).catch(() => undefined); // Redis may be away
  return status !== undefined && status.images.done + status.images.failed >= wanted;
}

/** The run ends with exactly the images failed that use the blob. */
async function failsOnly(farm: TestFarm, run: string, users: readonly string[], timeoutMs: number): Promise<void> {
  await farm.ended(run, timeoutMs);
  const images = await farm.images(run);
  const failed = images.filter(({ state }) => state !== 'done');
  assert.deepEqual(failed.map(({ name }) => name).toSorted(), users.toSorted());
  assert.deepEqual([...new Set(failed.map(({ error }) => error?.code))], ['DIGEST_MISMATCH']);
}

/** The blob that most images use, and those images. */
function mostWanted({ images }: Corpus): { readonly digest: string; readonly users: readonly string[] } {
  const usersOf = new Map<string, string[]>();
  for (const [name, { layers }] of images) {
    for (const { digest } of layers) usersOf.set(digest, [...(usersOf.get(digest) ?? []), name]);
  }
  const [most = ['', []]] = [...usersOf].toSorted(([, a], [, b]) => b.length - a.length);
  return { digest: most[0], users: [...new Set(most[1])] };
}

export async function chaos(options: ChaosOptions, t: TestContext): Promise<void> {
  await using registry = await TestRegistry.start();
  const corpus = fill(registry, options);
  const { digest: poisoned, users } = mostWanted(corpus);
  await using farm = await TestFarm.start({ concurrency: CONCURRENCY });
  const poison = registry.fault({ match: { object: poisoned, method: 'GET' }, do: faults.flip(0) });
  {
    await using names = new NameWatch(farm.store, corpus.images);
    const run = await farm.submit(corpus.refs);
    await killWorkers(farm, run, options);
    await failsOnly(farm, run, users, options.timeoutMs);
    t.diagnostic(`${names.count} names looked into, ${users.length} images fail`);
    assert.deepEqual(names.missing, [], 'names before their content');
    poison.remove();
    const again = await farm.client.retry(run, opts);
    await farm.done(again ?? '', users);
  }
  const wanted = corpus.digests.size - options.images;
  const whole = wholeBodies(registry).filter(({ object }) => object !== poisoned).length + 1;
  t.diagnostic(`${whole} whole bodies of ${wanted} blobs, ${registry.count()} requests`);
  assert.ok(whole <= wanted + options.kills * CONCURRENCY, `${whole} whole bodies of ${wanted} blobs`);
  await farm.assertHolds(corpus.digests);
  const names = await farm.store.names.list(opts);
  assert.equal(
    differences(
      names.map(({ name }) => name),
      corpus.refs,
    ),
    '',
  );
}

const partialBytes = async ({ store }: TestFarm): Promise<number> => {
  const parts = (await filesBelow(join(store.root, 'ingest'))).filter((path) => path.endsWith('.part'));
  return Math.max(0, ...(await Promise.all(parts.map(async (path) => (await stat(path)).size))));
};

/** The writer of a large blob dies, and another process goes on at the byte where it was. */
export async function goesOnAfterKill(layer: LayerSpec, bytesPerSecond: number): Promise<void> {
  await using registry = await TestRegistry.start({ bytesPerSecond });
  const large = image({ layers: [layer] });
  registry.add('large', 'v1', large);
  const [{ digest, size } = large.config] = large.layers;
  const refs = [registry.ref('large', 'v1')];
  await using farm = await TestFarm.start();
  const run = await farm.submit(refs);
  await farm.endWorker(await farm.writerWith(size / 4));
  const kept = await partialBytes(farm);
  const resumed = await registry.waitFor({ object: digest, ranged: true }, { timeoutMs: TIMES.lockMs + 10_000 });
  assert.ok(kept > size / 8, `${kept} bytes were kept`); // what was told had come, and not all of it was on the disk
  assert.equal(resumed.range, `bytes=${kept}-`);
  await farm.done(run, refs);
  assert.equal(registry.count({ object: digest, method: 'GET' }), 2);
  await farm.assertHolds(contentOf(large));
}
