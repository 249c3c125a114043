/** What the `creds` of a mirror file say about registries is done as they say. */
import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { MARKER } from '../support/clients.ts';
import { MirrorWorld } from '../support/mirror/world.ts';
import { TestRegistry } from '../support/registry.ts';
import { certificates } from '../support/tls.ts';

/** Checks a mirror of `app` with these creds; answers the exit code and what was said. */
async function check(world: MirrorWorld, creds: readonly object[], env: NodeJS.ProcessEnv = {}, more: object = {}) {
  const file = await world.says([world.repository('app')], { creds, ...more });
  const { code, stdout, stderr } = await world.user.gantry(['mirror', 'check', '-f', file], env);
  assert.ok(!(stdout + stderr).includes(MARKER), 'a secret is shown');
  return { code, stdout, stderr };
}

test('user and password, an identity token, and a credential helper', async () => {
  const bearer = { scheme: 'bearer', users: { alice: MARKER }, identityTokens: [`${MARKER}-token`] } as const;
  await using world = await MirrorWorld.start({ source: { auth: bearer } });
  world.add('app', ['1']);
  const registry = world.source.host;
  assert.equal((await check(world, [])).code, 5, 'it wants credentials');
  assert.equal((await check(world, [{ registry, user: 'alice', pass: MARKER }])).code, 8);
  assert.equal((await check(world, [{ registry, user: 'alice', pass: `${MARKER}-wrong` }])).code, 5);
  assert.equal((await check(world, [{ registry, token: `${MARKER}-token` }])).code, 8);
  const bin = world.path('bin');
  await mkdir(bin);
  const script = `#!/bin/sh\ncat > /dev/null; printf '{"Username":"alice","Secret":"${MARKER}"}'\n`;
  await writeFile(`${bin}/docker-credential-mine`, script);
  await chmod(`${bin}/docker-credential-mine`, 0o755);
  const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  assert.equal((await check(world, [{ registry, credHelper: 'docker-credential-mine' }], env)).code, 8);
});

test('the file goes before docker, and may do without it', async () => {
  const auth = { scheme: 'basic', users: { alice: MARKER } } as const;
  await using world = await MirrorWorld.start({ source: { auth } });
  world.add('app', ['1']);
  const registry = world.source.host;
  const docker = (pass: string) => ({
    DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { [registry]: { auth: btoa(`alice:${pass}`) } } }),
  });
  assert.equal((await check(world, [], docker(MARKER))).code, 8);
  assert.equal((await check(world, [{ registry, user: 'alice', pass: MARKER }], docker('wrong'))).code, 8);
  const without = await check(world, [], docker(MARKER), { defaults: { skipDockerConfig: true } });
  assert.equal(without.code, 5);
});

test('TLS: an authority of its own, no check, and none at all', async () => {
  const certs = await certificates();
  await using world = await MirrorWorld.start({ source: { tls: certs.server } });
  world.add('app', ['1']);
  const registry = world.source.host;
  assert.equal((await check(world, [{ registry, tls: 'enabled' }])).code, 1, 'nobody has vouched for it');
  assert.equal((await check(world, [{ registry, tls: 'enabled', regcert: certs.ca.toString() }])).code, 8);
  assert.equal((await check(world, [{ registry, tls: 'insecure' }])).code, 8);
  assert.equal((await check(world, [{ registry, tls: 'disabled' }])).code, 1, 'http where https is spoken');
});

test('a registry by another name, with a prefix, and read from a mirror first', async () => {
  await using world = await MirrorWorld.start();
  await using cache = await TestRegistry.start();
  const [one] = world.add('proxy/app', ['1']);
  assert.ok(one);
  cache.add('app', '1', one);
  const named = (creds: readonly object[]) =>
    world.says([{ type: 'repository', source: 'named.example/app', target: `${world.target.host}/app` }], { creds });
  const hostname = world.source.host;
  const moved = { registry: 'named.example', hostname, tls: 'disabled', pathPrefix: 'proxy' };
  const first = await world.mirror('check', '-f', await named([moved]));
  assert.equal(first.code, 8, first.stderr);
  world.clear();
  const file = await named([{ ...moved, mirrors: [cache.host] }]);
  const second = await world.mirror('run', '-f', file);
  assert.equal(second.code, 0, second.stderr);
  assert.equal(world.source.count(), 0, 'the mirror has all of it');
  assert.ok(cache.count({ kind: 'blob' }) > 0);
});

test('reqConcurrent and reqPerSec hold for their registry', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2', '3', '4', '5', '6']);
  const registry = world.source.host;
  world.source.latencyMs = 20;
  world.target.latencyMs = 20;
  assert.equal((await check(world, [{ registry, reqConcurrent: 1 }])).code, 8);
  assert.equal(world.source.log.maxConcurrent(), 1);
  assert.ok(world.target.log.maxConcurrent() > 1, 'the other one is not held back');
  world.clear();
  assert.equal((await check(world, [{ registry, reqPerSec: 20 }])).code, 8);
  const times = world.source.log.entries.map(({ startedAt }) => startedAt);
  // Seven requests have six gaps of 50 ms; a bound from below cannot fail on a slow machine.
  assert.ok(Math.max(...times) - Math.min(...times) > 250, times.join(' '));
});
