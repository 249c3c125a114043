import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Blocks } from '../../../../src/server/registry/blocks.ts';

const MANY = 1 << 30;

test('a block that was given back is taken again, unless somebody may still read it', () => {
  const blocks = new Blocks();
  const first = blocks.take(MANY);
  blocks.give(first, true);
  assert.equal(blocks.take(MANY), first);
  blocks.give(first, false);
  assert.notEqual(blocks.take(MANY), first);
});

test('what is short gets no more than it needs', () => {
  assert.equal(new Blocks().take(10).length, 10);
});

test('beyond a bound blocks are small, until some come back', () => {
  const blocks = new Blocks();
  const { length } = blocks.take(MANY);
  const taken: Buffer[] = [];
  for (let block = blocks.take(MANY); block.length === length; block = blocks.take(MANY)) taken.push(block);
  assert.ok(taken.length * length < 256 << 20 && taken.length > 50);
  assert.ok(blocks.take(MANY).length < length / 4);
  const [some] = taken;
  assert.ok(some !== undefined);
  blocks.give(some, false);
  assert.equal(blocks.take(MANY).length, length);
});
