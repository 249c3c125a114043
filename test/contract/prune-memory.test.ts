/** What pruning remembers, in a file and in Redis: the same to those who use it. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PruneFile } from '../../src/app/mirror/prune-file.ts';
import type { Gone, PruneMemory } from '../../src/mirror/prune/types.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { GoneTags } from '../../src/queue/gone-tags.ts';
import { Keys } from '../../src/queue/keys.ts';
import { failureOf, never } from '../support/clients.ts';
import { openedRedis } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: never };
const gone = (...tags: readonly string[]): Map<string, Gone> =>
  new Map(tags.map((tag, i) => [tag, { digest: digestOf(tag), since: Date.UTC(2024, 1, 2, 3, 4, 5, i) }]));

/** @param open another view of the same memory, each time */
function suite(open: () => Promise<PruneMemory>): void {
  test('what was written is read, by repository', async () => {
    const memory = await open();
    assert.equal((await memory.read('r.example/none', opts)).size, 0);
    await memory.write('r.example/a', gone('1', '2'), opts);
    await memory.write('r.example/b', gone('3'), opts);
    const again = await open();
    assert.deepEqual(await again.read('r.example/a', opts), gone('1', '2'));
    assert.deepEqual(await again.read('r.example/b', opts), gone('3'));
  });

  test('a write takes the place of all that was there, and nothing is forgotten by writing nothing', async () => {
    const memory = await open();
    await memory.write('r.example/c', gone('1', '2'), opts);
    await memory.write('r.example/c', gone('1'), opts);
    assert.deepEqual(await memory.read('r.example/c', opts), gone('1'));
    await memory.write('r.example/c', gone(), opts);
    assert.equal((await (await open()).read('r.example/c', opts)).size, 0);
  });

  test('two users keep what the other one wrote of other repositories', async () => {
    const [first, second] = [await open(), await open()];
    const names = Array.from({ length: 20 }, (_, i) => `r.example/many/${i}`);
    await Promise.all(names.map((name) => first.write(name, gone(name), opts)));
    await second.write('r.example/other', gone('x'), opts);
    await first.write('r.example/last', gone('y'), opts);
    const last = await open();
    for (const name of names) assert.deepEqual(await last.read(name, opts), gone(name));
    assert.deepEqual(await last.read('r.example/other', opts), gone('x'));
  });
}

describe('in a file', async () => {
  const dir = await tempDir('gantry-prune-');
  after(() => dir[Symbol.asyncDispose]());
  const path = dir.join('state.json');
  suite(() => PruneFile.open(path));

  test('it is replaced as a whole, and leaves nothing beside it', async () => {
    const memory = await PruneFile.open(path);
    await memory.write('r.example/a', gone('1'), opts);
    assert.deepEqual(await readdir(dirname(path)), ['state.json']);
    const text = await readFile(path, 'utf8');
    assert.match(text, /^\{\n {2}"version": 1,\n/);
    assert.match(text, /"since": "2024-02-02T03:04:05.000Z"/);
  });

  for (const [what, text, message] of [
    ['nothing', '', /it is empty$/],
    ['no JSON', '{"version": 1,', /^state file .*bad\.json: not JSON/],
    ['another document', '{"name": "gantry"}', /bad\.json: not a state file of gantry$/],
    ['a later version', '{"version": 2, "repositories": {}}', /version 2, and this gantry reads 1$/],
    [
      'no list of tags',
      '{"version": 1, "repositories": {"a": []}}',
      /repositories\."a": expected an object, got a list$/,
    ],
    [
      'no digest',
      '{"version": 1, "repositories": {"a": {"1": {"since": "2024-01-01"}}}}',
      /"a"\."1": expected a digest/,
    ],
    [
      'no time',
      `{"version": 1, "repositories": {"a": {"1": {"digest": "${digestOf('1')}", "since": "soon"}}}}`,
      /"a"\."1": expected a digest, and since when/,
    ],
  ] as const) {
    test(`a file with ${what} is refused before anything relies on it`, async () => {
      const bad = dir.join('bad.json');
      await writeFile(bad, text);
      const err = await failureOf(PruneFile.open(bad), 'INVALID');
      assert.match(err.message, message);
    });
  }

  test('a directory in its place, and a place that cannot be written, are told of', async () => {
    assert.match((await failureOf(PruneFile.open(dir.path), 'IO')).message, /^cannot read the state file/);
    const memory = await PruneFile.open(dir.join('none', 'state.json'));
    const err = await failureOf(memory.write('r.example/a', gone('1'), opts), 'IO');
    assert.match(err.message, /^cannot write .*state\.json: ENOENT/);
  });
});

describe('in Redis', () => {
  let stack: AsyncDisposableStack;
  let redis: Awaited<ReturnType<typeof openedRedis>>;
  before(async () => {
    stack = new AsyncDisposableStack();
    const server = stack.use(await TestRedis.start());
    redis = stack.use(await openedRedis(server));
  });
  after(() => stack.disposeAsync());
  suite(async () => new GoneTags(redis.redis, new Keys('gantry')));
});
