/** A marker stands in every secret; nothing that gantry prints or leaves on the disk has it. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { filesBelow, newUser, type User } from '../support/cli.ts';
import { leaks, MARKER } from '../support/clients.ts';
import { image } from '../support/images.ts';
import type { RunResult } from '../support/process.ts';
import { TestProxy } from '../support/proxy.ts';
import { faults, TestOrigin, TestRegistry } from '../support/registry.ts';

const app = image({ layers: [100_000, 2000] });
/** What tokens and signed URLs of the test servers start with. */
const ISSUED = /test-token-|test-signature-/;

const auths = (host: string, password = MARKER): string =>
  JSON.stringify({ auths: { [host]: { auth: Buffer.from(`alice:${password}`).toString('base64') } } });

function assertClean(text: string, where: string): void {
  assert.ok(!leaks(text), `a secret in ${where}`);
  assert.doesNotMatch(text, ISSUED, where);
}

/** Runs a command and looks through what it printed and what it left, except where secrets belong. */
async function clean(
  user: User,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input?: string,
): Promise<RunResult> {
  const result = await user.gantry(args, env, input);
  assertClean(result.stdout, `stdout of ${args.join(' ')}`);
  assertClean(result.stderr, `stderr of ${args.join(' ')}`);
  for (const path of [...(await filesBelow(user.store)), ...(await filesBelow(user.home))]) {
    if (/(?:config|auth)\.json$/.test(path)) continue;
    assertClean((await readFile(path)).toString('latin1'), path);
  }
  return result;
}

/** The ways in which a pull goes well and badly, once each. */
async function everyEnding(user: User, registry: TestRegistry, env: NodeJS.ProcessEnv): Promise<void> {
  const ref = `${registry.host}/team/app:v1`;
  const pull = ['pull', '-v', '--retries', '1'];
  for (const effect of [
    faults.status(500),
    faults.status(403),
    faults.retryAfter('3600'),
    faults.html(),
    faults.drop(),
    faults.flip(3),
    faults.status(401),
  ]) {
    using _fault = registry.fault({ match: { kind: 'blob' }, do: effect });
    assert.notEqual((await clean(user, [...pull, ref], env)).code, 0);
  }
  const missing = await clean(user, [...pull, '--format', 'json', `${registry.host}/team/app:nope`], env);
  assert.equal(missing.code, 4);
  const done = await clean(user, ['pull', '-v', '--progress', 'json', ref], env);
  assert.equal(done.code, 0, done.stderr);
  assert.equal((await clean(user, ['fetch-object', '-v', `${registry.host}/team/app`, 'v1'], env)).code, 0);
}

const bearer = { scheme: 'bearer', users: { alice: MARKER }, ownPort: true } as const;

test('of config.json, with a token server', async () => {
  await using registry = await TestRegistry.start({ auth: bearer });
  registry.add('team/app', 'v1', app);
  await using user = await newUser();
  await mkdir(join(user.home, '.docker'));
  await writeFile(join(user.home, '.docker', 'config.json'), auths(registry.host));
  await everyEnding(user, registry, {});
  assert.ok(registry.auth.issued > 0, 'tokens were asked for');
});

test('of DOCKER_AUTH_CONFIG and REGISTRY_AUTH_FILE, with basic authentication', async () => {
  await using registry = await TestRegistry.start({ auth: { scheme: 'basic', users: { alice: MARKER } } });
  registry.add('team/app', 'v1', app);
  await using user = await newUser();
  await everyEnding(user, registry, { DOCKER_AUTH_CONFIG: auths(registry.host) });
  const file = join(user.home, 'auth.json');
  await writeFile(file, auths(registry.host));
  const result = await clean(user, ['digest', '-v', `${registry.host}/team/app:v1`], { REGISTRY_AUTH_FILE: file });
  assert.equal(result.code, 0);
});

test('of credentials that are declined, and of a file that cannot be read as one', async () => {
  for (const auth of [bearer, { scheme: 'basic', users: { alice: 'other' } }] as const) {
    await using registry = await TestRegistry.start({ auth: { ...auth, users: { alice: 'other' } } });
    await using user = await newUser();
    const env = { DOCKER_AUTH_CONFIG: auths(registry.host) };
    assert.equal((await clean(user, ['pull', '-v', `${registry.host}/team/app:v1`], env)).code, 5);
    for (const broken of [auths(registry.host).slice(0, -4), `{"auths":{"${registry.host}":{"auth":"${MARKER}"}}}`]) {
      const result = await clean(user, ['pull', '-v', `${registry.host}/team/app:v1`], { DOCKER_AUTH_CONFIG: broken });
      assert.notEqual(result.code, 0);
    }
  }
});

test('of login and logout', async () => {
  await using registry = await TestRegistry.start({ auth: bearer });
  await using user = await newUser();
  const args = ['login', '-v', '-u', 'alice', '--password-stdin', registry.host];
  assert.equal((await clean(user, args, {}, `${MARKER}\n`)).code, 0);
  assert.equal((await clean(user, args, {}, `${MARKER}x\n`)).code, 5);
  assert.equal((await clean(user, ['logout', '-v', registry.host])).code, 0);
  const config = await readFile(join(user.home, '.docker', 'config.json'), 'latin1');
  assert.ok(!leaks(config), 'logout leaves nothing');
});

test('of signed URLs, good and expired', async () => {
  await using registry = await TestRegistry.start();
  registry.add('team/app', 'v1', app);
  await using origin = await TestOrigin.start({ blobs: registry.blobs });
  await using user = await newUser();
  const ref = `${registry.host}/team/app:v1`;
  const pull = ['pull', '-v', '--retries', '1', ref];
  registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere({ uses: 0 }) });
  assert.notEqual((await clean(user, pull)).code, 0);
  registry.clearFaults();
  registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
  using broken = origin.fault({ match: { kind: 'signed' }, do: faults.cut(10) });
  assert.notEqual((await clean(user, pull)).code, 0);
  broken.remove();
  assert.equal((await clean(user, pull)).code, 0);
  assert.ok(origin.count({ kind: 'signed', status: 200 }) > 0, 'signed URLs were used');
});

test('of a proxy URL', async () => {
  await using registry = await TestRegistry.start({ hostname: 'registry.test' });
  registry.add('team/app', 'v1', app);
  const hosts = { [registry.host]: `127.0.0.1:${registry.port}` };
  await using proxy = await TestProxy.start({ hosts, credentials: `proxy:${MARKER}` });
  await using user = await newUser();
  const pull = ['pull', '-v', '--retries', '1', '--plain-http', `${registry.host}/team/app:v1`];
  const at = (userinfo: string): NodeJS.ProcessEnv => ({ http_proxy: proxy.url.replace('//', `//${userinfo}@`) });
  assert.equal((await clean(user, pull, at(`proxy:${MARKER}`))).code, 0);
  assert.notEqual((await clean(user, pull, at(`proxy:${MARKER}-no`))).code, 0);
  const nobody = { http_proxy: `http://proxy:${MARKER}@127.0.0.1:1` };
  assert.notEqual((await clean(user, pull, nobody)).code, 0);
  const malformed = { http_proxy: `ftp://proxy:${MARKER}@127.0.0.1:1` };
  assert.notEqual((await clean(user, pull, malformed)).code, 0);
});
