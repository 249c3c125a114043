import assert from 'node:assert/strict';
import { test } from 'node:test';
import { identityOf, userOf } from '../../../src/registry/credentials.ts';
import { Secret } from '../../../src/secret.ts';
import { secretsIn } from '../../../src/registry/secret.ts';
import { leaks, MARKER, printed } from './temp.ts';

test('a secret shows in no way of printing it', () => {
  const secret = new Secret(MARKER);
  assert.equal(secret.reveal(), MARKER);
  const holders = [
    secret,
    { secret },
    [secret],
    new Map([['a', secret]]),
    new Error(`x ${String(secret)}`, { cause: { secret } }),
  ];
  for (const holder of holders) assert.ok(!leaks(printed(holder)));
  assert.equal(`${String(secret)} ${JSON.stringify({ secret })}`, '[secret] {"secret":"[secret]"}');
  assert.deepEqual(Object.getOwnPropertyNames(secret), []);
});

test('the identity of credentials is equal for equal ones and tells nothing', () => {
  const basic = (username: string, password: string) =>
    identityOf({ kind: 'basic', username, password: new Secret(password) });
  assert.equal(basic('a', MARKER), basic('a', MARKER));
  const token = new Secret(MARKER);
  const all = [
    basic('a', MARKER),
    basic('b', MARKER),
    basic('a', 'other'),
    basic('a","', MARKER),
    identityOf({ kind: 'identity-token', username: 'a', token }),
    identityOf({ kind: 'identity-token', token }),
    identityOf({ kind: 'registry-token', token }),
    identityOf({ kind: 'anonymous' }),
  ];
  assert.equal(new Set(all).size, all.length);
  assert.ok(!all.some(leaks));
});

test('the user of credentials is a name, never the secret', () => {
  const token = new Secret(MARKER);
  assert.deepEqual(
    [
      userOf({ kind: 'anonymous' }),
      userOf({ kind: 'basic', username: 'alice', password: token }),
      userOf({ kind: 'basic', username: MARKER, password: token }),
      userOf({ kind: 'basic', username: '', password: token }),
      userOf({ kind: 'identity-token', username: 'alice', token }),
      userOf({ kind: 'identity-token', token }),
      userOf({ kind: 'registry-token', token }),
    ],
    ['anonymous', 'alice', 'token', 'token', 'alice', 'token', 'token'],
  );
});

test('what is secret in a header is also what it encodes', () => {
  const pair = Buffer.from('alice:pass:word').toString('base64');
  assert.deepEqual(secretsIn(new Secret(`basic ${pair}`)), [`basic ${pair}`, pair, 'alice:pass:word', 'pass:word']);
  assert.deepEqual(secretsIn(new Secret('Bearer abc.def')), ['Bearer abc.def', 'abc.def']);
  assert.deepEqual(secretsIn(new Secret('key')), ['key', '']);
});
