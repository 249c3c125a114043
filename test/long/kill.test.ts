import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newUser } from '../support/cli.ts';
import { killedAtRandom } from '../support/kills.ts';
import { TestRegistry } from '../support/registry.ts';

test('thirty kills at random times of a bulk pull, then the same command once more', async (t) => {
  await using registry = await TestRegistry.start({ latencyMs: 5, bytesPerSecond: 2 << 20 });
  await using user = await newUser();
  await killedAtRandom(user, registry, 30);
  const ranged = registry.count({ kind: 'blob', method: 'GET', ranged: true });
  t.diagnostic(`${registry.count({ kind: 'blob', method: 'GET' })} GETs of blobs, ${ranged} of them resumed`);
  assert.ok(ranged > 0, 'nothing was resumed');
});
