import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidArgumentError } from '@commander-js/extra-typings';
import { parseBytes, parseCount, parseDuration } from '../../../src/cli/options.ts';
import { bytesText, durationText, shortDigest, tableText } from '../../../src/cli/units.ts';
import { digestOf } from '../../../src/oci/digest.ts';

test('bytes are read with binary units', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['1', 1],
    ['64', 64],
    ['500K', 512_000],
    ['500k', 512_000],
    ['10M', 10_485_760],
    ['1.5GiB', 1_610_612_736],
    ['2 mb', 2_097_152],
    ['1T', 1_099_511_627_776],
  ];
  for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, text);
  for (const text of ['', '0', '-1', '1X', 'M', '1.', '1e3', '0x10', '0.5', '1 0', 'Infinity', '9'.repeat(400)]) {
    assert.throws(() => parseBytes(text), InvalidArgumentError, text);
  }
});

test('durations are read with a unit, always', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['250ms', 250],
    ['1.5s', 1500],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['0s', 0],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
  for (const text of ['', '10', 's', '-1s', '1 s', '1S', '1e3s', '1w']) {
    assert.throws(() => parseDuration(text), InvalidArgumentError, text);
  }
});

test('counts are whole numbers from a least one', () => {
  assert.equal(parseCount(1)('16'), 16);
  assert.equal(parseCount(0)('0'), 0);
  for (const text of ['0', '-1', '1.5', '', ' 1', '1e3', '0x1', '9999999999']) {
    assert.throws(() => parseCount(1)(text), InvalidArgumentError, text);
  }
});

test('numbers are shown with IEC units', () => {
  assert.deepEqual([0, 1023, 1024, 38_168_166, 2 ** 60].map(bytesText), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '36.4 MiB',
    '1024.0 PiB',
  ]);
  assert.deepEqual([0, 1640, 59_940, 60_000, 3_725_000].map(durationText), [
    '0.0 s',
    '1.6 s',
    '59.9 s',
    '1 min 0 s',
    '1 h 2 min',
  ]);
  assert.match(shortDigest(digestOf('x')), /^sha256:[0-9a-f]{12}$/);
});

test('a table has columns as wide as their content, and nothing behind the last', () => {
  assert.equal(
    tableText([
      ['A', 'BB', 'C'],
      ['aaa', 'b', 'cc'],
      ['', 'b', ''],
    ]),
    'A    BB  C\naaa  b   cc\n     b\n',
  );
  assert.equal(tableText([]), '');
});
