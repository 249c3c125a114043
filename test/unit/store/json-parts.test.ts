import assert from 'node:assert/strict';
import { it } from 'node:test';
import { elementTexts, fieldTexts } from '../../../src/store/json-parts.ts';

it('the parts of an object are as they were written', () => {
  const fields = fieldTexts(
    ' { "b" : 1e2 , "a":{"x":[1,2,"},]"]}, "q\\"\\\\": "\\\\" ,"10":[ ] ,"2":9007199254740993, "":null } ',
  );
  assert.deepEqual(
    [...fields],
    [
      ['b', '1e2'],
      ['a', '{"x":[1,2,"},]"]}'],
      ['q"\\', '"\\\\"'],
      ['10', '[ ]'],
      ['2', '9007199254740993'],
      ['', 'null'],
    ],
  );
  assert.deepEqual([...fieldTexts('{}')], []);
});

it('the parts of an array are as they were written', () => {
  assert.deepEqual(elementTexts('[ {"a": [1, 2]} ,\n"x,y", [] , 1.0,"\\u0041\\""]'), [
    '{"a": [1, 2]}',
    '"x,y"',
    '[]',
    '1.0',
    '"\\u0041\\""',
  ]);
  assert.deepEqual(elementTexts('[]'), []);
  assert.deepEqual(elementTexts('[ \n ]'), []);
});
