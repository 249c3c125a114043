import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../../src/remote/challenge.ts';

type Plain = [scheme: string, params: Record<string, string>, token68?: string];

const plain = (header: string | readonly string[]): Plain[] =>
  parseChallenges(header).map(({ scheme, params, token68 }) =>
    token68 === undefined ? [scheme, Object.fromEntries(params)] : [scheme, Object.fromEntries(params), token68],
  );

const CASES: readonly (readonly [why: string, header: string | readonly string[], expected: readonly Plain[]])[] = [
  [
    "Docker Hub's",
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull"',
    [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/redis:pull',
        },
      ],
    ],
  ],
  [
    'a comma within quotes',
    'Bearer scope="repository:a:pull,push", error="x"',
    [['bearer', { scope: 'repository:a:pull,push', error: 'x' }]],
  ],
  [
    'two challenges in one field',
    'Basic realm="a", Bearer realm="b",service=c',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b', service: 'c' }],
    ],
  ],
  [
    'two fields',
    ['Basic realm="a"', 'Bearer realm="b"'],
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b' }],
    ],
  ],
  [
    'the example of RFC 9110',
    'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
    [
      ['basic', { realm: 'simple' }],
      ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
    ],
  ],
  [
    'schemes without anything',
    'Negotiate, Basic realm="a"',
    [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
    ],
  ],
  [
    'a token68',
    'Negotiate YIIabc+/==, Basic realm="a"',
    [
      ['negotiate', {}, 'YIIabc+/=='],
      ['basic', { realm: 'a' }],
    ],
  ],
  ['a parameter that begins like a token68', 'Basic realm=a', [['basic', { realm: 'a' }]]],
  ['spaces around the equals sign', 'Bearer realm = "a" , service\t=\tb', [['bearer', { realm: 'a', service: 'b' }]]],
  ['empty list elements', ', ,Basic realm="a",, ,charset="UTF-8",', [['basic', { realm: 'a', charset: 'UTF-8' }]]],
  ['names in upper case', 'BEARER Realm="a",SERVICE="b"', [['bearer', { realm: 'a', service: 'b' }]]],
  ['an empty quoted string', 'Basic realm=""', [['basic', { realm: '' }]]],
  ['an escaped backslash at the end', 'Basic realm="a\\\\", x=y', [['basic', { realm: 'a\\', x: 'y' }]]],
  [
    'a URL without quotes',
    'Bearer realm=https://a.example/token?x=y,service=b',
    [['bearer', { realm: 'https://a.example/token?x=y', service: 'b' }]],
  ],
  [
    'missing commas',
    'Bearer realm="a" service="b" Basic realm="c"',
    [
      ['bearer', { realm: 'a', service: 'b' }],
      ['basic', { realm: 'c' }],
    ],
  ],
  ['the first of two equal names', 'Bearer realm="a", realm="b"', [['bearer', { realm: 'a' }]]],
  [
    'names that an object has already',
    'Bearer __proto__="a", constructor="b"',
    [
      [
        'bearer',
        Object.fromEntries([
          ['__proto__', 'a'],
          ['constructor', 'b'],
        ]),
      ],
    ],
  ],
  ['nothing', '', []],
  ['no field', [], []],
  ['only separators', ' , ,\t', []],
  ['a parameter of no scheme', 'realm="a", Basic realm="b"', [['basic', { realm: 'b' }]]],
  [
    'a quote that is never closed',
    'Basic realm="a", Bearer realm="b, service="',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b, service=' }],
    ],
  ],
  ['an open quote at the end', 'Bearer service="a", realm="https://x', [['bearer', { service: 'a' }]]],
  ['an open quote after an escape', 'Bearer service="a", realm="x\\"', [['bearer', { service: 'a' }]]],
  ['a value that is missing', 'Bearer a=1, realm=, service="b"', [['bearer', { a: '1', service: 'b' }]]],
  [
    'a missing value that RFC 9110 takes for a token68',
    'Bearer realm=, service="b"',
    [['bearer', { service: 'b' }, 'realm=']],
  ],
  [
    'garbage between',
    'Basic realm="a", \u00e9(\u0000)[];, Bearer realm="b"',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b' }],
    ],
  ],
  ['quoted garbage with a comma', '"x,Basic realm=", Bearer realm="b"', [['bearer', { realm: 'b' }]]],
  ['a line break in a value', 'Bearer realm="a\r\nx: y", service="b"', [['bearer', { service: 'b' }]]],
];

for (const [why, header, expected] of CASES) {
  test(`a challenge is read: ${why}`, () => {
    assert.deepEqual(plain(header), expected);
  });
}

test('what was read stays when the field is cut at 8 KiB, and half an element is dropped', () => {
  const filler = `x="${'a'.repeat(8100)}"`;
  const [challenge] = parseChallenges(`Bearer realm="r", ${filler}, service=https://${'b'.repeat(400)}.example`);
  assert.deepEqual([...(challenge?.params.keys() ?? [])], ['realm', 'x']);
  assert.deepEqual(plain(`Bearer realm="r", ${filler}, s="${'b'.repeat(400)}"`)[0]?.[1]['s'], undefined);
  const scheme = parseChallenges(`Basic realm="r", ${filler}, ${'Bearer'.repeat(100)}`);
  assert.equal(scheme.length, 1);
});

test('the bound is over all fields together', () => {
  const field = `Basic realm="${'a'.repeat(5000)}"`;
  assert.equal(parseChallenges([field, field, field]).length, 2);
  assert.equal(parseChallenges([field, field])[1]?.params.size, 0);
});

test('there are at most 16 challenges and 32 parameters', () => {
  assert.equal(parseChallenges('Basic realm="a",'.repeat(100)).length, 16);
  assert.equal(parseChallenges(Array.from({ length: 100 }, () => 'Basic')).length, 16);
  const params = Array.from({ length: 100 }, (_, i) => `p${i}=v`).join(',');
  assert.equal(parseChallenges(`Bearer ${params}`)[0]?.params.size, 32);
});

test('hostile fields of full length are read in no time', () => {
  const start = performance.now();
  for (const part of ['"', '\\', '"\\', '=', 'a=', 'a ', 'a="', ',', '" ,', 'a==', '\u00e9', 'a "']) {
    parseChallenges(part.repeat(8192));
    parseChallenges(`Bearer x="${part.repeat(8192)}`);
  }
  assert.ok(performance.now() - start < 1000);
});

test('no text makes it throw', () => {
  const alphabet = ['Basic', 'realm', '=', '"', ',', ' ', '\\', '\t', '\u00e9', '/', '\0', 'a'];
  let seed = 1;
  const random = (n: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % n;
  };
  for (let i = 0; i < 20_000; i += 1) {
    const text = Array.from({ length: random(20) }, () => alphabet[random(alphabet.length)]).join('');
    assert.doesNotThrow(() => parseChallenges(text), text);
  }
});
