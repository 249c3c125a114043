/** Signals: an exit code that says which, a store that the same command goes on with. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { GANTRY_BIN, keptBytes, newUser } from '../support/cli.ts';
import { Running } from '../support/process.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const large = image({ layers: [{ raw: randomBytesOf('signals', 5_000_000) }] });

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} ends a pull with ${code}, and the next one goes on where it was`, async () => {
    await using registry = await TestRegistry.start();
    registry.add('app', 'v1', large);
    const [layer] = large.layers;
    assert.ok(layer);
    const ref = `${registry.host}/app:v1`;
    const gate = Promise.withResolvers<void>();
    const held = registry.fault({ match: { object: layer.digest }, do: faults.holdBody(3_000_000, gate.promise) });
    await using user = await newUser();
    await using pulling = await user.spawn(['pull', ref]);
    await registry.waitFor({ object: layer.digest, method: 'GET' });
    await keptBytes(user);
    pulling.process.kill(signal);
    const ended = await pulling.process.done;
    assert.deepEqual([ended.code, ended.stdout], [code, '']);
    assert.match(ended.stderr, new RegExp(`^gantry: stopped by ${signal}\n$`, 'm'));
    gate.resolve();
    held.remove();
    assert.equal((await user.gantry(['images', '-q'])).stdout, '', 'no name before all of it is here');
    assert.equal((await user.gantry(['pull', '-q', ref])).code, 0);
    assert.equal(registry.count({ object: layer.digest, method: 'GET', ranged: true }), 1);
    assert.equal((await user.gantry(['verify'])).code, 0);
  });
}

test('a signal ends an ingest that waits for its stdin', async () => {
  await using user = await newUser();
  const child = spawn(process.execPath, [GANTRY_BIN, 'ingest', 'thing'], { env: user.env, stdio: 'pipe' });
  await using running = new Running(child);
  child.stdin.write(randomBytesOf('ingest', 2_000_000));
  await keptBytes(user);
  running.kill('SIGTERM');
  const { code, stdout, stderr } = await running.done;
  assert.deepEqual([code, stdout, stderr], [143, '', 'gantry: stopped by SIGTERM\n']);
});

test('a signal to a checkout that runs another Node reaches the one that works', async () => {
  await using user = await newUser();
  const preload = join(user.home, 'old.cjs');
  await writeFile(preload, 'Object.defineProperty(process.versions, "node", { value: "20.1.0" });');
  const args = ['--require', preload, GANTRY_BIN, 'ingest', 'thing'];
  const child = spawn(process.execPath, args, { env: user.env, stdio: 'pipe' });
  await using running = new Running(child);
  child.stdin.write(randomBytesOf('ingest', 2_000_000));
  await keptBytes(user);
  running.kill('SIGTERM');
  const { code, stderr } = await running.done;
  assert.deepEqual([code, stderr], [143, 'gantry: stopped by SIGTERM\n']);
});
