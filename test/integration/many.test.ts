import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newUser } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { indexedNames } from '../support/kills.ts';
import { randomBytesOf, TestRegistry } from '../support/registry.ts';

const REPOSITORIES = 25;
const TAGS = 3;
const PROCESSES = 8;
/** The first images are wanted by all processes. */
const COMMON = 10;

/** 75 images: three base layers that they share, and a layer and a configuration of their own. */
function fill(registry: TestRegistry): string[] {
  const bases = [0, 1, 2].map((i) => ({ raw: randomBytesOf(`base ${i}`, 300_000 + i) }));
  return Array.from({ length: REPOSITORIES * TAGS }, (_, i) => {
    const [repo, tag] = [`r${Math.floor(i / TAGS)}`, `t${i % TAGS}`];
    const base = bases.slice(i % 3, (i % 3) + 1);
    registry.add(repo, tag, image({ seed: i, layers: [...base, { raw: randomBytesOf(`own ${i}`, 20_000) }] }));
    return registry.ref(repo, tag);
  });
}

test('eight processes pull 75 tags into one store: 75 names, each blob fetched once, nothing corrupt', async () => {
  await using registry = await TestRegistry.start({ latencyMs: 5 });
  const refs = fill(registry);
  await using user = await newUser();
  const shares = Array.from({ length: PROCESSES }, (_, i) =>
    refs.filter((_ref, at) => at % PROCESSES === i || at < COMMON),
  );
  const results = await Promise.all(shares.map((share) => user.gantry(['pull', '-q', ...share])));
  for (const { code, stderr } of results) assert.deepEqual([code, stderr], [0, '']);

  assert.deepEqual((await user.gantry(['images', '-q'])).stdout.trim().split('\n'), refs.toSorted());
  assert.deepEqual(await indexedNames(user), refs.toSorted());
  const gets = { kind: 'blob', method: 'GET' } as const;
  assert.equal(registry.maxConcurrent(gets, { per: 'object' }), 1, 'a blob was fetched twice at a time');
  const objects = registry.log.select(gets).map(({ object }) => object);
  assert.equal(objects.length, 3 + 2 * REPOSITORIES * TAGS, 'a blob was fetched twice');
  assert.equal(new Set(objects).size, objects.length);
  const verified = await user.gantry(['verify']);
  assert.deepEqual([verified.code, verified.stderr], [0, '']);
  assert.match(verified.stdout, /^228 blobs \([^)]+\) and 75 images checked, 0 problems\n$/);
});
