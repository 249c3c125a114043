import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, realpath, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { CredentialLookup } from '../../../src/registry/credentials.ts';
import { eraseCredentials, storeCredentials, type StorableCredentials } from '../../../src/registry/login.ts';
import { Secret } from '../../../src/secret.ts';
import { base64, envFor, helper, leaks, MARKER, never, printed, tempDir } from './temp.ts';

const basic = (username: string, password: string): StorableCredentials => ({
  kind: 'basic',
  username,
  password: new Secret(password),
});

const options = (file: string, env: Record<string, string> = {}) => ({ file, env, signal: never });

const json = async (file: string): Promise<unknown> => JSON.parse(await readFile(file, 'utf8'));

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

test('a login makes directory and file, private, and is found again', async (t) => {
  const file = join(await tempDir(t), 'a', 'docker', 'config.json');
  assert.deepEqual(await storeCredentials('Host.example:5000', basic('u', 'p:q'), options(file)), {
    kind: 'file',
    file,
  });
  await storeCredentials('index.docker.io', basic('hub', 'p'), options(file));
  await storeCredentials('i.example', { kind: 'identity-token', username: 'u', token: new Secret('t') }, options(file));
  assert.deepEqual(await json(file), {
    auths: {
      'host.example:5000': { auth: base64('u:p:q') },
      'https://index.docker.io/v1/': { auth: base64('hub:p') },
      'i.example': { auth: base64('u:'), identitytoken: 't' },
    },
  });
  assert.equal(await modeOf(file), 0o600);
  assert.equal(await modeOf(join(file, '..')), 0o700);
  assert.deepEqual(await readdir(join(file, '..')), ['config.json']);
  const found = await new CredentialLookup({ files: [file], env: {} }).lookup('docker.io', 'a', { signal: never });
  assert.equal(found.kind === 'basic' && found.password.reveal(), 'p');
});

test('what gantry does not know stays, in its order and as it was written', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  const text = `{"z":12345678901234567890,"10":[1.50,{"__proto__":"x"}],"HttpHeaders":{"b":"1","a":"2"},"auths":{"x.example":{"auth":"eDp5","email":"e"},"h.example":{"email":"me","auth":"b2xk","identitytoken":"old"}},"2":null}`;
  await writeFile(file, text);
  await storeCredentials('h.example', basic('u', 'p'), options(file));
  const after = (await readFile(file, 'utf8')).replace(/\n\t*/g, '').replaceAll('": ', '":');
  const expected = text.replace('"auth":"b2xk","identitytoken":"old"', `"auth":"${base64('u:p')}"`);
  assert.equal(after, expected);
  await eraseCredentials('h.example', options(file));
  assert.equal(
    (await readFile(file, 'utf8')).replace(/\n\t*/g, '').replaceAll('": ', '":'),
    expected.replace(/,"h\.example":\{[^}]*\}/, ''),
  );
});

test('a config.json that is a symbolic link stays one, also to a file that is not there yet', async (t) => {
  const dir = await realpath(await tempDir(t));
  await mkdir(join(dir, 'dotfiles'));
  await mkdir(join(dir, 'home'));
  const link = join(dir, 'home', 'config.json');
  await symlink('../dotfiles/second', link);
  await symlink('real.json', join(dir, 'dotfiles', 'second'));
  await storeCredentials('a.example', basic('u', 'p'), options(link));
  await storeCredentials('b.example', basic('u', 'p'), options(link));
  assert.equal(await realpath(link), join(dir, 'dotfiles', 'real.json'));
  assert.deepEqual(await readdir(join(dir, 'home')), ['config.json']);
  assert.deepEqual((await readdir(join(dir, 'dotfiles'))).toSorted(), ['real.json', 'second']);
  await symlink('loop', join(dir, 'loop'));
  await assert.rejects(storeCredentials('a.example', basic('u', 'p'), options(join(dir, 'loop'))), (err) =>
    isCode(err, 'IO'),
  );
});

test('many logins at once all arrive', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  const hosts = Array.from({ length: 30 }, (_, i) => `h${i}.example`);
  await Promise.all(hosts.map((host) => storeCredentials(host, basic('u', host), options(file))));
  const expected = hosts.map((host) => [host, { auth: base64(`u:${host}`) }]);
  // Equal whatever the order, which is that of arrival.
  assert.deepEqual(await json(file), { auths: Object.fromEntries(expected) });
});

test('a lock that a killed process left is taken over; a fresh one is waited for until the caller gives up', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  await writeFile(`${file}.lock`, '');
  const signal = AbortSignal.timeout(100);
  await assert.rejects(storeCredentials('a.example', basic('u', 'p'), { file, env: {}, signal }), {
    name: 'TimeoutError',
  });
  const old = new Date(Date.now() - 60_000);
  await utimes(`${file}.lock`, old, old);
  await storeCredentials('a.example', basic('u', 'p'), options(file));
  assert.deepEqual(await readdir(join(file, '..')), ['config.json']);
});

test('with a helper the secret goes there, and no copy stays in the file', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'own', 'cat > "$DIR/own-$1"');
  await helper(dir, 'common', 'cat > "$DIR/common-$1"');
  const file = join(dir, 'config.json');
  await writeFile(
    file,
    JSON.stringify({
      credsStore: 'common',
      credHelpers: { 'a.example': 'own', 'c.example': '' },
      auths: { 'a.example': { auth: base64(`user:${MARKER}`), email: 'e' } },
    }),
  );
  const opts = options(file, envFor(dir));
  assert.deepEqual(await storeCredentials('a.example', basic('u', MARKER), opts), { kind: 'helper', helper: 'own' });
  assert.deepEqual(await storeCredentials('docker.io', { kind: 'identity-token', token: new Secret(MARKER) }, opts), {
    kind: 'helper',
    helper: 'common',
  });
  assert.deepEqual(await storeCredentials('c.example', basic('u', 'p'), opts), { kind: 'file', file });
  assert.ok(!leaks(await readFile(file, 'utf8')));
  assert.deepEqual(await json(file), {
    credsStore: 'common',
    credHelpers: { 'a.example': 'own', 'c.example': '' },
    auths: {
      'a.example': { email: 'e' },
      'https://index.docker.io/v1/': {},
      'c.example': { auth: base64('u:p') },
    },
  });
  assert.deepEqual(await json(join(dir, 'own-store')), { ServerURL: 'a.example', Username: 'u', Secret: MARKER });
  assert.deepEqual(await json(join(dir, 'common-store')), {
    ServerURL: 'https://index.docker.io/v1/',
    Username: '<token>',
    Secret: MARKER,
  });
  assert.deepEqual(await eraseCredentials('a.example', opts), [{ kind: 'helper', helper: 'own' }]);
  assert.equal(await readFile(join(dir, 'own-erase'), 'utf8'), 'a.example');
});

test('a helper that fails leaves the file as it was', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'bad', 'cat; exit 1');
  const file = join(dir, 'config.json');
  const text = JSON.stringify({ credsStore: 'bad' });
  await writeFile(file, text);
  await assert.rejects(
    storeCredentials('a.example', basic('u', MARKER), options(file, envFor(dir))),
    (err) => isCode(err, 'UNAUTHORIZED') && !leaks(printed(err)),
  );
  assert.equal(await readFile(file, 'utf8'), text);
});

test('erasing takes every spelling of the host and leaves its paths', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  const one = { auth: base64('u:p') };
  await writeFile(
    file,
    JSON.stringify({
      auths: { 'docker.io': one, 'https://index.docker.io/v1/': one, 'docker.io/library': one, 'x.example': one },
    }),
  );
  assert.deepEqual(await eraseCredentials('docker.io', options(file)), [{ kind: 'file', file }]);
  assert.deepEqual(await json(file), { auths: { 'docker.io/library': one, 'x.example': one } });
  assert.deepEqual(await eraseCredentials('docker.io', options(file)), []);
});

test('erasing from a file that is not there makes nothing', async (t) => {
  const dir = await tempDir(t);
  assert.deepEqual(await eraseCredentials('a.example', options(join(dir, 'x', 'config.json'))), []);
  assert.deepEqual(await readdir(dir), []);
});

test('a file that cannot be understood is not written', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  for (const text of [
    '{"auths":',
    '[]',
    '{"auths":[]}',
    '{"auths":{},"auths":{}}',
    '{"credsStore":5}',
    `{"a":"${MARKER}"`,
  ]) {
    await writeFile(file, text);
    for (const change of [
      () => storeCredentials('a.example', basic('u', MARKER), options(file)),
      () => eraseCredentials('a.example', options(file)),
    ]) {
      await assert.rejects(
        change,
        (err) => isCode(err, 'INVALID') && err.message.startsWith(`${file}:1:`) && !leaks(printed(err)),
      );
    }
    assert.equal(await readFile(file, 'utf8'), text);
  }
});

test('a registry or user name that cannot be written down is refused', async (t) => {
  const file = join(await tempDir(t), 'config.json');
  await assert.rejects(storeCredentials('a/b', basic('u', 'p'), options(file)), (err) => isCode(err, 'INVALID'));
  await assert.rejects(
    storeCredentials('a.example', basic('a:b', MARKER), options(file)),
    (err) => isCode(err, 'INVALID') && !leaks(printed(err)),
  );
  await assert.rejects(stat(file), { code: 'ENOENT' });
});

test('a write that fails leaves the old file and nothing beside it', async (t) => {
  const dir = await tempDir(t);
  await writeFile(join(dir, 'file'), '');
  const err = await storeCredentials('a.example', basic('u', MARKER), options(join(dir, 'file', 'config.json'))).catch(
    (e: unknown) => e,
  );
  assert.ok(isCode(err, 'IO') && !leaks(printed(err)));
  assert.deepEqual(await readdir(dir), ['file']);
});
