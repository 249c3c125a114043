/** Tags as versions, ranges of them, and the patterns and globs of a mirror file. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError, messageOf } from '../../../src/errors.ts';
import { compileGlob, compilePattern } from '../../../src/mirror/tags/pattern.ts';
import { compareVersions, isImmutable, parseVersion, satisfies } from '../../../src/mirror/tags/select.ts';

const VERSIONS: readonly (readonly [tag: string, numbers: readonly number[], prerelease: string, variant: string])[] = [
  ['1.2', [1, 2], '', ''],
  ['20.04', [20, 4], '', ''],
  ['v2', [2], '', ''],
  ['16.2-bookworm', [16, 2], '', 'bookworm'],
  ['1.2.3.4', [1, 2, 3, 4], '', ''],
  ['7.2-rc3-alpine3.18', [7, 2], 'rc3', 'alpine3.18'],
  ['3.15.0a2-slim-trixie', [3, 15, 0], 'a2', 'slim-trixie'],
  ['1.0.0-alpha.1', [1, 0, 0], 'alpha.1', ''],
  ['3.13-rc', [3, 13], 'rc', ''],
  ['2.0.0.RC1', [2, 0, 0], 'rc1', ''],
  ['8.0-M01', [8, 0], 'm01', ''],
  ['1.25.3-alpine-slim', [1, 25, 3], '', 'alpine-slim'],
  ['20240812', [20_240_812], '', ''],
  ['3-beta.2-slim', [3], 'beta.2', 'slim'],
  ['12_5', [12], '', '5'],
];

test('versions are read tolerantly', () => {
  for (const [tag, numbers, prerelease, variant] of VERSIONS) {
    assert.deepEqual(parseVersion(tag), { numbers, prerelease, variant }, tag);
  }
});

test('what is no version is none', () => {
  for (const tag of [
    'latest',
    'bookworm',
    '32bit',
    '1a2b3c4d',
    'sha-1234',
    'bookworm-20240812',
    'v',
    '',
    '1234567890123456',
  ]) {
    assert.equal(parseVersion(tag), undefined, tag);
  }
});

test('versions have one order: pre-releases below, variants beside, digits as numbers', () => {
  const ordered = [
    ...'alpine latest 1.9 1.10-dev 1.10-alpha.2 1.10-alpha.10 1.10-beta 1.10-rc9 1.10-rc10'.split(' '),
    ...'1.10-alpine3.9 1.10-alpine3.21 1.10-slim 1.10 1.10.0 2-rc1 2 20.04'.split(' '),
  ];
  for (const [i, a] of ordered.entries()) {
    for (const [j, b] of ordered.entries()) {
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} and ${b}`);
    }
  }
});

const RANGES: readonly (readonly [range: string, inside: string, outside: string])[] = [
  ['>=1.2 <2', '1.2 1.2.0 1.9-alpine v1.2.3 2.0-rc1', '1.1.9 1.2-rc1 2 2.0-alpine latest'],
  ['>= 1.2, < 2', '1.2 1.9', '1.1 2'],
  ['^1.4', '1.4 1.99.1', '1.3 2.0 0.4'],
  ['^0.3', '0.3.0 0.3.9', '0.4 0.2 1.3'],
  ['^0.0.3', '0.0.3', '0.0.4 0.1'],
  ['^0', '0.1 0.9.9', '1.0'],
  ['~1.4', '1.4.0 1.4.9-slim', '1.5 1.3'],
  ['~1.4.2', '1.4.2 1.4.9', '1.4.1 1.5'],
  ['~1', '1.0 1.9', '2 0.9'],
  ['1.x', '1 1.9.2', '2 0.9'],
  ['1.2.*', '1.2 1.2.9', '1.3 1.1'],
  ['>1.x', '2 3.1', '1.9 1.0'],
  ['<=1.x', '1.9 0.1', '2.0'],
  ['*', '1 99.9 1-rc1', 'latest'],
  ['1.2 - 1.4', '1.2 1.3.9 1.4', '1.1 1.4.1'],
  ['1.x || >=3', '1.5 3 4.1', '2.9'],
  ['=16.2', '16.2 16.2.0 16.2-bookworm', '16.2.1 16.2-rc1'],
  ['16.2', '16.2', '16.20'],
  ['!=1.5 >1', '1.6', '1.5 1.5-alpine 1'],
  ['>=20.04', '20.04 22.04', '18.04'],
  ['>=3.13.0rc1', '3.13.0rc3 3.13.0', '3.13.0a1'],
];

test('ranges hold what they say', () => {
  for (const [range, inside, outside] of RANGES) {
    for (const tag of inside.split(' ')) assert.equal(satisfies(tag, range), true, `${tag} is in ${range}`);
    for (const tag of outside.split(' ')) assert.equal(satisfies(tag, range), false, `${tag} is not in ${range}`);
  }
});

test('what is no range is told', () => {
  for (const [range, why] of [
    ['', /a part of it is empty/],
    ['>=', /a version is missing after ">="/],
    ['>=1 ||', /a part of it is empty/],
    ['latest', /"latest" is no version/],
    ['>=1.2 <two', /"two" is no version/],
    ['!=1.x', /selects nothing that can be said/],
  ] as const) {
    assert.throws(() => satisfies('1', range), { code: 'INVALID', message: why }, range);
  }
});

const PATTERNS: readonly (readonly [pattern: string, matches: string, not: string])[] = [
  ['3\\.\\d+', '3.1 3.21', '3 13.1 3.1-alpine'],
  ['3|edge', '3 edge', '3.1 edges'],
  ['v(?P<major>\\d+)', 'v1', '1'],
  ['v(?<major>\\d+)', 'v1', '1'],
  ['(?i)RC.*', 'rc1 RC2 rC', '1rc'],
  ['a(?i)b|c', 'ab aB c C', 'Ab bc'],
  ['(a(?i)b)c', 'aBc', 'aBC'],
  ['(?i:a)b', 'Ab ab', 'AB'],
  ['(?i)a(?-i)b', 'Ab ab', 'AB'],
  ['[[:digit:]]+[[:alpha:]]?', '12 12a', 'a a1'],
  ['[^[:upper:]]+', 'abc', 'Abc'],
  ['[[:^digit:]]+', 'abc', 'a1'],
  ['[]a]+', 'a]', 'b'],
  ['[\\w-.]+', 'a-b.c', 'a+b'],
  ['[a-]+', 'a-', 'b'],
  ['\\Qa.b\\E+', 'a.b a.bb', 'aXb'],
  ['\\Av1\\z', 'v1', 'v12'],
  ['\\pL\\p{Lu}\\p{Greek}', 'aAα', 'aaa'],
  ['\\x41\\x{42}\\-\\_', 'AB-_', 'ab'],
  ['a{2}b{1,}c{0,1}', 'aab aabbc', 'ab'],
  ['a{,2}', 'a{,2}', 'a aa'],
  ['(?U)a+', 'aaa', 'b'],
  ['(?s).+', 'abc', ''],
  ['', '', 'a'],
];

test("Go's regular expressions mean here what they mean there, and hold for the whole tag", () => {
  for (const [pattern, matches, not] of PATTERNS) {
    const regex = compilePattern(pattern);
    for (const text of matches.split(' ')) assert.match(text, regex, pattern);
    for (const text of not.split(' ')) assert.doesNotMatch(text, regex, pattern);
  }
});

test('a pattern that cannot be used says which part', () => {
  for (const [pattern, why] of [
    ['v(?=1)', '"(?=" looks ahead or behind'],
    ['(?<!a)b', '"(?<!" looks ahead or behind'],
    ['(a)\\1', '"\\1" refers back'],
    ['a\\Z', '"\\Z" is not known to RE2'],
    ['\\C', '"\\C" is a single byte'],
    ['\\p{Klingon}', '"\\p{Klingon}" is not a class'],
    ['[[:foo:]]', '"[:foo:]" is not a class'],
    ['[a-', '"[a-" has no closing "]"'],
    ['[a-\\d]', '"a-\\d" is a range that ends with a class'],
    ['(a', '"(" is not closed'],
    ['a)', '")" closes a group'],
    ['(?x)a', '"(?x" is not a group'],
    ['a{2000}', '"{2000}" repeats more than'],
    ['\\y', '"\\y" is not an escape'],
    ['a\\', '"\\" stands at the end'],
    ['a**', 'nothing to repeat'],
    ['*', 'nothing to repeat'],
    ['[z-a]', 'range out of order'],
  ] as const) {
    assert.throws(
      () => compilePattern(pattern),
      (err) => err instanceof GantryError && err.code === 'INVALID' && messageOf(err).includes(why),
      pattern,
    );
  }
});

test('globs name tags that never change', () => {
  for (const [glob, matches, not] of [
    ['v*.*.*', 'v1.2.3 v10.0.0-rc1', 'v1.2 1.2.3 latest'],
    ['*-[0-9][0-9]', 'a-01', 'a-1'],
    ['[!v]?', '1a', 'v1 1'],
    ['1.2', '1.2', '1x2'],
  ] as const) {
    for (const tag of matches.split(' ')) assert.equal(isImmutable(tag, ['none', glob]), true, `${tag} is ${glob}`);
    for (const tag of not.split(' ')) assert.equal(isImmutable(tag, ['none', glob]), false, `${tag} is not ${glob}`);
  }
  assert.equal(isImmutable('v1', []), false);
  assert.throws(() => compileGlob('a[b'), { code: 'INVALID', message: /"\[b" has no closing "\]"/ });
});
