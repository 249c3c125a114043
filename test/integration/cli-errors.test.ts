/** Bad input and bad luck: an exit code from the table, one clear line, nothing on stdout, the store as it was. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { schema1 } from '../support/artifacts.ts';
import { contents, newUser, type User } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { type RunResult, run } from '../support/process.ts';
import { faults, TestRegistry } from '../support/registry.ts';

const base = image({ seed: 'base', layers: [1000] });
const wanted = image({ seed: 'wanted', layers: [1000, 2000] });

interface Failure {
  /** REGISTRY stands for the registry's host. */
  readonly args: readonly string[];
  readonly code: number;
  readonly line: RegExp;
  readonly env?: NodeJS.ProcessEnv;
  readonly prepare?: (registry: TestRegistry, user: User) => Promise<void> | void;
}

/** Runs a command that must fail, in a store that has an image already. */
async function fails({ args, code, line, env, prepare }: Failure): Promise<RunResult> {
  await using registry = await TestRegistry.start();
  registry.add('base', 'v1', base);
  registry.add('app', 'v1', wanted);
  await using user = await newUser();
  assert.equal((await user.gantry(['pull', '-q', `${registry.host}/base:v1`])).code, 0);
  await prepare?.(registry, user);
  const before = await contents(user.store);
  const result = await user.gantry(
    args.map((arg) => arg.replace('REGISTRY', registry.host).replace('HOME', user.home)),
    env,
  );
  assert.deepEqual({ code: result.code, stdout: result.stdout }, { code, stdout: '' }, result.stderr);
  assert.match(result.stderr, line);
  assert.match(result.stderr, /^gantry: [^\n]+\n$/, 'one line');
  assert.deepEqual(await contents(user.store), before, 'the store as it was');
  return result;
}

const MISUSES: readonly (readonly [args: readonly string[], line: RegExp])[] = [
  [['pul', 'x'], /unknown command 'pul'.*Did you mean pull/],
  [['help', 'frobnicate'], /unknown command 'frobnicate'/],
  [['list', '--frobnicate'], /unknown option '--frobnicate' \(see `gantry list --help`\)/],
  [['pull'], /missing required argument 'ref'/],
  [['images', 'x'], /too many arguments for 'images'/],
  [['pull', '--concurrency', '0', 'a'], /whole number from 1/],
  [['pull', '--limit-rate', 'fast', 'a'], /number of bytes, such as/],
  [['gc', '--ingests-older-than', '24'], /number and a unit, such as/],
  [['pull', '--platform', 'a/b/c/d', 'x'], /invalid platform/],
  [['pull', '-a', '--platform', 'linux', 'x'], /not both/],
  [['path', 'sha256:abc'], /not a digest: "sha256:abc"/],
  [['fetch-object', 'localhost:1/app', 'v1', 'type:x'], /not a hint: "type:x"/],
  [['digest', '--ca-file', '/nowhere/ca.pem', 'x'], /cannot read the CA file/],
  [['login', '-u', 'a', 'localhost:1'], /no terminal.*--password-stdin/],
  [['completion', 'tcsh'], /bash, zsh, fish/],
];

test('what cannot be meant ends with 2 and a line that says what can', async () => {
  await using user = await newUser();
  for (const [args, line] of MISUSES) {
    const result = await user.gantry(args);
    assert.deepEqual([result.code, result.stdout], [2, ''], `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, line);
    assert.match(result.stderr, /^gantry: [^\n]+\n$/, 'one line');
  }
  assert.deepEqual(await contents(user.store), {});
});

test('a setting that cannot be used is told', async () => {
  await fails({
    args: ['images'],
    env: { GANTRY_STALE_LOCK_MS: 'soon' },
    code: 2,
    line: /GANTRY_STALE_LOCK_MS must be/,
  });
});

test('an image that does not exist ends with 4', async () => {
  await fails({ args: ['pull', 'REGISTRY/app:v2'], code: 4, line: /app:v2: .*answered 404/ });
});

test('a platform that an image does not have ends with 4', async () => {
  await fails({ args: ['inspect', 'REGISTRY/none:v1'], code: 4, line: /answered 404/ });
});

test('a registry that nobody listens for ends with 1', async () => {
  const args = ['pull', '--retries', '0', '127.0.0.1:1/app:v1'];
  await fails({ args, code: 1, line: /127\.0\.0\.1:1 does not accept connections/ });
});

test('a manifest of an unknown type ends with 1', async () => {
  const type = 'application/vnd.example.thing';
  await fails({
    args: ['pull', 'REGISTRY/odd:v1'],
    code: 1,
    line: /application\/vnd\.example\.thing/,
    prepare: (registry) => {
      const document = JSON.stringify({ schemaVersion: 2, mediaType: type });
      registry.stored.putManifest('odd', document, { mediaType: type, tag: 'v1' });
    },
  });
});

test('a schema 1 manifest ends with 1', async () => {
  await fails({
    args: ['pull', 'REGISTRY/old:v1'],
    code: 1,
    line: /schema 1/i,
    prepare: (registry) => registry.add('old', 'v1', schema1()),
  });
});

test('a manifest of other bytes than its digest says ends with 6', async () => {
  await fails({
    args: ['pull', 'REGISTRY/app:v1'],
    code: 6,
    line: new RegExp(`${wanted.desc.digest}.* the bytes are sha256:`),
    prepare: (registry) => void registry.fault({ match: { kind: 'manifest', method: 'GET' }, do: faults.flip(3) }),
  });
});

test('a blob of other bytes than its digest says ends with 6, and is not kept', async () => {
  const [layer] = wanted.layers;
  assert.ok(layer);
  await fails({
    args: ['pull', 'REGISTRY/app:v1'],
    code: 6,
    line: /the bytes are sha256:/,
    prepare: async (registry, user) => {
      const flip = { match: { object: layer.digest }, do: faults.flip(3) };
      registry.fault(flip);
      // What was good of the image is kept by the first attempt.
      assert.equal((await user.gantry(['pull', '-q', `${registry.host}/app:v1`])).code, 6);
      assert.equal((await user.gantry(['path', layer.digest])).code, 4);
    },
  });
});

test('a registry that asks to come back in an hour ends with 7', async () => {
  await fails({
    args: ['pull', 'REGISTRY/app:v1'],
    code: 7,
    line: /answered 429/,
    prepare: (registry) => void registry.fault({ do: faults.retryAfter('3600') }),
  });
});

test('fetch-object of wrong bytes ends with 6 after what it wrote', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', wanted);
  registry.fault({ match: { kind: 'blob' }, do: faults.flip(3) });
  await using user = await newUser();
  const result = await user.gantry(['fetch-object', `${registry.host}/app`, wanted.config.digest]);
  assert.equal(result.code, 6);
  assert.equal(result.stdout.length, wanted.config.size);
  assert.match(result.stderr, /^gantry: .* they are sha256:[0-9a-f]{64} \(do not use [^\n]+\)\n$/);
});

test('a malformed reference is shown with a caret under the place', async () => {
  await using user = await newUser();
  for (const command of ['pull', 'fetch', 'digest', 'manifest', 'inspect']) {
    const result = await user.gantry([command, 'docker.io/Library/redis:7']);
    assert.deepEqual([result.code, result.stdout], [2, '']);
    const [first = '', shown = '', caret = '', ...rest] = result.stderr.split('\n');
    assert.match(first, /^gantry: invalid reference: .*lowercase/);
    assert.equal(shown[caret.indexOf('^')], 'L');
    assert.deepEqual(rest, ['']);
  }
  assert.deepEqual(await contents(user.store), {});
});

test('a store path that is a file, or a directory of something else, is left alone', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', wanted);
  await using user = await newUser();
  const [file, dir] = [join(user.home, 'file'), join(user.home, 'dir')];
  await writeFile(file, 'precious');
  await mkdir(dir);
  await writeFile(join(dir, 'thesis.tex'), 'precious');
  const before = await contents(user.home);
  const look = [['images'], ['list'], ['active'], ['gc'], ['verify'], ['images', 'rm', 'x']];
  const commands = [
    ...[['pull', `${registry.host}/app:v1`], ['ingest', 'x'], ...look].map((args) => ({ args, store: file })),
    ...[
      ['pull', `${registry.host}/app:v1`],
      ['ingest', 'x'],
    ].map((args) => ({ args, store: dir })),
  ];
  for (const { args, store } of commands) {
    const result = await user.gantry([...args, '--store', store]);
    assert.deepEqual([result.code, result.stdout], [2, ''], `${args.join(' ')}: ${result.stderr}`);
    const line = store === file ? /is not a directory/ : /neither empty nor an OCI image layout/;
    assert.match(result.stderr, line, args.join(' '));
    assert.match(result.stderr, /^gantry: [^\n]+--store[^\n]*\n$/, 'one line that says what to do');
  }
  assert.deepEqual(await contents(user.home), before);
  assert.equal(registry.count(), 0, 'no registry was asked');
});

test('credentials that are declined end with 5, and nothing is stored', async () => {
  await using registry = await TestRegistry.start({ auth: { scheme: 'basic', users: { alice: 'right' } } });
  registry.add('app', 'v1', wanted);
  await using user = await newUser();
  const auth = Buffer.from('alice:wrong').toString('base64');
  const env = { DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { [registry.host]: { auth } } }) };
  const result = await user.gantry(['pull', `${registry.host}/app:v1`], env);
  assert.deepEqual([result.code, result.stdout], [5, '']);
  assert.match(result.stderr, /^gantry: [^\n]*declined[^\n]*gantry login[^\n]*\n$/);
  assert.equal((await user.gantry(['list', '-q'])).stdout, '');
});

test('when some images fail it is 3, and the others are there', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', wanted);
  await using user = await newUser();
  const refs = [`${registry.host}/app:v1`, `${registry.host}/app:gone`];
  const result = await user.gantry(['pull', '-q', '--format', 'jsonl', ...refs]);
  assert.equal(result.code, 3);
  const lines = result.stdout.trim().split('\n');
  const told = lines.map((line): { state: string; error?: { code: string } } => JSON.parse(line));
  assert.deepEqual(
    told.map(({ state, error }) => [state, error?.code]),
    [
      ['done', undefined],
      ['failed', 'NOT_FOUND'],
    ],
  );
  assert.match(result.stderr, /^gantry: [^\n]*app:gone: [^\n]+\ngantry: 1 of 2 images failed\n$/);
  assert.equal((await user.gantry(['images', '-q'])).stdout, `${refs[0]}\n`);
});

test('a disk behind stdout that is full is told', async () => {
  await using user = await newUser();
  const result = await user.sh('gantry images > /dev/full');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /^gantry: cannot write to stdout: ENOSPC[^\n]*\n$/);
});

test('a Node that is too old is told so in one line', async () => {
  await using user = await newUser();
  const preload = join(user.home, 'old.cjs');
  await writeFile(preload, 'Object.defineProperty(process.versions, "node", { value: "20.1.0" });');
  // As installed: without the Node that a checkout has beside it.
  const bin = join(user.home, 'gantry.mjs');
  await copyFile(join(import.meta.dirname, '../../bin/gantry.js'), bin);
  const result = await run(process.execPath, ['--require', preload, bin, 'images']);
  assert.deepEqual([result.code, result.stdout], [2, '']);
  assert.match(result.stderr, /^gantry needs Node 24 or newer, this is 20\.1\.0: [^\n]+\n$/);
});

test('a checkout brings its own Node where that of the machine is too old', async () => {
  await using user = await newUser();
  const preload = join(user.home, 'old.cjs');
  await writeFile(preload, 'Object.defineProperty(process.versions, "node", { value: "20.1.0" });');
  const bin = join(import.meta.dirname, '../../bin/gantry.js');
  const { code, stdout, stderr } = await run(process.execPath, ['--require', preload, bin, '--version']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});
