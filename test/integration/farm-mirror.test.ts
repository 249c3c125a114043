/** Copies by several worker processes: what is at the target afterwards, and what it took. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { copyImages, type CopyPair } from '../../src/app/copy.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { Step } from '../../src/queue/ticket-parts.ts';
import { never, TestClient } from '../support/clients.ts';
import { TestFarm, until } from '../support/farm.ts';
import { type Corpus, corpusOf, fill } from '../support/farm-images.ts';
import { image } from '../support/images.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import type { LogEntry } from '../support/registry/log.ts';

const IMAGES = 20;
const REPOSITORIES = 5;
const WORKERS = 3;
const CONCURRENCY = 4;
const opts = { signal: never };

const corpusIn = (registry: TestRegistry, seed = 'mirror'): Corpus =>
  fill(registry, { images: IMAGES, blobs: 24, repositories: REPOSITORIES, seed });

/** Each image under `mirror/`, with its tag. */
const pairsTo = (target: TestRegistry, { refs }: Corpus): CopyPair[] =>
  refs.map((ref) => {
    const source = parseReference(ref);
    return { source, target: parseReference(`${target.host}/mirror/${source.path}:${source.tag}`) };
  });

/** All that a registry holds, a line each. */
function contentOf({ stored }: TestRegistry): string[] {
  return stored.names().flatMap((name) => {
    const { tags, manifests, blobs } = stored.get(name) ?? assert.fail(name);
    return [
      ...[...tags].map(([tag, digest]) => `${name}:${tag} ${digest}`),
      ...[...manifests.keys(), ...blobs.keys()].map((digest) => `${name} ${digest}`),
    ].toSorted();
  });
}

/** What one process makes of the same request. */
async function copiedByOne(corpus: Corpus): Promise<string[]> {
  await using target = await TestRegistry.start();
  await using client = new TestClient();
  const request = { pairs: pairsTo(target, corpus), selection: '', concurrency: 8 };
  const { images } = await copyImages(client, request, opts);
  assert.ok(images.every(({ state }) => state === 'done'));
  return contentOf(target);
}

/** Blobs that came over the wire, by how often. */
function uploadsOf(registry: TestRegistry): Map<string, number> {
  const sent = registry.log.select({
    status: 201,
    where: ({ kind }) => kind === 'upload-end' || kind === 'upload-start',
  });
  return new Map([...Map.groupBy(sent, ({ object }) => object ?? '')].map(([digest, all]) => [digest, all.length]));
}

/** All images have the digests of their source, and nothing came before what it needs. */
async function isMirrored(farm: TestFarm, run: string, target: TestRegistry, corpus: Corpus): Promise<void> {
  const status = await farm.ended(run);
  const images = await farm.images(run);
  const failed = images.find(({ state }) => state !== 'done');
  assert.equal(failed, undefined, `${failed?.name}: ${failed?.error?.code} ${failed?.error?.message}`);
  assert.deepEqual([status.state, images.length], ['done', corpus.refs.length]);
  assert.deepEqual(target.violations, []);
  for (const [ref, { desc }] of corpus.images) {
    const { path, tag = '' } = parseReference(ref);
    assert.equal(target.stored.get(`mirror/${path}`)?.tags.get(tag), desc.digest, ref);
  }
}

test('three workers, one killed in the middle: all is there as one process would have left it', async (t) => {
  await using source = await TestRegistry.start({ latencyMs: 20 });
  await using target = await TestRegistry.start({ latencyMs: 20 });
  const corpus = corpusIn(source);
  await using farm = await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY });
  const run = await farm.submitCopy(pairsTo(target, corpus));
  await until('a part of it', async () => (await farm.client.run(run)).images.done >= IMAGES / 4);
  const [pid = 0] = farm.pids;
  await farm.endWorker(pid);
  assert.ok((await farm.client.run(run)).images.open > 0, 'it was in the middle');
  await isMirrored(farm, run, target, corpus);
  assert.deepEqual(contentOf(target), await copiedByOne(corpus));
  const uploads = [...uploadsOf(target).values()];
  const more = uploads.reduce((sum, times) => sum + times - 1, 0);
  t.diagnostic(`${uploads.length} blobs, ${more} sent again, ${target.count({ kind: 'mount' })} mounts`);
  assert.ok(more <= CONCURRENCY, `${more} blobs were sent again`);
  const results = await farm.results(run);
  const wanted = new Set([...corpus.images.values()].flatMap(({ config, layers }) => [config, ...layers]));
  const least = [...new Map([...wanted].map(({ digest, size }) => [digest, size])).values()];
  const moved = results.reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(moved > 0.8 * least.reduce((sum, size) => sum + size, 0), `${moved} bytes are told`);
});

test('what is there already costs a look, and is told as equal', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start();
  const corpus = corpusIn(source);
  await using farm = await TestFarm.start({ workers: 2, concurrency: CONCURRENCY });
  await isMirrored(farm, await farm.submitCopy(pairsTo(target, corpus)), target, corpus);
  source.log.clear();
  target.log.clear();
  const again = await farm.submitCopy(pairsTo(target, corpus));
  await isMirrored(farm, again, target, corpus);
  const results = await farm.results(again);
  assert.deepEqual(
    results.map(({ isEqual, bytes, mounted }) => [isEqual, bytes, mounted]),
    results.map(() => [true, 0, 0]),
  );
  assert.equal(source.count({ kind: 'blob' }), 0);
  assert.equal(target.count({ where: ({ method }) => method !== 'HEAD' && method !== 'GET' }), 0);
});

test('a registry that refuses to mount gets its blobs for each repository, and is soon not asked any more', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start({ mounts: 'refuse' });
  const corpus = corpusIn(source);
  await using farm = await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY });
  await isMirrored(farm, await farm.submitCopy(pairsTo(target, corpus)), target, corpus);
  assert.deepEqual(contentOf(target), await copiedByOne(corpus));
  const mounts = target.count({ kind: 'mount' });
  assert.ok(mounts > 0 && mounts <= WORKERS * CONCURRENCY * 8, `${mounts} mounts`);
  const most = Math.max(...uploadsOf(target).values());
  assert.ok(most > 1 && most <= REPOSITORIES, `a blob was sent ${most} times`);
});

/** One image for two repositories of a registry that does not mount: its blobs are sent to the second by themselves. */
const DEATHS: readonly (readonly [step: Step, nth: number])[] = [
  ['visited', 4],
  ['visited', 8],
  ['added', 4],
  ['added', 5],
  ['settling', 5],
  ['settling', 9],
  ['done', 3],
  ['done', 8],
];

describe('a worker that copies dies', { concurrency: 4 }, () => {
  for (const [step, nth] of DEATHS) {
    it(`when ticket ${nth} is ${step}, and another finishes the run`, async () => {
      await using source = await TestRegistry.start();
      await using target = await TestRegistry.start({ mounts: 'refuse' });
      const each = image({ layers: [{ raw: Buffer.from('layer') }] });
      for (const repository of ['a', 'b']) source.add(repository, 'v1', each);
      const corpus = corpusOf(new Map(['a', 'b'].map((repository) => [source.ref(repository, 'v1'), each])));
      await using farm = await TestFarm.start({ workers: 0 });
      const run = await farm.submitCopy(pairsTo(target, corpus));
      assert.equal(await farm.gone(await farm.startWorker({ dieAt: { step, nth }, concurrency: 1 })), '');
      await farm.startWorker();
      await isMirrored(farm, run, target, corpus);
      assert.deepEqual(contentOf(target), await copiedByOne(corpus));
      const sent = [...uploadsOf(target).values()].reduce((sum, times) => sum + times, 0);
      assert.ok(sent >= 4 && sent <= 5, `two blobs were sent ${sent} times`);
    });
  }
});

/** Seconds of Retry-After. */
const WAIT_S = 2;

const lastEnd = ({ log }: TestRegistry): number => Math.max(...log.entries.map(({ endedAt = Infinity }) => endedAt));

/** Requests that came although the registry had asked to be left alone. */
const tooEarly = (entries: readonly LogEntry[]): number[] =>
  entries
    .filter(({ status }) => status === 429)
    .map(({ endedAt = Infinity }) => {
      const till = endedAt + WAIT_S * 1000 - 50; // the two clocks start a moment apart
      return entries.filter(({ startedAt }) => startedAt > endedAt && startedAt < till).length;
    });

test('a 429 of one target keeps all workers from it, and from nothing else', async (t) => {
  await using source = await TestRegistry.start({ latencyMs: 5 });
  await using slow = await TestRegistry.start({ latencyMs: 5 });
  await using free = await TestRegistry.start({ latencyMs: 5 });
  const corpus = corpusIn(source);
  let seen = 0;
  using _limit = slow.fault({
    do: (answer, asked) => {
      seen += 1;
      if (seen === 30 || seen === 90) faults.retryAfter(String(WAIT_S))(answer, asked);
    },
  });
  await using farm = await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY });
  const limited = await farm.submitCopy(pairsTo(slow, corpus));
  await slow.waitFor({ status: 429 });
  const others = await farm.submitCopy(pairsTo(free, corpus));
  // A worker tells of it a moment after it was told; the run cannot end before that.
  let reasons: readonly string[] = [];
  const isTold = (): boolean => reasons.some((reason) => reason.startsWith(`${slow.host}: blocked until`));
  for (let state = 'running'; state === 'running' && !isTold(); state = (await farm.client.run(limited)).state) {
    reasons = await farm.client.waitReasons(limited, opts);
  }
  await isMirrored(farm, others, free, corpus);
  await isMirrored(farm, limited, slow, corpus);
  const late = tooEarly(slow.log.entries);
  t.diagnostic(`${late.length} times 429, then ${late.join(', ')} requests that were under way`);
  assert.ok(late.length >= 1);
  // What is in hand is finished: a look, a mount, an upload of two requests.
  assert.ok(Math.max(...late) < 4 * WORKERS * CONCURRENCY, `${late.join(', ')} requests after a 429`);
  assert.ok(lastEnd(free) < lastEnd(slow), 'the other target was done first, though it was asked for later');
  assert.equal(source.count({ status: 429 }), 0);
  const lanes = await farm.client.lanes(opts);
  assert.ok(isTold(), reasons.join('\n'));
  assert.ok(lanes.every(({ name, blockedBecause }) => blockedBecause === undefined || name === slow.host));
});

test('the limit of a registry holds for what is moved to it, over all workers', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start({ latencyMs: 20 });
  const corpus = corpusIn(source);
  await using farm = await TestFarm.start({ workers: WORKERS, concurrency: CONCURRENCY });
  await farm.client.settings.set(target.host, { concurrency: 2 });
  await isMirrored(farm, await farm.submitCopy(pairsTo(target, corpus)), target, corpus);
  const isUpload = ({ kind }: LogEntry): boolean => kind === 'upload-start' || kind === 'upload-end';
  const most = target.log.maxConcurrent({ where: isUpload });
  assert.ok(most <= 2, `${most} uploads at a time`);
});
