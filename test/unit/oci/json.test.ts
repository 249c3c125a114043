import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseStrictJson } from '../../../src/oci/json.ts';

const parse = (text: string): unknown => parseStrictJson(Buffer.from(text), 'thing');

test('what JSON.parse reads is read alike', () => {
  const texts = [
    '{}',
    ' [ ] ',
    'null',
    'true',
    '"x"',
    '-0',
    '1.5e3',
    '0',
    '-12.25E-2',
    '{"a":[1,{"b":null}],"c":"\\u00e9\\n\\ud83d\\ude00"}',
    '\t\r\n{"a" : 1 , "b":[ true,false ]}\n',
    '{"":0,"0":1,"constructor":2,"toString":3}',
    '{"a":{"x":1},"b":{"x":2}}',
    '"\\\\\\""',
    '"\u2028 \u{1f600}"',
  ];
  for (const text of texts) assert.deepEqual(parse(text), JSON.parse(text), text);
});

test('what is no JSON is refused with line and column', () => {
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    ['{', /expected a field name, found the end \(line 1, column 2\)/],
    ['{"a"}', /expected ":", found "}" \(line 1, column 5\)/],
    ['{"a":1,}', /expected a field name, found "}" \(line 1, column 8\)/],
    ['{\n "a": x\n}', /expected a value, found "x" \(line 2, column 7\)/],
    ['[1,]', /expected a value/],
    ['[1 2]', /expected "," or "]", found "2"/],
    ['{"a":1', /expected "," or "}", found the end/],
    ["{'a':1}", /expected a field name, found "'"/],
    ['{a:1}', /expected a field name, found "a"/],
    ['{} {}', /more after the end of the value \(line 1, column 4\)/],
    ['[]\0', /more after the end/],
    ['01', /more after the end/],
    ['+1', /expected a value/],
    ['.5', /expected a value/],
    ['NaN', /expected a value/],
    ['-Infinity', /expected a value/],
    ['1e999', /out of range/],
    ['// c\n1', /expected a value/],
    ['"abc', /a string without an end \(line 1, column 1\)/],
    ['"a\\', /a string without an end/],
    ['"a\nb"', /a control character in a string \(line 1, column 3\)/],
    ['"\\x"', /bad escape/],
    ['"\\u12"', /bad escape/],
    ['"\\ud800"', /half of a surrogate pair/],
    [' ', /found the end/],
    ['<html>', /expected a value, found "<" \(line 1, column 1\)/],
  ];
  for (const [text, message] of cases) assert.throws(() => parse(text), { code: 'MALFORMED', message }, text);
});

test('empty bytes, a byte order mark and invalid UTF-8 are refused', () => {
  assert.throws(() => parse(''), { code: 'MALFORMED', message: 'thing: it is empty' });
  assert.throws(() => parse('\uFEFF{}'), { code: 'MALFORMED', message: /byte order mark/ });
  for (const bytes of [
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
    [0xfe, 0xff, 0, 0x7b],
  ]) {
    assert.throws(() => parseStrictJson(Uint8Array.from(bytes), 'thing'), { code: 'MALFORMED', message: /UTF-8/ });
  }
});

test('a field that stands there twice is refused everywhere', () => {
  for (const text of [
    '{"a":1,"a":1}',
    '[{"x":{"a":1,"b":2,"a":3}}]',
    '{"a":1,"\\u0061":2}',
    '{"annotations":{"a":"1","a":"2"}}',
    '{"config":{"Labels":{"a":"1","a":"2"}}}',
    '{"__proto__":1,"__proto__":2}',
  ]) {
    assert.throws(() => parse(text), { code: 'MALFORMED', message: /stands there twice/ }, text);
  }
  assert.throws(() => parse('{\n"a":1,\n  "a":2}'), { message: /"a" stands there twice \(line 3, column 3\)/ });
});

test('fields that differ only in case are refused, but not in maps whose keys are data', () => {
  for (const text of [
    '{"manifests":[],"Manifests":[]}',
    '{"layers":[{"size":1,"SIZE":2}]}',
    '{"layers":[],"layer\u017f":[]}',
    '{"k":1,"\u212a":2}',
    '{"annotations":{"a":{"x":1,"X":2}}}',
  ]) {
    assert.throws(() => parse(text), { code: 'MALFORMED', message: /twice, in upper and lower case/ }, text);
  }
  for (const text of [
    '{"annotations":{"a":"1","A":"2"}}',
    '{"config":{"Labels":{"a":"1","A":"2"},"Volumes":{"/Data":{},"/data":{}}}}',
    '{"labels":{"a":"1","A":"2"}}',
  ]) {
    assert.deepEqual(parse(text), JSON.parse(text));
  }
});

test('a key __proto__ becomes data and touches no prototype', () => {
  const value = parse(
    '{"__proto__":{"polluted":true},"a":{"__proto__":[1]},"constructor":{"prototype":{"polluted":1}}}',
  );
  assert(typeof value === 'object' && value !== null);
  assert.deepEqual(Object.keys(value), ['__proto__', 'a', 'constructor']);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal('polluted' in value, false);
  assert.equal('polluted' in {}, false);
});

test('nesting is read down to 64 and refused below', () => {
  const nested = (depth: number, open: string, close: string): string => open.repeat(depth) + '1' + close.repeat(depth);
  assert.doesNotThrow(() => parse(nested(64, '[', ']')));
  assert.doesNotThrow(() => parse(nested(64, '{"a":', '}')));
  for (const text of [nested(65, '[', ']'), nested(65, '{"a":', '}'), '['.repeat(1e6), '{"a":'.repeat(1e6)]) {
    assert.throws(() => parse(text), { code: 'MALFORMED', message: /nested deeper than 64/ });
  }
});

test('megabytes of anything end soon', () => {
  const n = 1_000_000;
  const start = performance.now();
  assert.equal(parse(`"${'a'.repeat(4 * n)}"`), 'a'.repeat(4 * n));
  assert.equal(parse(`"${'\\n'.repeat(n)}"`), '\n'.repeat(n));
  assert.equal(parse(`"${'é'.repeat(n)}"`), 'é'.repeat(n));
  assert.throws(() => parse(`"${'\\'.repeat(n + 1)}`), { code: 'MALFORMED' });
  assert.throws(() => parse(`"${'a'.repeat(n)}`), { code: 'MALFORMED' });
  assert.throws(() => parse('9'.repeat(n)), { message: /out of range/ });
  assert.equal(parse(`0.${'9'.repeat(n)}`), 1);
  assert.equal(parse(`${' '.repeat(n)}1${'\n'.repeat(n)}`), 1);
  assert.deepEqual(
    parse(`[${'0,'.repeat(n)}0]`),
    Array.from({ length: n + 1 }, () => 0),
  );
  const keys = Array.from({ length: 200_000 }, (_, i) => `"k${i}":0`).join(',');
  assert.equal(Object.keys(parse(`{${keys}}`) ?? {}).length, 200_000);
  assert(performance.now() - start < 15_000);
});

test('who keeps a string does not keep the document that it stood in', () => {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  assert(typeof collect === 'function');
  const used = (): number => {
    collect();
    return process.memoryUsage().heapUsed + process.memoryUsage().external;
  };
  const digest = `sha256:${'a'.repeat(64)}`;
  const large = `{"digest":"${digest}","annotation":"${'x'.repeat(2 << 20)}"}`;
  const before = used();
  const kept = Array.from({ length: 60 }, () => Object.entries(parse(large) ?? {})[0]);
  const after = used();
  assert.equal(kept.length, 60);
  assert(after - before < 30 << 20, `${(after - before) >> 20} MiB`);
});

test('a message is short and in one line whatever the key is', () => {
  const key = JSON.stringify('\u0007\n\u202e'.repeat(10_000));
  assert.throws(() => parse(`{${key}:1,${key}:2}`), { message: /^[\x20-\x7e]{1,1200}$/ });
});
