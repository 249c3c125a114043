/** Which runs a farm lists. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { Farm } from '../../src/queue/farm.ts';
import { never } from '../support/clients.ts';
import { TestRedis } from '../support/redis.ts';

const opts = { signal: never };

test('a run that goes on is listed, however many short ones came after it', async () => {
  await using redis = await TestRedis.start();
  await using farm = await Farm.open({ url: redis.url }, opts);
  const open = (name: string): Promise<string> =>
    farm.submit([imageNode(parseReference(`registry.example/${name}:1`), 'store', '')], { isNew: true });
  const first = await open('first');
  const short: string[] = [];
  for (let i = 0; i < 30; i += 1) short.push(await farm.submit([], { isNew: true })); // over as soon as it is there
  const listed = await farm.runs({ ...opts, limit: 5 });
  assert.deepEqual(
    listed.map(({ state }) => state),
    ['done', 'done', 'done', 'done', 'running'],
    'the newest first',
  );
  assert.equal(listed.at(-1)?.id, first);
  assert.ok(listed.slice(0, 4).every(({ id }) => short.includes(id)));
  assert.equal((await farm.runs(opts)).length, 31);

  for (let i = 0; i < 6; i += 1) await open(`later${i}`);
  const running = await farm.runs({ ...opts, limit: 5 });
  assert.ok(running.every(({ state }) => state === 'running'));
  assert.equal(running.at(-1)?.id, first, 'of more than fit, those that go on longest');
  await farm.cancel(first);
  assert.ok((await farm.runs({ ...opts, limit: 5 })).every(({ id }) => id !== first));
});
