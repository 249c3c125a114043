/** Files of pull-through rules: what they mean, and what is wrong with them, in words and at its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { originOf } from '../../../src/app/pull-through/rules.ts';
import { GantryError } from '../../../src/errors.ts';
import { matchesPath } from '../../../src/mirror/pull-through/match.ts';
import { readPullThroughFile } from '../../../src/mirror/pull-through/read.ts';
import type { PullThroughFile } from '../../../src/mirror/pull-through/types.ts';

const readFile = (path: string): string => {
  throw new Error(`there is no file ${path}`);
};

const read = (text: string, env: Record<string, string> = {}): PullThroughFile =>
  readPullThroughFile(text, 'rules.yml', { env, readFile });

function failure(text: string): GantryError {
  try {
    read(text);
  } catch (err) {
    assert.ok(err instanceof GantryError, String(err));
    assert.deepEqual([err.code, err.origin], ['INVALID', 'user']);
    return err;
  }
  return assert.fail(`this was taken:\n${text}`);
}

/** Where repositories are fetched from; `-` for nowhere. */
const origins = (text: string, ...repositories: readonly string[]): string[] => {
  const { rules } = read(text);
  return repositories.map((each) => originOf(rules, each)?.repository ?? '-');
};

const one = (match: string): string => `rules: [{ match: '${match}' }]`;

const MATCHES: readonly (readonly [match: string, yes: readonly string[], no: readonly string[]])[] = [
  [
    'ghcr.io/**',
    ['ghcr.io/a', 'ghcr.io/a/b/c'],
    ['ghcr.io.evil.example/a', 'docker.io/library/a', 'quay.io/ghcr.io/a'],
  ],
  ['ghcr.io/acme/*', ['ghcr.io/acme/a'], ['ghcr.io/acme/a/b', 'ghcr.io/acme', 'ghcr.io/acme2/a']],
  ['ghcr.io/a/**/z', ['ghcr.io/a/b/z', 'ghcr.io/a/b/c/z'], ['ghcr.io/a/z', 'ghcr.io/a/b/zz']],
  ['ghcr.io/a.b/app-*', ['ghcr.io/a.b/app-1'], ['ghcr.io/acb/app-1', 'ghcr.io/a.b/app']],
  ['docker.io/redis', ['docker.io/library/redis'], ['docker.io/acme/redis']],
  ['docker.io/*', ['docker.io/library/redis'], ['docker.io/acme/redis']],
  ['docker.io/**', ['docker.io/library/redis', 'docker.io/acme/redis'], []],
  ['index.docker.io/library/*', ['docker.io/library/redis'], []],
  ['localhost:5000/*', ['localhost:5000/a'], ['localhost/a', 'localhost:5001/a', 'localhost:50000/a']],
];

for (const [match, yes, no] of MATCHES) {
  test(`match ${match}`, () => {
    assert.deepEqual(origins(one(match), ...yes), yes);
    assert.deepEqual(
      origins(one(match), ...no),
      no.map(() => '-'),
    );
  });
}

test('a path matches as the pattern says, wherever its stars stand', () => {
  // Every path of up to four parts of these, against every pattern of up to four of those.
  const upToFour = (each: readonly string[]): string[] => {
    const longer = (some: readonly string[]): string[] => some.flatMap((one) => each.map((part) => `${one}/${part}`));
    const two = longer(each);
    return [...each, ...two, ...longer(two), ...longer(longer(two))];
  };
  const paths = upToFour(['a', 'ab', 'bab']);
  for (const match of upToFour(['a', '*b', '**', '*a*'])) {
    const wanted = new RegExp(`^${match.replaceAll(/\*+/g, (stars) => (stars === '**' ? '.+' : '[^/]*'))}$`);
    const pattern = match.split('/');
    const wrong = paths.filter((path) => matchesPath(pattern, path) !== wanted.test(path));
    assert.deepEqual(wrong, [], match);
  }
});

test('many stars cost no more than few', () => {
  const many = one(`ghcr.io/${'**/'.repeat(12)}z`);
  assert.deepEqual(origins(many, `ghcr.io/${'a/'.repeat(110)}y`), ['-']);
  assert.deepEqual(origins(many, `ghcr.io/${'a/'.repeat(12)}z`), [`ghcr.io/${'a/'.repeat(12)}z`]);
  assert.deepEqual(origins(one(`ghcr.io/${'*a'.repeat(30)}b`), `ghcr.io/${'a'.repeat(200)}`), ['-']);
});

test('the first rule that matches counts', () => {
  const { rules } = read(`
defaults: { fresh: 1h }
rules:
  - { match: ghcr.io/acme/*, fresh: 10s }
  - { match: ghcr.io/** }
  - { match: ghcr.io/other, fresh: 1s }
`);
  const freshOf = (repository: string) => originOf(rules, repository)?.freshMs;
  assert.deepEqual(['ghcr.io/acme/a', 'ghcr.io/other', 'quay.io/a'].map(freshOf), [10_000, 3_600_000, undefined]);
  assert.equal(originOf(read(one('ghcr.io/**')).rules, 'ghcr.io/a')?.freshMs, 300_000);
});

test('upstream is asked in the place of the registry', () => {
  const text = `rules: [{ match: 'ghcr.io/**', upstream: '\${MIRROR}/ghcr/' }, { match: 'docker.io/**', upstream: docker.io }]`;
  const { rules } = read(text, { MIRROR: 'mirror.example:5000' });
  const origin = originOf(rules, 'ghcr.io/acme/a');
  assert.deepEqual([origin?.repository, origin?.registry], ['mirror.example:5000/ghcr/acme/a', 'mirror.example:5000']);
  assert.equal(originOf(rules, 'docker.io/library/redis')?.repository, 'docker.io/library/redis');
});

test('credentials are as in a mirror file', () => {
  const { creds } = read(`
creds: [{ registry: ghcr.io, user: me, pass: '{{ env "PASS" }}', reqPerSec: 5 }]
rules: [{ match: 'ghcr.io/**' }]
`);
  assert.deepEqual([creds[0]?.registry, creds[0]?.user, creds[0]?.reqPerSec], ['ghcr.io', 'me', 5]);
});

test('a problem is file, line, column, path and message, then the line with a caret', () => {
  const text = `version: 1
rules:
  - match: ghcr.io/acme/*
    freshh: 5m
`;
  assert.equal(
    failure(text).message,
    ['rules.yml:4:5: rules.0.freshh: unknown key; did you mean fresh?', '      freshh: 5m', '      ^'].join('\n'),
  );
});

const WRONG: readonly (readonly [text: string, why: RegExp])[] = [
  ['', /the file is empty; it needs at least "rules:"/],
  ['rules: []', /rules: expected at least one item/],
  ['rules: [{ fresh: 5m }]', /rules\.0\.match: missing: repositories, such as/],
  [one('*.io/acme/*'), /the host is no pattern; write a rule for each registry/],
  [one('**'), /expected host\/path; for all of a registry write host\/\*\*/],
  [one('acme/*'), /expected a registry, host\[:port\]/],
  [one('ghcr.io/'), /a part of the path is empty/],
  [one('ghcr.io/a//b'), /a part of the path is empty/],
  [one('ghcr.io/Acme/*'), /"Acme" is no part of a repository name/],
  [one('ghcr.io/a**'), /"a\*\*" is no part of a repository name/],
  [one('ghcr.io/app:1'), /"app:1" is no part of a repository name/],
  ['rules: [{ match: ghcr.io/a, fresh: soon }]', /expected a duration, such as 30s/],
  ['rules: [{ match: ghcr.io/a, upstream: mirror }]', /upstream: expected a registry/],
  ['rules: [{ match: ghcr.io/a, upstream: "http://mirror.example" }]', /upstream: /],
  ['rules: [{ match: ghcr.io/a }]\nversion: 2', /version: expected 1/],
  ['- a', /expected a map/],
];

for (const [text, why] of WRONG) {
  test(`wrong: ${text.replaceAll('\n', ' ')}`, () => {
    assert.match(failure(text).message, why);
  });
}

test('all problems are told at once, and no password', () => {
  const text = `
creds: [{ registry: reg, pass: MARKER }]
rules:
  - { match: '*' }
  - { match: ghcr.io/a, fresh: x }
`;
  const { message } = failure(text);
  assert.deepEqual(
    [...message.matchAll(/^rules\.yml:\d+:\d+: (\S+):/gm)].map(([, path]) => path),
    ['creds.0.registry', 'rules.0.match', 'rules.1.fresh'],
  );
  assert.doesNotMatch(message, /MARKER/);
});
