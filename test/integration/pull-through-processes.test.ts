/** Servers that fetch what their store lacks: killed, left by their clients, several over one store, and with real clients. */
import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { ask } from '../support/ask.ts';
import { newUser } from '../support/cli.ts';
import { firstLayer, never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image, multiPlatform } from '../support/images.ts';
import { indexedNames } from '../support/kills.ts';
import { runOk } from '../support/process.ts';
import { blobOf, manifestOf, PullThroughWorld } from '../support/pull-through.ts';
import { faults, randomBytesOf } from '../support/registry.ts';

const opts = { signal: never };
const MIB = 1 << 20;
const big = image({ seed: 'big', layers: [{ raw: randomBytesOf('big', 6 * MIB) }] });
const layer = firstLayer(big);
const HELD_AT = 4 * MIB + 1000;

/** When the store has so many bytes of the layer, on the disk. */
const has = (w: PullThroughWorld, bytes: number): Promise<void> =>
  until(`${bytes} bytes`, async () => ((await w.store.active(opts))[0]?.offset ?? 0) >= bytes);

const whole = (w: PullThroughWorld): Promise<void> =>
  until('the layer in the store', async () => (await w.store.stat(layer.digest, opts)) !== undefined);

test('a server that was killed goes on where it stood', async () => {
  await using w = await PullThroughWorld.start();
  w.registry.add('app', '1', big);
  const first = await w.spawn();
  await w.fetched('app', big.desc, manifestOf('1'));
  const held = w.registry.fault({ match: { kind: 'blob' }, do: faults.stallBody(HELD_AT) });
  const came = Promise.withResolvers<void>();
  const cut = w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && came.resolve() });
  await came.promise;
  first.process.kill('SIGKILL');
  assert.notEqual((await cut).broken, undefined);
  held.remove();
  await w.spawn();
  // It has not seen the manifest: the registry says how large it is, and what was left what it is.
  await w.fetched('app', layer);
  const [, again, ...more] = w.registry.log.select({ method: 'GET', kind: 'blob' });
  assert.match(again?.range ?? '', /^bytes=[1-9]\d{6,}-$/);
  assert.equal(more.length, 0);
});

test('a transfer goes on when its client has left', async () => {
  await using w = await PullThroughWorld.serving();
  w.registry.add('app', '1', big);
  await w.fetched('app', big.desc, manifestOf('1'));
  const go = Promise.withResolvers<void>();
  using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(HELD_AT, go.promise) });
  const left = await w.get('app', blobOf(layer), { onBytes: (_total, request) => void request.destroy() });
  assert.notEqual(left.broken, undefined);
  go.resolve();
  await whole(w);
  await w.fetched('app', layer);
  assert.equal(w.registry.log.count({ kind: 'blob' }), 1);
});

test('clients that leave at any moment leave nothing behind', { timeout: 60_000 }, async () => {
  await using w = await PullThroughWorld.start();
  w.registry.add('app', '1', big);
  const { process: server } = await w.spawn();
  await w.fetched('app', big.desc, manifestOf('1'));
  const go = Promise.withResolvers<void>();
  using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(HELD_AT, go.promise) });
  const came = Promise.withResolvers<void>();
  const first = w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && came.resolve() });
  await came.promise;
  const files = async (): Promise<number> => (await readdir(`/proc/${server.pid}/fd`)).length;
  const before = await files();
  for (let round = 0; round < 10; round += 1) {
    const clients = Array.from({ length: 20 }, async (_, i) => {
      const gone = new AbortController();
      const options =
        i % 4 === 0
          ? { signal: gone.signal }
          : {
              onBytes: (total: number, request: { destroy(): void }) => void (total > i * 100_000 && request.destroy()),
            };
      const asking = w.get('app', blobOf(layer), options).catch(() => undefined);
      if (i % 4 === 0) setImmediate(() => gone.abort());
      await asking;
    });
    await Promise.all(clients);
  }
  await until('as many open files as before', async () => (await files()) <= before);
  go.resolve();
  assert.ok((await first).body.equals(randomBytesOf('big', 6 * MIB)));
  assert.equal(w.registry.log.count({ kind: 'blob' }), 1);
});

test('two servers over one store fetch a blob once', async () => {
  await using w = await PullThroughWorld.serving();
  w.registry.add('app', '1', big);
  await w.fetched('app', big.desc, manifestOf('1'));
  const go = Promise.withResolvers<void>();
  using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(HELD_AT, go.promise) });
  const one = w.fetched('app', layer);
  await has(w, 3 * MIB);
  await w.spawn();
  const come = Promise.withResolvers<void>();
  const other = w.get('app', blobOf(layer), { onBytes: (total) => total >= 3 * MIB && come.resolve() });
  await come.promise;
  go.resolve();
  assert.ok((await other).body.equals(randomBytesOf('big', 6 * MIB)));
  await one;
  assert.equal(w.registry.log.count({ method: 'GET', kind: 'blob' }), 1);
});

test('garbage collection beside it, and after it, takes nothing that clients were given', async () => {
  await using w = await PullThroughWorld.start();
  w.registry.add('app', '1', big);
  const { process: server } = await w.spawn();
  await w.fetched('app', big.desc, manifestOf(big.desc.digest));
  const go = Promise.withResolvers<void>();
  using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(HELD_AT, go.promise) });
  const fetching = w.fetched('app', layer);
  await has(w, 3 * MIB);
  await using user = await newUser();
  const collect = () => user.gantry(['gc', '--ingests-older-than', '0s', '--store', w.store.root]);
  assert.equal((await collect()).code, 0);
  go.resolve();
  await fetching;
  server.kill('SIGTERM');
  assert.equal((await server.done).code, 0);
  assert.deepEqual(await indexedNames({ store: w.store.root }), [`${w.registry.host}/app@${big.desc.digest}`]);
  assert.equal((await collect()).code, 0);
  for (const { digest } of [layer, big.desc]) assert.ok(await w.store.stat(digest, opts), digest);
});

test('skopeo pulls through it as a mirror, and gantry by its name', async () => {
  await using w = await PullThroughWorld.serving();
  const index = multiPlatform({ layers: [50_000, 70_000] });
  w.registry.add('team/app', '1', index);
  const mirror = `${w.url.replace('http://', '')}/${w.name('team')}`;
  const conf = w.dir.join('registries.conf');
  await writeFile(
    conf,
    `[[registry]]
prefix = "registry.invalid/team"
location = "registry.invalid/team"
[[registry.mirror]]
location = "${mirror}"
insecure = true
`,
  );
  const copy = [
    '--registries-conf',
    conf,
    '--insecure-policy',
    'copy',
    '--all',
    'docker://registry.invalid/team/app:1',
    `dir:${w.dir.join('out')}`,
  ];
  await runOk('skopeo', copy);
  const files = await readdir(w.dir.join('out'));
  for (const digest of index.blobs.keys()) assert.ok(files.includes(digest.slice(7)), digest);
  const asked = w.registry.log.count();

  await using user = await newUser();
  const pulled = await user.gantry(['pull', '-q', `${mirror}/app:1`]);
  assert.deepEqual([pulled.code, pulled.stderr], [0, '']);
  assert.equal((await user.gantry(['verify'])).code, 0);
  assert.equal(w.registry.log.count(), asked, 'all of it is here now');
  assert.equal((await ask(`${w.url}/v2/${w.name('team/app')}/tags/list`)).body.toString().includes('"1"'), true);
});

test('rules that cannot be used are told before anything is served', async () => {
  await using user = await newUser();
  await writeFile(`${user.home}/rules.yml`, "rules:\n  - match: '*/app'\n");
  const result = await user.gantry(['server', '--store', user.store, '--pull-through', `${user.home}/rules.yml`]);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /rules\.yml:2:12: rules\.0\.match: the host is no pattern; .*\n.*\n +\^/);
  const none = await user.gantry(['server', '--store', user.store, '--pull-through', `${user.home}/none.yml`]);
  assert.deepEqual([none.code, /there is no file/.test(none.stderr)], [4, true], none.stderr);
});
