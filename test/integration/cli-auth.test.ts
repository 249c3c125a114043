/** login and logout, and what pull makes of them. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { contents, newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image } from '../support/images.ts';
import type { RunResult } from '../support/process.ts';
import { type AuthOptions, TestRegistry } from '../support/registry.ts';

const app = image({ layers: [1000] });
const users = { alice: 'right' };

const SCHEMES: readonly (readonly [name: string, auth: AuthOptions])[] = [
  ['basic', { scheme: 'basic', users }],
  ['bearer', { scheme: 'bearer', users }],
  ['bearer on another port', { scheme: 'bearer', users, ownPort: true }],
];

const login = (user: User, host: string, password: string, name = 'alice'): Promise<RunResult> =>
  user.gantry(['login', '-u', name, '--password-stdin', host], {}, `${password}\n`);

const configFile = (user: User): string => join(user.home, '.docker', 'config.json');

for (const [name, auth] of SCHEMES) {
  test(`${name}: login, pull, logout, and the pull is refused`, async () => {
    await using registry = await TestRegistry.start({ auth });
    registry.add('team/app', 'v1', app);
    await using user = await newUser();
    const ref = `${registry.host}/team/app:v1`;
    const loggedIn = await login(user, registry.host, 'right');
    assert.deepEqual([loggedIn.code, loggedIn.stdout], [0, ''], loggedIn.stderr);
    assert.match(loggedIn.stderr, /^logged in to [^\n]*config\.json[^\n]*\n$/);
    assert.equal((await stat(configFile(user))).mode & 0o777, 0o600);
    const pulled = await user.gantry(['pull', '-q', ref]);
    assert.deepEqual([pulled.code, pulled.stderr], [0, '']);
    assert.equal((await user.gantry(['logout', registry.host])).code, 0);
    assert.equal((await user.gantry(['logout', registry.host])).code, 4, 'there is nothing left to remove');
    const refused = await user.gantry(['digest', ref]);
    assert.equal(refused.code, 5);
    assert.match(refused.stderr, /^gantry: [^\n]*gantry login[^\n]*\n$/);
  });

  test(`${name}: a wrong password ends with 5, and nothing is kept`, async () => {
    await using registry = await TestRegistry.start({ auth });
    await using user = await newUser();
    const before = await contents(user.home);
    const result = await login(user, registry.host, 'wrong');
    assert.deepEqual([result.code, result.stdout], [5, '']);
    assert.match(result.stderr, /^gantry: [^\n]+\n$/);
    assert.deepEqual(await contents(user.home), before);
  });
}

test('login to one registry leaves the entries of others, and what else docker keeps there', async () => {
  await using first = await TestRegistry.start({ auth: { scheme: 'basic', users } });
  await using second = await TestRegistry.start({ auth: { scheme: 'bearer', users: { bob: 'secret' } } });
  await using user = await newUser();
  await user.sh(`mkdir -p ~/.docker && echo '{"psFormat":"table"}' > ~/.docker/config.json`);
  assert.equal((await login(user, first.host, 'right')).code, 0);
  assert.equal((await login(user, second.host, 'secret', 'bob')).code, 0);
  assert.equal((await user.gantry(['logout', first.host])).code, 0);
  const kept: { auths: Record<string, unknown>; psFormat: string } = JSON.parse(
    await readFile(configFile(user), 'utf8'),
  );
  assert.equal(kept.psFormat, 'table');
  assert.deepEqual(Object.keys(kept.auths), [second.host]);
});

test('login keeps the credentials where REGISTRY_AUTH_FILE says', async () => {
  await using registry = await TestRegistry.start({ auth: { scheme: 'basic', users } });
  registry.add('app', 'v1', app);
  await using user = await newUser();
  const env = { REGISTRY_AUTH_FILE: join(user.home, 'auth.json') };
  const args = ['login', '-u', 'alice', '--password-stdin', registry.host];
  assert.equal((await user.gantry(args, env, 'right')).code, 0);
  assert.equal((await user.gantry(['digest', `${registry.host}/app:v1`], env)).code, 0);
  assert.equal((await user.gantry(['digest', `${registry.host}/app:v1`])).code, 5);
});

test('login works against docker-registry, too', async () => {
  await using registry = await DockerRegistry.start({ htpasswd: { user: 'alice', password: 'right' } });
  await registry.push('team/app', 'v1', app);
  await using user = await newUser();
  assert.equal((await login(user, registry.host, 'wrong')).code, 5);
  assert.equal((await login(user, registry.host, 'right')).code, 0);
  assert.equal((await user.gantry(['pull', '-q', `${registry.host}/team/app:v1`])).code, 0);
});

test('an empty password is refused before anything is asked', async () => {
  await using registry = await TestRegistry.start({ auth: { scheme: 'basic', users } });
  await using user = await newUser();
  const result = await login(user, registry.host, '');
  assert.deepEqual([result.code, result.stderr], [2, 'gantry: the password is empty\n']);
  assert.equal(registry.count(), 0);
});
