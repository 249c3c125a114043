import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { GantryError } from '../../../src/errors.ts';
import type { SettleContext } from '../../../src/flow/handler.ts';
import { BlobCopy } from '../../../src/handlers/copy-blob.ts';
import { LocalPlaces } from '../../../src/remote/places.ts';
import type { Pusher, Resolver } from '../../../src/remote/ports.ts';
import { context, descOf } from '../flow/support.ts';

const [FROM, TO] = ['one.example/a', 'one.example/b'];
const settling: SettleContext = { ...context(), children: [], carry: '', round: 0 };

/** A registry of which only mounts are asked; it counts them. */
class Mounts {
  asked = 0;
  running = 0;
  most = 0;
  readonly #answer: (nth: number) => Promise<boolean>;

  constructor(answer: (nth: number) => Promise<boolean>) {
    this.#answer = answer;
  }

  get resolver(): Resolver {
    const unasked = (): never => assert.fail('nobody asks for this');
    const pusher: Pusher = {
      lookup: unasked,
      push: unasked,
      putManifest: unasked,
      has: async () => false,
      mount: async () => {
        this.asked += 1;
        this.running += 1;
        this.most = Math.max(this.most, this.running);
        try {
          return await this.#answer(this.asked);
        } finally {
          this.running -= 1;
        }
      },
    };
    return { resolve: unasked, fetcher: unasked, pusher: () => pusher };
  }
}

test('a blob that many manifests share is mounted by one of them at a time, also when the first ones are stopped', async () => {
  const stops = Array.from({ length: 6 }, () => new AbortController());
  const mounts = new Mounts(async (nth) => {
    await setImmediate();
    if (nth > 2) return true;
    const reason = new Error('not wanted any more');
    stops[nth - 1]?.abort(reason);
    throw reason;
  });
  const places = new LocalPlaces();
  const desc = descOf('layer');
  await places.add(FROM, [desc.digest]);
  const blobs = new BlobCopy({ resolver: mounts.resolver, places });
  const ends = await Promise.allSettled(stops.map(({ signal }) => blobs.share(TO, [desc], { ...settling, signal })));
  assert.deepEqual(
    ends.map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
  );
  assert.deepEqual([mounts.most, mounts.asked], [1, 3]);
});

test('what failed is not asked for again by each that waited for it', async () => {
  const mounts = new Mounts(async () => {
    await setImmediate();
    throw new GantryError('UPSTREAM', 'ordered', { origin: 'target' });
  });
  const places = new LocalPlaces();
  const desc = descOf('layer');
  await places.add(FROM, [desc.digest]);
  const blobs = new BlobCopy({ resolver: mounts.resolver, places });
  const ends = await Promise.allSettled(Array.from({ length: 4 }, () => blobs.share(TO, [desc], settling)));
  assert.ok(ends.every(({ status }) => status === 'rejected'));
  assert.equal(mounts.asked, 1);
  await assert.rejects(blobs.share(TO, [desc], settling), { code: 'UPSTREAM' });
  assert.equal(mounts.asked, 2, 'who comes later asks');
});

test('what could not be mounted is told to all that wait for it', async () => {
  const mounts = new Mounts(async () => {
    await setImmediate();
    return false;
  });
  const places = new LocalPlaces();
  const desc = descOf('layer');
  await places.add(FROM, [desc.digest]);
  const blobs = new BlobCopy({ resolver: mounts.resolver, places });
  const absent = await Promise.all(Array.from({ length: 4 }, () => blobs.share(TO, [desc], settling)));
  assert.deepEqual(
    absent,
    absent.map(() => [desc]),
  );
  assert.equal(mounts.asked, 1);
});
