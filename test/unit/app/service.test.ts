import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oncePerMinute, storeState } from '../../../src/app/service.ts';
import { tempDir } from '../../support/temp.ts';

test('what a probe is told of a store does not say where it is', async () => {
  await using dir = await tempDir();
  assert.equal(await storeState(dir.path), 'ok');
  assert.equal(await storeState(dir.join('nothing/here')), 'ENOENT');
});

test('a line is logged once, and what is remembered of lines has a bound', () => {
  const lines: string[] = [];
  const log = oncePerMinute((line) => lines.push(line));
  for (let i = 0; i < 1_000; i += 1) log(`line ${i}`);
  for (const line of ['line 0', 'line 999']) log(line);
  assert.equal(lines.length, 1_000);
  log('one more');
  log('line 0'); // was forgotten for it
  log('line 999');
  assert.deepEqual(lines.slice(1_000), ['one more', 'line 0']);
});
