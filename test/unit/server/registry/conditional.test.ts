import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../../src/oci/digest.ts';
import { isKnown, spanOf } from '../../../../src/server/registry/conditional.ts';

const DIGEST = digestOf('x');
const TAG = `"${DIGEST}"`;

test('If-None-Match: one, one of several, weak, any', () => {
  const given = (value: string): boolean => isKnown({ 'if-none-match': value }, DIGEST);
  for (const value of [TAG, `W/${TAG}`, `"a", ${TAG}`, `"a",W/${TAG} , "b"`, '*', ' * '])
    assert.ok(given(value), value);
  for (const value of ['', '"a"', DIGEST, `"${DIGEST}`, `w/${TAG}`, `"*"`]) assert.ok(!given(value), value);
  assert.ok(!isKnown({}, DIGEST));
});

const part = (start: number, end: number) => ({ start, end, part: true });
const whole = (size: number) => ({ start: 0, end: size, part: false });
const spans = (range: string, size = 100) => spanOf({ range }, DIGEST, size);

test('a part from a place, to a place, or at the end', () => {
  assert.deepEqual(spans('bytes=0-9'), part(0, 10));
  assert.deepEqual(spans('bytes=10-'), part(10, 100));
  assert.deepEqual(spans('bytes=99-99'), part(99, 100));
  assert.deepEqual(spans('bytes=-1'), part(99, 100));
  assert.deepEqual(spans('BYTES= 5-6 '), part(5, 7));
});

test('a part that goes beyond the end is cut there', () => {
  assert.deepEqual(spans('bytes=90-1000'), part(90, 100));
  assert.deepEqual(spans('bytes=-1000'), part(0, 100));
  assert.deepEqual(spans(`bytes=0-${'9'.repeat(400)}`), part(0, 100));
});

test('a part outside cannot be satisfied', () => {
  for (const range of ['bytes=100-', 'bytes=100-200', 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
    assert.equal(spans(range), undefined, range);
  }
  for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-5']) assert.equal(spans(range, 0), undefined, range);
});

test('what is several, or no range, is answered with everything', () => {
  for (const range of [
    'bytes=0-1,5-6',
    'bytes=',
    'bytes=-',
    'bytes=5-4',
    'bytes=a-b',
    'bytes=1',
    'lines=0-1',
    '',
    '0-1',
  ]) {
    assert.deepEqual(spans(range), whole(100), range);
  }
  assert.deepEqual(spanOf({}, DIGEST, 7), whole(7));
});

test('If-Range counts only when it is the very same tag', () => {
  const given = (value: string) => spanOf({ range: 'bytes=1-', 'if-range': value }, DIGEST, 10);
  assert.deepEqual(given(TAG), part(1, 10));
  for (const value of [`W/${TAG}`, '"a"', 'Wed, 21 Oct 2015 07:28:00 GMT', ''])
    assert.deepEqual(given(value), whole(10), value);
});
