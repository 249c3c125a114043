import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeState } from '../../../src/app/service.ts';
import { tempDir } from '../../support/temp.ts';

test('what a probe is told of a store does not say where it is', async () => {
  await using dir = await tempDir();
  assert.equal(await storeState(dir.path), 'ok');
  assert.equal(await storeState(dir.join('nothing/here')), 'ENOENT');
});
