import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lapsing } from '../../../../src/app/pull-through/lapsing.ts';

test('what was told holds for its time, and no longer', () => {
  let now = 0;
  const known = new Lapsing<string>(10, () => now);
  known.set('a', 'one', 10);
  known.set('b', 'never', 0);
  assert.deepEqual([known.get('a'), known.get('b'), known.get('c')], ['one', undefined, undefined]);
  now = 5;
  known.set('a', 'two', 10);
  now = 14;
  assert.equal(known.get('a'), 'two');
  now = 15;
  assert.equal(known.get('a'), undefined);
  known.set('a', 'three', 10);
  known.delete('a');
  assert.equal(known.get('a'), undefined);
});

test('what was told longest ago goes first when there is too much', () => {
  const known = new Lapsing<number>(2);
  known.set('a', 1, 1e9);
  known.set('b', 2, 1e9);
  known.set('a', 3, 1e9);
  known.set('c', 4, 1e9);
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => known.get(key)),
    [3, undefined, 4],
  );
});
