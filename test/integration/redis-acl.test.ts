/** The user of Redis that docs/operations.md shows may do what a farm needs, and nothing was denied. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask } from '../support/ask.ts';
import { newUser } from '../support/cli.ts';
import { image } from '../support/images.ts';
import type { Gantry } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { TestRegistry } from '../support/registry.ts';

const LOCAL = ['--metrics-host', '127.0.0.1', '--metrics-port', '0'];

test('a farm works as the user of Redis that the documentation shows', async () => {
  const docs = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const [, rules = ''] = /^ *ACL SETUSER gantry on '>PASSWORD' (.+)$/m.exec(docs) ?? [];
  assert.notEqual(rules, '');
  await using redis = await TestRedis.start();
  await using registry = await TestRegistry.start();
  await using target = await TestRegistry.start();
  registry.add('app', '1', image({ seed: 'acl', layers: [1_000] }));
  await redis.command('ACL', 'SETUSER', 'gantry', 'on', '>secret', ...rules.replaceAll("'", '').split(' '));
  await using user = await newUser();
  const env = {
    GANTRY_LOCK_MS: '2000',
    GANTRY_STALLED_MS: '500',
    GANTRY_REDIS: `redis://gantry:secret@127.0.0.1:${redis.port}`,
  };
  const started = async (args: readonly string[]): Promise<Gantry> => {
    const service = await user.spawn(args, env);
    await service.process.waitForOutput(/(?:metrics|listens) on http/);
    return service;
  };
  const mirror = join(user.home, 'mirror.yml');
  const rule = { source: `${registry.host}/app`, target: `${target.host}/app`, type: 'repository', interval: '1s' };
  await writeFile(mirror, JSON.stringify({ version: 1, sync: [rule] }));
  await using worker = await started(['worker', ...LOCAL]);
  await using server = await started(['server', '--port', '0']);
  await using serving = await started(['mirror', 'serve', '-f', mirror, ...LOCAL]);
  await serving.process.waitForOutput(/ended after .*: 1 done/);

  const ref = registry.ref('app', '1');
  const { stdout: id } = await user.gantry(['pull', '--redis', '--detach', ref], env);
  for (const args of [
    ['runs', 'watch', id.trim()],
    ['runs', 'list'],
    ['runs', 'cancel', id.trim()],
    ['lanes', 'set', 'docker.io', '--quota', '10/1h'],
    ['lanes', 'pause', 'docker.io'],
    ['lanes', 'list'],
    ['active', '--redis'],
  ]) {
    const { code, stderr } = await user.gantry(args, env);
    assert.ok(code === 0 || args[1] === 'cancel', `${args.join(' ')}: ${stderr}`); // it has ended
    assert.doesNotMatch(stderr, /denies this user/);
  }
  const [, url = ''] = /listens on (http:\S+)/.exec(server.process.stderr) ?? [];
  assert.equal((await ask(`${url}/metrics`)).status, 200);
  for (const { process } of [worker, server, serving]) process.kill('SIGTERM');
  await Promise.all([worker, server, serving].map(({ process }) => process.done));
  assert.equal((await redis.command('ACL', 'LOG')).trim(), '', 'nothing was denied');
});
