import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageList } from '../../../src/cli/image-list.ts';
import { isCode } from '../../../src/errors.ts';

const namesOf = (text: string): string[] => parseImageList(text, 'list').map(({ name }) => name);

test('a list has an image a line, comments and blank lines', () => {
  assert.deepEqual(namesOf(''), []);
  assert.deepEqual(namesOf('# only\n\n   \n\t# this\n'), []);
  assert.deepEqual(namesOf('\ufeffredis\r\n\r\n  a.example/b:1 # why\n#c\nx#y'), [
    'docker.io/library/redis:latest',
    'a.example/b:1',
    'docker.io/library/x:latest',
  ]);
});

test('a line that is no reference is named, and the place in it marked', () => {
  for (const [text, line, marked] of [
    ['redis\n\na.example/UP', 3, '  a.example/UP\n            ^'],
    ['two words', 1, '  two words\n     ^'],
    ['https://a.example/b', 1, '  https://a.example/b\n  ^'],
  ] as const) {
    assert.throws(
      () => parseImageList(text, 'dir/list'),
      (err) =>
        isCode(err, 'INVALID') && err.message.startsWith(`dir/list:${line}: invalid`) && err.message.endsWith(marked),
      text,
    );
  }
});
