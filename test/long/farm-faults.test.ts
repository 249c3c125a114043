/** The faults of test/integration/farm-*.test.ts in full size. */
import { test } from 'node:test';
import { chaos, goesOnAfterKill } from '../support/farm-kills.ts';
import { finishesAfter, silentFor } from '../support/farm-outage.ts';
import { SyntheticBlob } from '../support/registry.ts';

const limit = { timeout: 600_000 };

test('3,000 images over 10,000 blobs, while fourteen workers and Redis are killed', limit, (t) =>
  chaos({ images: 3_000, blobs: 10_000, kills: 14, timeoutMs: 300_000 }, t),
);

test('a blob of 1 GB whose writer is killed goes on in another process', limit, async () => {
  const synthetic = await SyntheticBlob.random({ seed: 'large', size: 1_000_000_000 });
  await goesOnAfterKill({ synthetic }, 100_000_000);
});

test('a run is finished whose Redis does not answer for 15 s', limit, (t) => finishesAfter(silentFor(15_000), t));
