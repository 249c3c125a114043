/** Workers of a farm that are killed, stopped, continued, and told to let go. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import type { Step } from '../../src/queue/ticket-parts.ts';
import { never } from '../support/clients.ts';
import { TestFarm, until } from '../support/farm.ts';
import { corpusOf } from '../support/farm-images.ts';
import { goesOnAfterKill } from '../support/farm-kills.ts';
import { type Image, image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const MB = 1_000_000;
const BLOB_GET = { method: 'GET', kind: 'blob' } as const;
const opts = { signal: never };

/** `count` images with one layer each, made by `layerOf`. */
function fillWith(registry: TestRegistry, count: number, layerOf: (i: number) => Buffer): Map<string, Image> {
  const made = new Map<string, Image>();
  for (let i = 0; i < count; i += 1) {
    const [repo, tag] = [`r${i % 10}`, `t${i}`];
    const each = image({ seed: i, layers: [{ raw: layerOf(i) }] });
    registry.add(repo, tag, each);
    made.set(registry.ref(repo, tag), each);
  }
  return made;
}

test('a blob whose writer is killed goes on in another process, where it was', () =>
  goesOnAfterKill({ raw: randomBytesOf('large', 64 * MB) }, 16 * MB));

test('a blob that 200 images of two runs want is fetched once by three workers', async () => {
  await using registry = await TestRegistry.start();
  const common = randomBytesOf('common', MB);
  const { refs, images, digests } = corpusOf(fillWith(registry, 200, () => common));
  const object = images.get(refs[0] ?? '')?.layers[0]?.digest ?? '';
  using _slow = registry.fault({ match: { object }, do: faults.bytesPerSecond(MB) });
  await using farm = await TestFarm.start();
  const shares = [refs.slice(0, 100), refs.slice(100)]; // within a run it is one node, between runs there is the lease
  const runs = await Promise.all(shares.map(async (share) => ({ share, run: await farm.submit(share) })));
  for (const { run, share } of runs) await farm.done(run, share);
  assert.equal(registry.count({ object, method: 'GET' }), 1);
  await farm.assertHolds(digests);
});

/** With one ticket at a time: an image, its manifest, the layer, the configuration; then they settle from below. */
const DEATHS: readonly (readonly [step: Step, nth: number, of: string, blobsFetched: number])[] = [
  ['visited', 1, 'image', 0],
  ['visited', 2, 'manifest', 0],
  ['visited', 3, 'blob', 1],
  ['added', 1, 'image', 0],
  ['added', 2, 'manifest', 0],
  ['settling', 1, 'blob', 1],
  ['settling', 3, 'manifest', 2],
  ['settling', 4, 'image', 2],
  ['done', 1, 'blob', 1],
  ['done', 3, 'manifest', 2],
  ['done', 4, 'image', 2],
];

describe('a worker dies', { concurrency: 5 }, () => {
  for (const [step, nth, of, blobsFetched] of DEATHS) {
    it(`when the ticket of ${of === 'image' ? 'an' : 'a'} ${of} is ${step}, and another finishes the run`, async () => {
      await using registry = await TestRegistry.start();
      const { refs, digests } = corpusOf(fillWith(registry, 1, () => Buffer.from('layer')));
      await using farm = await TestFarm.start({ workers: 0 });
      const run = await farm.submit(refs);
      const pid = await farm.startWorker({ dieAt: { step, nth }, concurrency: 1 });
      assert.equal(await farm.gone(pid), '');
      assert.equal(registry.count(BLOB_GET), blobsFetched);
      await farm.startWorker();
      await farm.done(run, refs);
      await farm.assertHolds(digests);
      assert.deepEqual(registry.count(BLOB_GET), 2, 'nothing is fetched twice');
    });
  }
});

test('a worker that is stopped for longer than its locks does no harm, and works on', async () => {
  await using registry = await TestRegistry.start({ bytesPerSecond: 2 * MB });
  const corpus = corpusOf(fillWith(registry, 5, (i) => randomBytesOf(`stopped ${i}`, 4 * MB)));
  const [last = '', ...refs] = corpus.refs;
  await using farm = await TestFarm.start({ workers: 2 });
  const run = await farm.submit(refs);
  const stopped = await farm.writerWith(MB);
  farm.signalWorker(stopped, 'SIGSTOP');
  await farm.done(run, refs);
  const continuedAt = Date.now();
  farm.signalWorker(stopped, 'SIGCONT');
  await until('it says that it is there', async () => {
    const status = (await farm.statuses()).get(stopped);
    return status !== undefined && status.seenAt > continuedAt && status.running === 0;
  });
  for (const pid of farm.pids) if (pid !== stopped) await farm.endWorker(pid, 'SIGTERM');
  await farm.done(await farm.submit([last]), [last]);
  await farm.assertHolds(corpus.digests);
});

test('a run that is cancelled lets go of the registry, and its producer is told', async () => {
  await using registry = await TestRegistry.start({ bytesPerSecond: 0.5 * MB });
  const corpus = corpusOf(fillWith(registry, 40, (i) => randomBytesOf(`cancelled ${i}`, 5 * MB)));
  await using farm = await TestFarm.start();
  const { promise: submitted, resolve } = Promise.withResolvers<string>();
  const dispatcher = farm.client.dispatcher({ onSubmitted: resolve });
  const dispatched = dispatcher.dispatch({ id: '', roots: await farm.roots(corpus.refs) }, opts);
  await registry.waitFor({ ...BLOB_GET, where: ({ bytesSent }) => bytesSent > 0 }, { count: 12 });
  const askedAt = performance.now();
  assert.equal(await farm.client.cancel(await submitted), true);
  const tookMs = performance.now() - askedAt;
  assert.ok(tookMs < 100, `${tookMs} ms`);
  const open = () => registry.count({ where: ({ endedAt }) => endedAt === undefined });
  await until('the registry is left alone', () => open() === 0, 1_000);
  const { images } = await dispatched;
  assert.deepEqual([...new Set(images.map(({ state }) => state))], ['cancelled']);
  assert.deepEqual([...new Set(images.map(({ error }) => error?.code))], ['CANCELLED']);
  await until('no tickets are left', async () => {
    const lanes = await farm.client.lanes(opts);
    return lanes.every(({ tickets: { waiting, active, delayed } }) => waiting + active + delayed === 0);
  });
  assert.equal(open(), 0);
});
