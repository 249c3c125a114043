import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ErrorCode } from '../../../src/errors.ts';
import { aboutContent, answerError, errorDetail, parseRetryAfter } from '../../../src/remote/registry-errors.ts';

const now = Date.parse('2024-05-01T12:00:00Z');
const DAY = 24 * 3600_000;

describe('Retry-After', () => {
  const TABLE: readonly (readonly [string | undefined, number | undefined])[] = [
    [undefined, undefined],
    ['', undefined],
    ['0', 0],
    ['5', 5000],
    [' 5 ', 5000],
    ['3600', 3_600_000],
    ['-5', 0],
    ['99999999999', DAY],
    ['999999999999999', DAY],
    ['9999999999999999', undefined],
    ['1.5', undefined],
    ['5s', undefined],
    ['soon', undefined],
    ['soon 2', undefined],
    ['0x10', undefined],
    ['1e3', undefined],
    ['5, 5', undefined],
    ['2024-05-01T12:00:05Z', undefined],
    ['Wed, 01 May 2024 12:00:05 GMT', 5000],
    ['Wednesday, 01-May-24 12:00:05 GMT', 5000],
    ['Wed May  1 12:00:05 2024', 5000],
    ['wed, 01 may 2024 12:00:05 gmt', 5000],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 0],
    ['Fri, 31 Dec 9999 23:59:59 GMT', DAY],
    ['Wed, 99 Nonsense', undefined],
    ['Wed', undefined],
  ];
  for (const [text, ms] of TABLE) {
    it(`${JSON.stringify(text)} is ${ms}`, () => assert.equal(parseRetryAfter(text, now), ms));
  }
});

describe('the text of an error document', () => {
  const bytes = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  const TABLE: readonly (readonly [unknown, string])[] = [
    [{ errors: [{ code: 'DENIED', message: 'no' }] }, 'DENIED: no'],
    [{ errors: [{ code: 'DENIED' }] }, 'DENIED'],
    [{ errors: [{ message: 'no' }, { message: 'second' }] }, 'no'],
    [{ code: 'X', message: 'no list' }, 'X: no list'],
    [{ errors: [] }, ''],
    [{ errors: 'text' }, ''],
    [{ errors: [null] }, ''],
    [{ errors: ['text'] }, ''],
    [{ errors: [{ code: 1, message: { a: 1 } }] }, ''],
    ['null', ''],
    ['[]', ''],
    ['"text"', ''],
    ['', ''],
    ['<html>', ''],
    [{ message: 'a\r\nb\u001b[0m\u202ec\u2028d' }, 'a b [0m c d'],
    [{ message: 'x'.repeat(500) }, 'x'.repeat(200)],
    [{ message: `${'x'.repeat(199)}\u{1f600}` }, `${'x'.repeat(199)}\ufffd`],
  ];
  for (const [document, text] of TABLE) {
    it(`${JSON.stringify(document).slice(0, 60)} is ${JSON.stringify(text.slice(0, 30))}`, () => {
      assert.equal(errorDetail(bytes(document)), text);
    });
  }

  it('repeats no secret, not even half of one at its end', () => {
    const secret = 'a-secret-that-is-long';
    assert.equal(errorDetail(bytes({ message: `you sent ${secret}!` }), [secret]), 'you sent [secret]!');
    assert.ok(!errorDetail(bytes({ message: `${'x'.repeat(190)}${secret}` }), [secret]).includes('a-se'));
  });
});

describe('the error of an answer', () => {
  const answer = { retryAfter: undefined, body: Buffer.alloc(0), host: 'r.example', what: 'manifest 7 of r.example/a' };
  const CODES: readonly (readonly [number, ErrorCode])[] = [
    [206, 'UNSUPPORTED'],
    [400, 'UNSUPPORTED'],
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
    [404, 'NOT_FOUND'],
    [405, 'UNSUPPORTED'],
    [408, 'TIMEOUT'],
    [410, 'NOT_FOUND'],
    [425, 'TIMEOUT'],
    [429, 'RATE_LIMITED'],
    [500, 'UPSTREAM'],
    [501, 'UNSUPPORTED'],
    [502, 'UPSTREAM'],
    [503, 'UPSTREAM'],
    [504, 'UPSTREAM'],
    [599, 'UPSTREAM'],
  ];
  for (const [status, code] of CODES) {
    it(`${status} is ${code}`, () => assert.equal(answerError({ ...answer, status }).code, code));
  }

  it('names who answered what to which request, and when to come back', () => {
    const err = answerError({ ...answer, status: 429, retryAfter: '90' }, now);
    assert.equal(err.message, 'r.example answered 429 for manifest 7 of r.example/a');
    assert.equal(err.hint, 'it asks to be left alone for 90 s, until 2024-05-01T12:01:30Z');
    assert.deepEqual([err.host, err.status, err.retryAfterMs], ['r.example', 429, 90_000]);
  });

  it('takes the digest that it lacks, and keeps all else', () => {
    const bare = answerError({ ...answer, status: 404 }, now);
    const about = aboutContent(bare, 'sha256:x');
    assert.equal(about.digest, 'sha256:x');
    assert.deepEqual(
      [about.code, about.message, about.host, about.status],
      [bare.code, bare.message, bare.host, bare.status],
    );
    assert.equal(aboutContent(about, 'sha256:y'), about);
    assert.equal(aboutContent(bare, undefined), bare);
  });
});
