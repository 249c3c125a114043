/** A store that fetches what it lacks through the workers of a farm, ahead of what else they have to do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContentNode } from '../../src/flow/handler.ts';
import { firstLayer, never } from '../support/clients.ts';
import { TestFarm, until } from '../support/farm.ts';
import { image } from '../support/images.ts';
import { blobOf, manifestOf, PullThroughWorld } from '../support/pull-through.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const opts = { signal: never };
const MIB = 1 << 20;
const bytes = randomBytesOf('big', 6 * MIB);
const big = image({ seed: 'big', layers: [{ raw: bytes }] });
const layer = firstLayer(big);

/** A world whose store is that of a farm. */
async function worldOf(farm: TestFarm): Promise<PullThroughWorld> {
  const w = await PullThroughWorld.serving({ redis: farm.settings, store: farm.store.root });
  w.registry.add('app', '1', big);
  await w.fetched('app', big.desc, manifestOf('1'));
  return w;
}

const BLOB_GET = { method: 'GET', kind: 'blob' } as const;

test('what goes ahead is taken before all that waits', async () => {
  await using registry = await TestRegistry.start();
  await using farm = await TestFarm.start({ workers: 1, concurrency: 1 });
  const go = Promise.withResolvers<void>();
  using _held = registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.hold(go.promise) });
  const refs = Array.from({ length: 300 }, (_, i) => {
    registry.add('bulk', `t${i}`, image({ seed: i, layers: [100] }));
    return registry.ref('bulk', `t${i}`);
  });
  registry.add('app', '1', big);
  await farm.submit(refs);
  await registry.log.waitFor({ kind: 'blob' });
  const waiting = async (): Promise<number> => (await farm.client.lanes(opts))[0]?.tickets.waiting ?? 0;
  const before = await waiting();
  assert.ok(before >= 250, String(before));
  const node: ContentNode = {
    kind: 'blob',
    desc: layer,
    source: `${registry.host}/app`,
    target: await farm.store.id(),
    selection: '',
  };
  await farm.client.submit([node], { ahead: true });
  await until('its ticket', async () => (await waiting()) > before);
  go.resolve();
  await registry.log.waitFor(BLOB_GET, { count: 2 });
  const { entries } = registry.log;
  const held = entries.findIndex(({ kind }) => kind === 'blob');
  assert.equal(entries[held + 1]?.object, layer.digest, registry.log.text().slice(0, 500));
});

test('ten clients of what is not here share one transfer of a worker, and read it while it comes', async () => {
  await using farm = await TestFarm.start({ workers: 2 });
  await using w = await worldOf(farm);
  const go = Promise.withResolvers<void>();
  using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(5 * MIB, go.promise) });
  const came = Array.from({ length: 10 }, () => Promise.withResolvers<void>());
  const clients = came.map(({ resolve }) =>
    w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && resolve() }),
  );
  await Promise.all(came.map(({ promise }) => promise));
  await farm.writerWith(1); // not the server
  go.resolve();
  for (const { broken, body } of await Promise.all(clients)) {
    assert.equal(broken, undefined);
    assert.ok(body.equals(bytes));
  }
  assert.equal(w.registry.log.count({ kind: 'blob' }), 1);
  const [run, ...more] = await farm.client.runs({ ...opts, limit: 10 });
  assert.deepEqual([run?.labels, more.length], [{ for: 'pull-through' }, 0]);
});

test('a stream goes on when the worker behind it is killed', async () => {
  await using farm = await TestFarm.start({ workers: 2 });
  await using w = await worldOf(farm);
  using _held = w.registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.stallBody(4 * MIB + 1000) });
  const came = Promise.withResolvers<void>();
  const reading = w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && came.resolve() });
  await came.promise;
  await farm.endWorker(await farm.writerWith(1));
  const { broken, body } = await reading;
  assert.equal(broken, undefined);
  assert.ok(body.equals(bytes));
  const [, again] = w.registry.log.select(BLOB_GET);
  assert.match(again?.range ?? '', /^bytes=[1-9]\d{6,}-$/);
});

test('what a registry does not have is not found, and what it refuses is refused', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using w = await worldOf(farm);
  w.registry.stored.removeBlob('app', layer.digest);
  assert.equal((await w.get('app', blobOf(layer))).status, 404);
  using _fault = w.registry.fault({ match: { kind: 'blob' }, do: faults.status(403) });
  assert.equal((await w.get('app', blobOf(big.config))).status, 403);
});

test('without workers, and without Redis, the server fetches by itself', async () => {
  await using farm = await TestFarm.start({ workers: 0 });
  await using w = await worldOf(farm);
  await w.fetched('app', layer);
  assert.equal((await farm.client.runs({ ...opts, limit: 10 })).length, 0);
  const other = image({ seed: 'other' });
  w.registry.add('app', '2', other);
  await w.fetched('app', other.desc, manifestOf('2'));
  await farm.redis.kill();
  await w.fetched('app', big.config);
  await w.fetched('app', other.config);
  assert.match(w.log.join('\n'), /Redis did not answer a moment ago/, 'it is not waited for anew');
  const last = image({ seed: 'last' });
  w.registry.add('app', '3', last);
  await w.fetched('app', last.desc, manifestOf('3'));
});

test('what the last worker has left the server takes up', async () => {
  await using farm = await TestFarm.start({ workers: 1 });
  await using w = await worldOf(farm);
  using _held = w.registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.stallBody(4 * MIB + 1000) });
  const came = Promise.withResolvers<void>();
  const reading = w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && came.resolve() });
  await came.promise;
  const [worker] = farm.pids;
  assert.ok(worker !== undefined);
  await farm.endWorker(worker);
  const { broken, body } = await reading;
  assert.equal(broken, undefined);
  assert.ok(body.equals(bytes));
});
