import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { parseJsonTree, printJsonTree } from '../../../src/registry/json-tree.ts';
import { leaks, MARKER, printed } from './temp.ts';

test('JSON comes back with every key, in its order, numbers as they were written', () => {
  const text =
    '{"z":1,"10":{},"2":[],"__proto__":{"a":null},"n":[12345678901234567890,1.50,-0e+9,true],"s":"\\u00e9\\n\\"\\ud800"}';
  const again = printJsonTree(parseJsonTree(text, 'f'));
  assert.equal(again.replace(/\n\t*/g, '').replaceAll('": ', '":'), text.replace('\\u00e9', '\u00e9'));
  assert.equal(printJsonTree(parseJsonTree(again, 'f')), again);
});

const BROKEN: readonly (readonly [text: string, place: string])[] = [
  ['', 'f:1:1'],
  ['{', 'f:1:2'],
  ['{"a":}', 'f:1:6'],
  ['{"a":1,}', 'f:1:8'],
  ['{"a" 1}', 'f:1:6'],
  ['[1 2]', 'f:1:4'],
  ['[1,]', 'f:1:4'],
  ['{}x', 'f:1:3'],
  ['{\n  "a": 01\n}', 'f:2:8'],
  ['{\n"a": tru}', 'f:2:6'],
  ['{"a":"x\ny"}', 'f:1:6'],
  ['{"a":"\\x"}', 'f:1:6'],
  ["{'a':1}", 'f:1:2'],
  ['{"a":1,"b":2,\r\n "a":3}', 'f:2:2'],
  ['[NaN]', 'f:1:2'],
  ['[1.]', 'f:1:2'],
  ['\u00a0{}', 'f:1:1'],
  ['['.repeat(100_000), 'f:1:66'],
];

for (const [text, place] of BROKEN) {
  test(`broken JSON is found at ${place}: ${JSON.stringify(text.slice(0, 30))}`, () => {
    assert.throws(
      () => parseJsonTree(text, 'f'),
      (err) => isCode(err, 'INVALID') && err.message.startsWith(`${place}: `),
    );
  });
}

test('the error for broken JSON shows nothing of it', () => {
  for (const text of [
    `{"auth":"${MARKER}`,
    `{"auth":${MARKER}}`,
    `{"${MARKER}":1,"${MARKER}":2}`,
    MARKER,
    `{"a":"${MARKER}"}${MARKER}`,
  ]) {
    assert.throws(
      () => parseJsonTree(text, 'f'),
      (err) => isCode(err, 'INVALID') && !leaks(printed(err)),
    );
  }
});

test('a long string is no trouble', () => {
  const long = 'a\\n'.repeat(500_000);
  const tree = parseJsonTree(`["${long}"]`, 'f');
  assert.equal(tree.kind === 'array' && tree.items[0]?.kind === 'string' && tree.items[0].value.length, 1_000_000);
});
