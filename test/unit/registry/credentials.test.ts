import assert from 'node:assert/strict';
import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { CredentialLookup, type CredentialSources, type Credentials } from '../../../src/registry/credentials.ts';
import { Secret } from '../../../src/secret.ts';
import { base64, envFor, helper, leaks, MARKER, never, printed, tempDir } from './temp.ts';

const entry = (name: string): { auth: string } => ({ auth: base64(`${name}:pw-${name}`) });

const lookupIn = (config: unknown, more: Partial<CredentialSources> = {}): CredentialLookup =>
  new CredentialLookup({ files: [], env: {}, inlineConfig: new Secret(JSON.stringify(config)), ...more });

const shown = (found: Credentials): string => {
  switch (found.kind) {
    case 'anonymous':
      return 'anonymous';
    case 'basic':
      return `${found.username}:${found.password.reveal()}`;
    case 'identity-token':
      return `identity ${found.username ?? '-'} ${found.token.reveal()}`;
    case 'registry-token':
      return `registry ${found.token.reveal()}`;
    default:
      return found satisfies never;
  }
};

const find = async (lookup: CredentialLookup, repository: string): Promise<string> => {
  const [registry = '', ...path] = repository.split('/');
  return shown(await lookup.lookup(registry, path.join('/'), { signal: never }));
};

async function fileWith(t: TestContext, content: string | Buffer, name = 'config.json'): Promise<string> {
  const file = join(await tempDir(t), name);
  await writeFile(file, content);
  return file;
}

test('Docker Hub is found under each of its names, asked for under each of its names', async () => {
  const keys = [
    'https://index.docker.io/v1/',
    'docker.io',
    'index.docker.io',
    'registry-1.docker.io',
    'https://index.docker.io/v1',
    'HTTPS://Index.Docker.io/v1/',
    'index.docker.io/v1/',
    'https://registry-1.docker.io/v2/',
  ];
  for (const key of keys) {
    for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
      assert.equal(
        await find(lookupIn({ auths: { [key]: entry('hub') } }), `${name}/library/redis`),
        'hub:pw-hub',
        key,
      );
    }
  }
});

test('a registry is found under its name and the URLs that docker wrote', async () => {
  const keys = [
    'host.example:5000',
    'https://host.example:5000',
    'http://host.example:5000/',
    'https://host.example:5000/v1/',
    'https://host.example:5000/v2/',
    'host.example:5000/v1/',
    'Host.Example:5000',
    'host.example:5000/',
    'https://host.example:5000/some/path',
  ];
  for (const key of keys) {
    assert.equal(await find(lookupIn({ auths: { [key]: entry('a') } }), 'host.example:5000/x/y'), 'a:pw-a', key);
  }
});

test('credentials of another host are never taken', async () => {
  const keys = [
    'host.example',
    'host.example:5001',
    'sub.host.example:5000',
    'example:5000',
    'evilhost.example:5000',
    'host.example:5000.evil',
    'host.example:5000@evil',
    '',
    '/',
    '//host.example:5000',
    'https://',
    'ftp://host.example:5000',
    '__proto__',
    'https://evil/host.example:5000',
    'host.example:50',
  ];
  for (const key of keys) {
    const auths = JSON.parse(`{${JSON.stringify(key)}:${JSON.stringify(entry('a'))}}`) as unknown;
    assert.equal(await find(lookupIn({ auths }), 'host.example:5000/x/y'), 'anonymous', key);
  }
});

test('the most specific path wins, at the borders of its parts only', async () => {
  const lookup = lookupIn({
    auths: {
      'h.example': entry('host'),
      'h.example/a/b': entry('ab'),
      'h.example/a': entry('a'),
      'h.example/a/b/c/': entry('abc'),
      'docker.io/library': entry('lib'),
    },
  });
  const expected = {
    'h.example/a/b/c': 'abc',
    'h.example/a/b/c/d': 'abc',
    'h.example/a/b': 'ab',
    'h.example/a/bc': 'a',
    'h.example/ab': 'host',
    'h.example/x': 'host',
    'docker.io/library/redis': 'lib',
  };
  for (const [repository, name] of Object.entries(expected)) {
    assert.equal(await find(lookup, repository), `${name}:pw-${name}`, repository);
  }
  assert.equal(await find(lookup, 'docker.io/me/redis'), 'anonymous');
});

test('of several spellings of one host the one that docker login writes comes first', async () => {
  const auths = {
    'https://h.example/v1/': entry('url'),
    'h.example': entry('plain'),
    'docker.io': entry('old'),
    'https://index.docker.io/v1/': entry('login'),
  };
  assert.equal(await find(lookupIn({ auths }), 'h.example/a'), 'plain:pw-plain');
  assert.equal(await find(lookupIn({ auths }), 'docker.io/a/b'), 'login:pw-login');
});

const ENTRIES: readonly (readonly [why: string, entry: unknown, expected: string])[] = [
  ['a pair in base64', { auth: base64('u:p') }, 'u:p'],
  ['a password with colons', { auth: base64('u:p:q:') }, 'u:p:q:'],
  ['a password in UTF-8', { auth: base64('u:p\u00e4\u{1f600}') }, 'u:p\u00e4\u{1f600}'],
  ['the NULs that docker once added', { auth: base64('u:p\0\0') }, 'u:p'],
  ['base64 without its padding', { auth: base64('u:pw').replace(/=+$/, '') }, 'u:pw'],
  ['username and password', { username: 'u', password: 'p' }, 'u:p'],
  ['an identity token', { identitytoken: 't' }, 'identity - t'],
  ['an identity token beside a user', { auth: base64('u:'), identitytoken: 't' }, 'identity u t'],
  [
    'an identity token beside its placeholder',
    { auth: base64('00000000-0000-0000-0000-000000000000:'), identitytoken: 't' },
    'identity 00000000-0000-0000-0000-000000000000 t',
  ],
  ['the name that means an identity token', { auth: base64('<token>:t') }, 'identity - t'],
  ['a registry token', { auth: base64('u:p'), registrytoken: 't' }, 'registry t'],
  ['an empty entry', {}, 'anonymous'],
  ['empty members', { auth: '', identitytoken: '', username: null }, 'anonymous'],
  ['null', null, 'anonymous'],
  ['members that mean nothing here', { email: 'a@b', auth: base64('u:p'), x: [1] }, 'u:p'],
];

for (const [why, one, expected] of ENTRIES) {
  test(`an entry is read: ${why}`, async () => {
    assert.equal(await find(lookupIn({ auths: { 'h.example': one } }), 'h.example/a'), expected);
  });
}

test('an entry that is broken is an error for its host and no other', async () => {
  for (const bad of [
    { auth: `!!${MARKER}` },
    { auth: base64(MARKER) },
    { auth: Buffer.from([0xff, 0x3a, 0xff]).toString('base64') },
    { auth: 5 },
    { password: [MARKER] },
    MARKER,
    [MARKER],
  ]) {
    const lookup = lookupIn({ auths: { 'h.example': bad, 'ok.example': entry('ok') } });
    assert.equal(await find(lookup, 'ok.example/a'), 'ok:pw-ok');
    await assert.rejects(
      find(lookup, 'h.example/a'),
      (err) => isCode(err, 'INVALID') && /^DOCKER_AUTH_CONFIG:1:\d+: /.test(err.message) && !leaks(printed(err)),
    );
  }
});

test('explicit credentials, then the inline configuration, then each file until one knows the host', async (t) => {
  const first = await fileWith(t, JSON.stringify({ auths: { 'b.example': entry('first'), 'c.example': {} } }));
  const second = await fileWith(
    t,
    JSON.stringify({ auths: { 'b.example': entry('second'), 'c.example': entry('second') } }),
  );
  const lookup = lookupIn(
    { auths: { 'a.example': entry('inline'), 'x.example': entry('inline') } },
    {
      files: [join(first, 'not-there'), '/nonexistent/config.json', first, second],
      explicit: new Map([['X.example', { username: 'flag', password: new Secret('pw') }]]),
    },
  );
  assert.equal(await find(lookup, 'x.example/a'), 'flag:pw');
  assert.equal(await find(lookup, 'a.example/a'), 'inline:pw-inline');
  assert.equal(await find(lookup, 'b.example/a'), 'first:pw-first');
  assert.equal(await find(lookup, 'c.example/a'), 'second:pw-second');
  assert.equal(await find(lookup, 'd.example/a'), 'anonymous');
});

test('a file is looked at again after a while, and read again when it has changed', async (t) => {
  const file = await fileWith(t, JSON.stringify({ auths: { 'h.example': entry('a') } }));
  const lookup = new CredentialLookup({ files: [file], env: {}, fileTtlMs: 0 });
  assert.equal(await find(lookup, 'h.example/a'), 'a:pw-a');
  await writeFile(file, JSON.stringify({ auths: { 'h.example': entry('b') } }));
  await utimes(file, new Date(), new Date(Date.now() + 5000));
  assert.equal(await find(lookup, 'h.example/a'), 'b:pw-b');
});

const BROKEN_FILES: readonly (readonly [why: string, content: string | Buffer, message: RegExp])[] = [
  ['not JSON', `{"auths":{"h":{"auth":"${MARKER}"}}`, /^FILE:1:\d+: /],
  ['a key twice', `{"auths":{},\n "auths":{"h":{"auth":"${MARKER}"}}}`, /^FILE:2:2: /],
  ['an array', `["${MARKER}"]`, /^FILE:1:1: the file is not an object/],
  ['auths that is no object', `{"auths":"${MARKER}"}`, /^FILE:1:10: auths is not an object/],
  ['a helper that is no string', `{"credHelpers":{"h":["${MARKER}"]}}`, /^FILE:1:21: /],
  ['a store that is no string', `{"credsStore":{"a":"${MARKER}"}}`, /^FILE:1:15: credsStore is not a string/],
  [
    'invalid UTF-8',
    Buffer.concat([Buffer.from(`{"a":"${MARKER}`), Buffer.from([0xff, 0x22, 0x7d])]),
    /^FILE: not UTF-8/,
  ],
];

for (const [why, content, message] of BROKEN_FILES) {
  test(`a broken file is named and not shown: ${why}`, async (t) => {
    const file = await fileWith(t, content);
    await assert.rejects(
      find(new CredentialLookup({ files: [file], env: {} }), 'h.example/a'),
      (err) => isCode(err, 'INVALID') && message.test(err.message.replace(file, 'FILE')) && !leaks(printed(err)),
    );
  });
}

test('a byte order mark, CR LF and an empty file are no trouble; a directory and a huge file are errors', async (t) => {
  const text = JSON.stringify({ auths: { 'h.example': entry('a') } }, null, 2).replaceAll('\n', '\r\n');
  const file = await fileWith(t, `\ufeff${text}`);
  const empty = await fileWith(t, '');
  assert.equal(await find(new CredentialLookup({ files: [empty, file], env: {} }), 'h.example/a'), 'a:pw-a');
  const dir = await tempDir(t);
  await assert.rejects(find(new CredentialLookup({ files: [dir], env: {} }), 'h.example/a'), (err) =>
    isCode(err, 'IO'),
  );
  const huge = await fileWith(t, ' '.repeat(2 * 1024 * 1024));
  await assert.rejects(find(new CredentialLookup({ files: [huge], env: {} }), 'h.example/a'), (err) =>
    isCode(err, 'TOO_LARGE'),
  );
});

test('a registry that is none is refused before anything is asked', async () => {
  for (const name of [
    '',
    'a b',
    'a\nb',
    '../x',
    'h/../x',
    'h:99999',
    'h:',
    '-a',
    '_default',
    'a..b',
    'user@h',
    'h:80:80',
    '[::1',
    '[g]',
  ]) {
    await assert.rejects(lookupIn({}).lookup(name, 'a', { signal: never }), (err) => isCode(err, 'INVALID'), name);
  }
  for (const name of ['localhost', '127.0.0.1:5000', '[::1]:5000', 'a-b.example', 'x']) {
    assert.equal((await lookupIn({}).lookup(name, 'a', { signal: never })).kind, 'anonymous');
  }
});

const GET = (username: string, secret: string): string =>
  `read server; echo "$1 $server" >> "$DIR/log"; printf '%s' '{"ServerURL":"x","Username":"${username}","Secret":"${secret}"}'`;
const NOT_FOUND = 'echo "credentials not found in native keychain"; exit 1';

test('a helper for the host comes before the common one, and the common one before the file', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'own', GET('own', 'p'));
  await helper(
    dir,
    'common',
    `read s; case $s in b.example) printf '{"Username":"common","Secret":"p"}';; *) ${NOT_FOUND};; esac`,
  );
  const lookup = lookupIn(
    {
      credsStore: 'common',
      credHelpers: { 'a.example': 'own', 'd.example': '' },
      auths: {
        'a.example': entry('file'),
        'b.example': entry('file'),
        'c.example': entry('file'),
        'd.example': entry('file'),
        'b.example/deep': entry('deep'),
      },
    },
    { env: envFor(dir) },
  );
  assert.equal(await find(lookup, 'a.example/x'), 'own:p');
  assert.equal(await find(lookup, 'b.example/x'), 'common:p');
  assert.equal(await find(lookup, 'b.example/deep/x'), 'deep:pw-deep');
  assert.equal(await find(lookup, 'c.example/x'), 'file:pw-file');
  assert.equal(await find(lookup, 'd.example/x'), 'file:pw-file');
  assert.equal(await find(lookup, 'e.example/x'), 'anonymous');
});

test('Docker Hub is asked for by the address that docker login uses, then by its name', async (t) => {
  const dir = await tempDir(t);
  await helper(
    dir,
    'x',
    `read s; echo "$s" >> "$DIR/log"; case $s in docker.io) printf '{"Username":"u","Secret":"p"}';; *) ${NOT_FOUND};; esac`,
  );
  const lookup = lookupIn({ credHelpers: { 'docker.io': 'x' } }, { env: envFor(dir) });
  assert.equal(await find(lookup, 'docker.io/a/b'), 'u:p');
  assert.equal(await readFile(join(dir, 'log'), 'utf8'), 'https://index.docker.io/v1/\ndocker.io\n');
});

test('a helper is asked once for many repositories, and again after forget', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'own', GET('<token>', 't'));
  const lookup = lookupIn({ credHelpers: { 'a.example': 'own' } }, { env: envFor(dir) });
  const all = await Promise.all(['x', 'y', 'z'].map((path) => find(lookup, `a.example/${path}`)));
  assert.deepEqual(all, ['identity - t', 'identity - t', 'identity - t']);
  await find(lookup, 'a.example/again');
  lookup.forget('a.example');
  await find(lookup, 'a.example/again');
  assert.equal(await readFile(join(dir, 'log'), 'utf8'), 'get a.example\nget a.example\n');
});

test('a common helper that is not installed is a warning, once; one for the host is an error', async () => {
  const warnings: string[] = [];
  const more = { env: { PATH: '/usr/bin' }, warn: (message: string) => warnings.push(message) };
  const lookup = lookupIn(
    { credsStore: 'nosuch', credHelpers: { 'b.example': 'nosuch' }, auths: { 'a.example': entry('a') } },
    more,
  );
  assert.equal(await find(lookup, 'a.example/x'), 'a:pw-a');
  assert.equal(await find(lookup, 'c.example/x'), 'anonymous');
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /DOCKER_AUTH_CONFIG names credsStore nosuch/);
  await assert.rejects(find(lookup, 'b.example/x'), (err) => isCode(err, 'UNAUTHORIZED'));
});

test('nothing that can be printed holds a secret', async (t) => {
  const dir = await tempDir(t);
  await mkdir(join(dir, 'bin'));
  await helper(join(dir, 'bin'), 'own', GET('u', MARKER));
  const file = await fileWith(
    t,
    JSON.stringify({
      auths: { 'f.example': { auth: base64(`user:${MARKER}`) }, 'i.example': { identitytoken: MARKER } },
    }),
  );
  const sources: CredentialSources = {
    files: [file],
    env: { ...envFor(join(dir, 'bin')) },
    inlineConfig: new Secret(
      JSON.stringify({
        credHelpers: { 'h.example': 'own' },
        auths: { 'l.example': { auth: base64(`user:${MARKER}`) } },
      }),
    ),
    explicit: new Map([['e.example', { username: 'u', password: new Secret(MARKER) }]]),
  };
  const lookup = new CredentialLookup(sources);
  for (const host of ['f', 'i', 'h', 'l', 'e']) {
    const found = await lookup.lookup(`${host}.example`, 'a', { signal: never });
    assert.notEqual(found.kind, 'anonymous');
    assert.ok(!leaks(printed(found)), host);
  }
  assert.ok(!leaks(printed(lookup)));
  assert.ok(!leaks(printed(sources)));
});
