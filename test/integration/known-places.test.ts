/** What one process has learned of a registry spares the next one transfers, and never does harm. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { newUser, type User } from '../support/cli.ts';
import { type Image, image } from '../support/images.ts';
import { TestRegistry } from '../support/registry.ts';

const SHARED = { raw: Buffer.alloc(30_000, 'a base layer') };
const one = image({ seed: 'one', layers: [SHARED, 100] });
const two = image({ seed: 'two', layers: [SHARED, 200] });
const base = (made: Image): string => made.layers[0]?.digest ?? '';

interface World extends AsyncDisposable {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  readonly user: User;
  copy(repo: string): Promise<void>;
  /** How often the layer that both images have was read. */
  reads(): number;
}

async function started(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await TestRegistry.start());
  const target = stack.use(await TestRegistry.start());
  const user = stack.use(await newUser());
  source.add('one', 'v1', one);
  source.add('two', 'v1', two);
  const kept = stack.move();
  return {
    source,
    target,
    user,
    copy: async (repo) => {
      const { code, stderr } = await user.gantry(['copy', '-q', source.ref(repo, 'v1'), target.ref(repo, 'v1')]);
      assert.equal(code, 0, stderr);
      assert.deepEqual(target.violations, []);
      assert.equal(target.stored.get(repo)?.tags.get('v1'), (repo === 'one' ? one : two).desc.digest);
    },
    reads: () => source.count({ kind: 'blob', method: 'GET', object: base(one) }),
    [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
  };
}

const fileOf = ({ user }: World): string => join(user.home, '.cache', 'gantry', 'places.json');

test('a blob that an earlier process has brought is mounted', async () => {
  await using world = await started();
  assert.equal(base(one), base(two));
  await world.copy('one');
  await world.copy('two');
  assert.equal(world.reads(), 1);
  assert.equal(world.target.count({ kind: 'mount', status: 201 }), 1);
});

test('what is not there any more is sent', async () => {
  await using world = await started();
  await world.copy('one');
  world.target.stored.removeBlob('one', base(one));
  await world.copy('two');
  assert.equal(world.reads(), 2);
});

test('a file that says nonsense is as good as none', async () => {
  await using world = await started();
  const key = `${world.target.host} ${base(one)}`;
  const nonsense = [
    '{',
    '[]',
    '{"version":2,"blobs":{}}',
    JSON.stringify({
      version: 1,
      blobs: { [key]: 'elsewhere.example/one', x: 1, [`a ${key}`]: `${world.target.host}/one` },
    }),
    JSON.stringify({ version: 1, blobs: { [key]: `${world.target.host}/../one?x` } }),
  ];
  await mkdir(dirname(fileOf(world)), { recursive: true });
  for (const text of nonsense) {
    await writeFile(fileOf(world), text);
    const there = world.target.stored.get('two');
    for (const all of [there?.tags, there?.manifests, there?.blobs]) all?.clear();
    await world.copy('two');
  }
  assert.equal(world.reads(), nonsense.length);
  assert.equal(world.target.count({ kind: 'mount' }), 0);
  const kept: { blobs: Record<string, string> } = JSON.parse(await readFile(fileOf(world), 'utf8'));
  assert.equal(kept.blobs[key], `${world.target.host}/two`);
});
