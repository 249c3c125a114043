/** One source, several registries to bring it to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faults, TestRegistry } from '../support/registry.ts';
import { MirrorWorld } from '../support/mirror/world.ts';

const TAGS = ['1', '2', '3'];

async function twoTargets(): Promise<{
  world: MirrorWorld;
  other: TestRegistry;
  file: string;
  stack: AsyncDisposable;
}> {
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await MirrorWorld.start());
  const other = stack.use(await TestRegistry.start());
  world.add('app', TAGS);
  const targets = [`${world.target.host}/app`, `${other.host}/app`];
  const file = await world.says([{ type: 'repository', source: `${world.source.host}/app`, targets }]);
  return { world, other, file, stack: stack.move() };
}

test('a blob for two registries is read from its source once', async () => {
  const { world, other, file, stack } = await twoTargets();
  await using _ = stack;
  const done = await world.mirror('run', '-f', file);
  assert.equal(done.code, 0, done.stderr);
  const read = world.source.log.entries.filter(({ kind, method }) => kind === 'blob' && method === 'GET');
  const blobs = new Set(read.map(({ object }) => object));
  assert.equal(blobs.size, 2 * TAGS.length + 1, 'a config and a layer each, and one layer that all share');
  assert.equal(read.length, blobs.size);
  for (const registry of [world.target, other]) {
    assert.deepEqual([...(registry.stored.get('app')?.tags.keys() ?? [])].toSorted(), TAGS);
    assert.deepEqual(registry.violations, []);
  }
});

test('a target that takes nothing holds the other one up in nothing', async () => {
  const { world, other, file, stack } = await twoTargets();
  await using _ = stack;
  other.fault({ match: { kind: 'upload-end' }, unserved: true, do: faults.error(400, 'BLOB_UPLOAD_INVALID', 'no') });
  const done = await world.mirror('run', '-f', file);
  assert.equal(done.code, 3, done.stderr);
  assert.ok(done.stderr.includes(other.host), done.stderr);
  world.assertMirrored('app');
  assert.equal(other.stored.get('app')?.tags.size ?? 0, 0);
});
