/** What is in the store, and how it gets out of it again. */
import assert from 'node:assert/strict';
import { chmod, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { filesBelow, keptBytes, newUser, type User } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const shared = { raw: randomBytesOf('shared', 5000) };
const first = image({ seed: 1, layers: [shared, 1000] });
const second = image({ seed: 2, layers: [shared, 2000] });

const contentOf = (...bundles: readonly (typeof first)[]): string[] =>
  [
    ...new Set(bundles.flatMap(({ desc, config, layers }) => [desc, config, ...layers].map(({ digest }) => digest))),
  ].toSorted();

const fileOf = (user: User, digest: string): string => join(user.store, 'blobs', digest.replace(':', '/'));

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** Damages a file of a store. */
async function edit(path: string, change: (bytes: Buffer) => void): Promise<void> {
  const bytes = await readFile(path);
  change(bytes);
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

/** A user with both images. */
async function twoImages(registry: TestRegistry): Promise<{ user: User; refs: [string, string] }> {
  registry.add('one', 'v1', first);
  registry.add('two', 'v1', second);
  const user = await newUser();
  const refs: [string, string] = [`${registry.host}/one:v1`, `${registry.host}/two:v1`];
  const { code, stderr } = await user.gantry(['pull', '-q', ...refs]);
  assert.deepEqual([code, stderr], [0, '']);
  return { user, refs };
}

async function jsonOf<T>(user: User, ...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await user.gantry([...args, '--format', 'json']);
  assert.equal(code, 0, stderr);
  const parsed: T = JSON.parse(stdout);
  return parsed;
}

test('images lists names with what they take, as a table, as names, as JSON', async () => {
  await using registry = await TestRegistry.start();
  const { user, refs } = await twoImages(registry);
  await using _user = user;
  const size = [first.desc, first.config, ...first.layers].reduce((sum, each) => sum + each.size, 0);
  const expected = { name: refs[0], mediaType: first.desc.mediaType, digest: first.desc.digest, size };
  const entries = await jsonOf<unknown[]>(user, 'images');
  assert.equal(entries.length, 2);
  assert.deepEqual(entries[0], expected);
  const lines = linesOf((await user.gantry(['images', '--format', 'jsonl'])).stdout);
  assert.deepEqual(
    lines.map((line): unknown => JSON.parse(line)),
    entries,
  );
  assert.deepEqual(linesOf((await user.gantry(['images', '-q'])).stdout), refs);
  const table = linesOf((await user.gantry(['images'])).stdout);
  assert.match(table[0] ?? '', /^REF +TYPE +DIGEST +SIZE$/);
  assert.match(table[1] ?? '', new RegExp(`^${refs[0]} +\\S+ +${first.desc.digest} +\\d+\\.\\d KiB$`));
});

test('images rm takes names away, gc then what only they needed, and delete the rest by force', async () => {
  await using registry = await TestRegistry.start();
  const { user, refs } = await twoImages(registry);
  await using _user = user;
  assert.equal((await user.gantry(['images', 'rm', refs[0]])).stdout, `${refs[0]}\n`);
  const again = await user.gantry(['images', 'rm', refs[0]]);
  assert.deepEqual([again.code, again.stdout], [4, '']);
  assert.match(again.stderr, /^gantry: no image [^\n]+\n$/);
  const only = contentOf(first).filter((digest) => !contentOf(second).includes(digest));
  const dry = await user.gantry(['gc', '--dry-run']);
  assert.deepEqual(linesOf(dry.stdout).toSorted(), only);
  assert.match(dry.stderr, /^3 blobs \([^)]+\) and 0 unfinished writes would be deleted\n$/);
  assert.deepEqual(linesOf((await user.gantry(['list', '-q'])).stdout), contentOf(first, second), 'dry is dry');
  const report = await jsonOf<{ dryRun: boolean; blobs: { digest: string }[]; ingests: string[] }>(user, 'gc');
  assert.deepEqual([report.dryRun, report.blobs.length, report.ingests], [false, 3, []]);
  assert.deepEqual(linesOf((await user.gantry(['list', '-q'])).stdout), contentOf(second));
  const refused = await user.gantry(['delete', second.config.digest, second.desc.digest]);
  assert.deepEqual([refused.code, refused.stdout], [1, '']);
  assert.match(refused.stderr, /^(?:gantry: an image needs sha256:[0-9a-f]{64} \([^\n]*--force\)\n){2}$/);
  const forced = await user.sh('gantry list -q | xargs gantry delete --force');
  assert.deepEqual(linesOf(forced.stdout), contentOf(second));
  assert.deepEqual(await filesBelow(join(user.store, 'blobs')), []);
});

test('list and path tell where content is, and delete what is not here', async () => {
  await using registry = await TestRegistry.start();
  const { user } = await twoImages(registry);
  await using _user = user;
  const listed = await jsonOf<{ digest: string; size: number; createdAt: string }[]>(user, 'list');
  assert.deepEqual(
    listed.map(({ digest }) => digest),
    contentOf(first, second),
  );
  const { digest, size } = first.config;
  assert.equal(listed.find((each) => each.digest === digest)?.size, size);
  assert.ok(listed.every(({ createdAt }) => Math.abs(Date.parse(createdAt) - Date.now()) < 600_000));
  assert.equal((await user.gantry(['path', '-q', digest])).stdout, `${fileOf(user, digest)}\n`);
  assert.equal((await user.gantry(['path', digest])).stdout, `${digest} ${fileOf(user, digest)}\n`);
  const absent = `sha256:${'0'.repeat(64)}`;
  for (const command of ['path', 'delete', 'verify']) {
    const result = await user.gantry([command, absent]);
    assert.deepEqual([result.code, result.stdout], [4, ''], command);
    assert.equal(result.stderr, `gantry: ${absent} is not in ${user.store}\n`);
  }
});

test('verify moves a damaged blob aside and ends with 6, and the next pull brings it anew', async () => {
  await using registry = await TestRegistry.start();
  const { user, refs } = await twoImages(registry);
  await using _user = user;
  const [layer] = first.layers;
  assert.ok(layer);
  await edit(fileOf(user, layer.digest), (bytes) => void bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100));
  const found = await user.gantry(['verify']);
  assert.equal(found.code, 6);
  const told = linesOf(found.stderr);
  assert.match(told[0] ?? '', new RegExp(`^gantry: damaged ${layer.digest}: .*moved aside`));
  assert.equal(told.filter((line) => line.includes('missing')).length, 2, 'both images lack it now');
  assert.equal((await user.gantry(['path', layer.digest])).code, 4);
  assert.equal((await filesBelow(join(user.store, 'gantry', 'damaged'))).length, 1);
  const lacking = await user.gantry(['verify', '--format', 'json']);
  assert.equal(lacking.code, 4, 'nothing is damaged any more, but something is missing');
  const report: { problems: { kind: string; digest: string; image: string }[] } = JSON.parse(lacking.stdout);
  assert.deepEqual(
    report.problems.map(({ kind, digest, image: name }) => [kind, digest, name]),
    refs.map((ref) => ['missing', layer.digest, ref]),
  );
  registry.log.clear();
  assert.equal((await user.gantry(['pull', '-q', refs[0]])).code, 0);
  assert.deepEqual(
    registry.log.select({ kind: 'blob', method: 'GET' }).map(({ object }) => object),
    [layer.digest],
  );
  const clean = await user.gantry(['verify']);
  assert.deepEqual([clean.code, clean.stderr], [0, '']);
  assert.match(clean.stdout, /^7 blobs \([^)]+\) and 2 images checked, 0 problems\n$/);
});

test('a damaged manifest keeps images from nothing but its own size', async () => {
  await using registry = await TestRegistry.start();
  const { user, refs } = await twoImages(registry);
  await using _user = user;
  await edit(fileOf(user, first.desc.digest), (bytes) => void bytes.write('sreyal', bytes.indexOf('layers')));
  const result = await user.gantry(['images']);
  assert.deepEqual([result.code, result.stderr], [0, '']);
  assert.ok(refs.every((ref) => result.stdout.includes(ref)));
});

test('gc deletes unfinished writes only when they are old, and none that goes on', async () => {
  await using registry = await TestRegistry.start();
  const large = image({ layers: [{ raw: randomBytesOf('large', 3_000_000) }] });
  registry.add('app', 'v1', large);
  const gate = Promise.withResolvers<void>();
  registry.fault({ match: { object: large.layers[0]?.digest ?? '' }, do: faults.holdBody(2_000_000, gate.promise) });
  await using user = await newUser();
  await using pulling = await user.spawn(['pull', '-q', `${registry.host}/app:v1`]);
  await keptBytes(user);
  const running = await user.gantry(['gc', '--ingests-older-than', '1ms']);
  assert.match(running.stderr, /^0 blobs \(0 B\) and 0 unfinished writes deleted\n$/, 'a running pull loses nothing');
  pulling.process.kill();
  await pulling.process.done;
  assert.match((await user.gantry(['gc'])).stderr, / 0 unfinished writes deleted\n$/, 'younger than a day');
  const active = linesOf((await user.gantry(['active', '-q'])).stdout);
  assert.equal(active.length, 1);
  const old = new Date(Date.now() - 3_600_000);
  for (const path of await filesBelow(join(user.store, 'ingest'))) await utimes(path, old, old);
  const swept = await user.gantry(['gc', '--ingests-older-than', '30m']);
  assert.deepEqual(linesOf(swept.stdout).slice(-1), active);
  assert.deepEqual(await filesBelow(join(user.store, 'ingest')), []);
  gate.resolve();
});

test('ingest keeps what its stdin says only when it is what was expected', async () => {
  await using user = await newUser();
  const content = randomBytesOf('stdin', 100_000);
  const { digest } = image({ layers: [{ raw: content }] }).layers[0] ?? { digest: '' };
  const feed = `cat ${join(user.home, 'content')}`;
  await writeFile(join(user.home, 'content'), content);
  const wrong = `sha256:${'0'.repeat(64)}`;
  const cases: readonly (readonly [flags: string, code: number])[] = [
    [`--expected-digest ${wrong}`, 6],
    [`--expected-digest ${digest} --expected-size 99999`, 6],
    [`--expected-size 100001`, 6],
    [`--expected-digest ${digest} --expected-size 100000`, 0],
  ];
  for (const [flags, code] of cases) {
    const result = await user.sh(`${feed} | gantry ingest ${flags} thing`);
    assert.deepEqual([result.code, result.stdout], [code, ''], flags + result.stderr);
    if (code !== 0) assert.match(result.stderr, /^gantry: [^\n]+\n$/);
    assert.equal((await user.gantry(['list', '-q'])).stdout, code === 0 ? `${digest}\n` : '', flags);
    assert.equal((await user.gantry(['active', '-q'])).stdout, '', 'nothing wrong is kept');
  }
  const plain = await user.sh('echo hello | gantry ingest other');
  assert.equal(plain.code, 0, plain.stderr);
  assert.equal(linesOf((await user.gantry(['list', '-q'])).stdout).length, 2);
  assert.equal((await user.gantry(['images', '-q'])).stdout, '', 'it names no image');
});
