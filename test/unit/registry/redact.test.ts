import assert from 'node:assert/strict';
import { test } from 'node:test';
import { safeUrl } from '../../../src/registry/redact.ts';
import { MARKER } from './temp.ts';

const CASES: readonly (readonly [string, string])[] = [
  ['https://registry.example/v2/a/manifests/7', 'https://registry.example/v2/a/manifests/7'],
  [`https://user:${MARKER}@registry.example:5000/v2/`, 'https://registry.example:5000/v2/'],
  [`https://cdn.example/blob?X-Amz-Signature=${MARKER}#${MARKER}`, 'https://cdn.example/blob'],
  [`http://${MARKER}@h/`, 'http://h/'],
  ['https://h/\u202e\u0007a', 'https://h/%E2%80%AE%07a'],
  ['not a url', 'not a url'],
  [`user:${MARKER}@host/a`, 'host/a'],
  [`//user:${MARKER}@host/a?sig=${MARKER}`, 'host/a'],
  [`/v2/a/blobs/uploads/1?_state=${MARKER}`, '/v2/a/blobs/uploads/1'],
  [`ftp://u:${MARKER}@h/a`, 'h/a'],
  ['a\nb\u001b[31m\u202e\u{1f600}', 'a\\u{a}b\\u{1b}[31m\\u{202e}\\u{1f600}'],
  [`https://[${MARKER}?x=${MARKER}`.replace(MARKER, 'x'), 'https://[x'],
  ['', ''],
];

for (const [url, expected] of CASES) {
  test(`a message shows ${JSON.stringify(expected)}`, () => {
    assert.equal(safeUrl(url), expected);
    assert.ok(!safeUrl(url).includes(MARKER));
  });
}

test('a URL object is shown the same way', () => {
  assert.equal(safeUrl(new URL(`https://u:${MARKER}@h/a?b=${MARKER}`)), 'https://h/a');
});

test('what is shown is bounded', () => {
  assert.ok(safeUrl(`https://h/${'a'.repeat(100_000)}`).length < 600);
  assert.ok(safeUrl('\u0000'.repeat(100_000)).length < 600);
});
