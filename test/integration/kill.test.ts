/** kill -9 at fixed steps of a pull, and at random ones; then the same command. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { filesBelow, keptBytes, newUser, type User } from '../support/cli.ts';
import { image, index } from '../support/images.ts';
import { finishesAfterKill, killedAtRandom, NEVER_STALE } from '../support/kills.ts';
import { type Filter, faults, randomBytesOf, TestRegistry } from '../support/registry.ts';
import { fits } from '../support/registry/log.ts';

const PLATFORM = { os: 'linux', architecture: 'amd64' };
const inner = image({
  platform: PLATFORM,
  layers: [{ raw: randomBytesOf('killed', 4_000_000) }, 30_000, 1000],
});
const bundle = index([{ of: inner, platform: PLATFORM }]);
const [large, , last] = inner.layers.map(({ digest }) => digest);

const PULL = ['pull', '-q', '-a'];

async function withImage(): Promise<{ registry: TestRegistry; ref: string }> {
  const registry = await TestRegistry.start();
  registry.add('app', 'v1', bundle);
  return { registry, ref: `${registry.host}/app:v1` };
}

/** Starts a pull that is dead before the registry looks at the request that fits. */
async function killedAtRequest(user: User, registry: TestRegistry, ref: string, step: Filter): Promise<void> {
  const starting = user.spawn([...PULL, ref], NEVER_STALE);
  using _hook = registry.onRequest(async (entry) => {
    if (!fits(entry, step)) return;
    const { process } = await starting;
    process.kill('SIGKILL');
    await process.done;
  });
  await using pulling = await starting;
  assert.equal((await pulling.process.done).signal, 'SIGKILL');
}

const STEPS: readonly (readonly [when: string, step: Filter])[] = [
  ['it resolves', { object: 'v1' }],
  ['it asks for the image manifest', { method: 'GET', object: inner.desc.digest }],
  ['it asks for the configuration', { method: 'GET', object: inner.config.digest }],
  ['it asks for the last layer', { method: 'GET', object: last ?? '' }],
];

for (const [when, step] of STEPS) {
  test(`a pull that is killed when ${when} is finished by the next one`, async () => {
    const { registry, ref } = await withImage();
    await using _registry = registry;
    await using user = await newUser();
    await killedAtRequest(user, registry, ref, step);
    assert.equal((await user.gantry(['images', '-q'])).stdout, '', 'no name before all of it is here');
    await finishesAfterKill(user, [ref]);
  });
}

/** Starts a pull whose large layer stops half way, and kills it when bytes of it are on the disk. */
async function killedInTheMiddle(user: User, registry: TestRegistry, ref: string): Promise<void> {
  const gate = Promise.withResolvers<void>();
  using _held = registry.fault({ match: { object: large ?? '' }, do: faults.holdBody(2_500_000, gate.promise) });
  await using pulling = await user.spawn([...PULL, ref], NEVER_STALE);
  await keptBytes(user);
  pulling.process.kill('SIGKILL');
  await pulling.process.done;
  gate.resolve();
}

test('a pull that is killed in the middle of a blob goes on with a Range for the rest', async () => {
  const { registry, ref } = await withImage();
  await using _registry = registry;
  await using user = await newUser();
  await killedInTheMiddle(user, registry, ref);
  const parts = (await filesBelow(join(user.store, 'ingest'))).filter((path) => path.endsWith('.part'));
  const kept = Math.max(...(await Promise.all(parts.map(async (path) => (await stat(path)).size))));
  assert.ok(kept > 0 && kept < 4_000_000, `${kept} bytes were kept`);
  registry.log.clear();
  await finishesAfterKill(user, [ref]);
  const [resumed, ...more] = registry.log.select({ object: large ?? '', method: 'GET' });
  assert.deepEqual([resumed?.range, resumed?.bytesSent, more.length], [`bytes=${kept}-`, 4_000_000 - kept, 0]);
});

test('what was kept of a blob and is wrong is thrown away, and fetched again from zero', async () => {
  const { registry, ref } = await withImage();
  await using _registry = registry;
  await using user = await newUser();
  using _flipped = registry.fault({ match: { object: large ?? '' }, times: 1, do: faults.flip(5) });
  await killedInTheMiddle(user, registry, ref);
  registry.log.clear();
  await finishesAfterKill(user, [ref]);
  const ranges = registry.log.select({ object: large ?? '', method: 'GET' }).map(({ range }) => range !== undefined);
  assert.deepEqual(ranges, [true, false]);
});

test('a pull that is killed when all content has been sent is finished by the next one', async () => {
  const { registry, ref } = await withImage();
  await using _registry = registry;
  await using user = await newUser();
  await using pulling = await user.spawn([...PULL, ref], NEVER_STALE);
  const wanted = [inner.config, ...inner.layers].map(({ digest }) => ({ object: digest, method: 'GET' }));
  await Promise.all(wanted.map((filter) => registry.waitFor(filter, { state: 'ended' })));
  pulling.process.kill('SIGKILL');
  await pulling.process.done;
  await finishesAfterKill(user, [ref]);
});

test('a pull that waits for another goes on at once when that is killed', async () => {
  const { registry, ref } = await withImage();
  await using _registry = registry;
  await using user = await newUser();
  const gate = Promise.withResolvers<void>();
  const hold = { match: { object: large ?? '' }, times: 1, do: faults.holdBody(2_500_000, gate.promise) };
  using _held = registry.fault(hold);
  await using first = await user.spawn([...PULL, ref], NEVER_STALE);
  await keptBytes(user);
  await using second = await user.spawn([...PULL, '--progress', 'json', ref], NEVER_STALE);
  await registry.waitFor({ object: 'v1' }, { count: 2, state: 'ended' });
  first.process.kill('SIGKILL');
  const { code, stderr } = await second.process.done;
  assert.deepEqual([code, stderr], [0, '']);
  gate.resolve();
  assert.equal(registry.count({ object: large ?? '', method: 'GET', ranged: true }), 1);
  await finishesAfterKill(user, [ref]);
});

test('a bulk pull that is killed three times at random is finished by the next one', async () => {
  await using registry = await TestRegistry.start({ latencyMs: 5, bytesPerSecond: 4 << 20 });
  await using user = await newUser();
  await killedAtRandom(user, registry, 3);
});
