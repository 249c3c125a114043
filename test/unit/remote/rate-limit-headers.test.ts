import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRateLimit } from '../../../src/remote/rate-limit-headers.ts';

const HOURS6 = 21_600_000;

describe('RateLimit-Limit and RateLimit-Remaining', () => {
  type Row = readonly [string, string, readonly [number, number, number | undefined]];
  const UNDERSTOOD: readonly Row[] = [
    ['100;w=21600', '76;w=21600', [100, 76, HOURS6]],
    ['100;W=21600', '76', [100, 76, HOURS6]],
    [' 100 ; w=21600 ', ' 76 ', [100, 76, HOURS6]],
    ['100', '76;w=21600', [100, 76, HOURS6]],
    ['100;comment="a";w=60', '0', [100, 0, 60_000]],
    ['100', '76', [100, 76, undefined]],
    ['100, 100;w=60, 1000;w=3600', '76', [100, 76, 60_000]],
    ['100, 1000;w=3600', '76', [100, 76, undefined]],
    ['100, what is this', '76', [100, 76, undefined]],
    ['100;w=60;comment="x, y"', '76', [100, 76, 60_000]],
    ['100;w=0', '76', [100, 76, undefined]],
    ['100;w=-1', '76', [100, 76, undefined]],
    ['100;w=60x', '76', [100, 76, undefined]],
    ['100;w=99999999', '76', [100, 76, undefined]],
    ['100;now=60', '76', [100, 76, undefined]],
    ['100', '150', [100, 100, undefined]],
    ['999999999', '999999999', [999_999_999, 999_999_999, undefined]],
  ];
  for (const [limitField, remainingField, [limit, remaining, periodMs]] of UNDERSTOOD) {
    it(`${limitField} and ${remainingField}`, () =>
      assert.deepEqual(parseRateLimit(limitField, remainingField), { limit, remaining, periodMs }));
  }

  const GARBAGE = ['', ' ', 'a', '-5', '1.5', '1e3', '0x10', '5 5', ';w=60', ',5', '9999999999', `5${' '.repeat(300)}`];
  for (const text of [undefined, ...GARBAGE]) {
    it(`${JSON.stringify(text?.slice(0, 20))} is ignored in either place`, () => {
      assert.equal(parseRateLimit(text, '5'), undefined);
      assert.equal(parseRateLimit('5', text), undefined);
    });
  }

  it('a limit of nothing is none', () => assert.equal(parseRateLimit('0', '0'), undefined));
});
