/** What is asked of registries without a store, which part of an image is pulled, and how that is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newUser, type User } from '../support/cli.ts';
import { type Image, image, index, multiPlatform } from '../support/images.ts';
import { randomBytesOf, TestRegistry } from '../support/registry.ts';

const amd64 = { os: 'linux', architecture: 'amd64' };
const arm64 = { os: 'linux', architecture: 'arm64', variant: 'v8' };
const onAmd = image({ seed: 'amd', platform: amd64, layers: [1000, 2000] });
const onArm = image({ seed: 'arm', platform: arm64, layers: [1000, 3000] });
const both = index(
  [
    { of: onAmd, platform: amd64 },
    { of: onArm, platform: arm64 },
  ],
  { annotations: { 'org.opencontainers.image.title': 'both' } },
);

const digestsOf = (...bundles: readonly Image[]): string[] =>
  bundles.flatMap(({ desc, config, layers }) => [desc, config, ...layers].map(({ digest }) => digest)).toSorted();

async function stored(user: User): Promise<string[]> {
  const { stdout } = await user.gantry(['list', '-q']);
  return stdout.split('\n').filter((line) => line !== '');
}

async function withBoth(): Promise<{ registry: TestRegistry; ref: string }> {
  const registry = await TestRegistry.start();
  registry.add('team/app', 'v1', both);
  return { registry, ref: `${registry.host}/team/app:v1` };
}

test('digest tells what a tag means with a HEAD, and manifest prints it byte for byte', async () => {
  const { registry, ref } = await withBoth();
  await using _registry = registry;
  await using user = await newUser();
  assert.equal((await user.gantry(['digest', ref])).stdout, `${both.desc.digest}\n`);
  assert.deepEqual(
    registry.log.entries.map(({ method }) => method),
    ['HEAD'],
  );
  const told: unknown = JSON.parse((await user.gantry(['digest', ref, '--format', 'jsonl'])).stdout);
  const { digest, mediaType, size } = both.desc;
  assert.deepEqual(told, { name: ref, digest, mediaType, size });
  assert.equal((await user.gantry(['manifest', ref])).stdout, both.manifest.toString());
  const inner = `${registry.host}/team/app@${onArm.desc.digest}`;
  assert.equal((await user.gantry(['manifest', inner])).stdout, onArm.manifest.toString());
});

test('ls prints all tags, page by page, also for programs', async () => {
  await using registry = await TestRegistry.start({ pageSize: 7 });
  const tags = Array.from({ length: 30 }, (_, i) => `v${String(i).padStart(2, '0')}`);
  for (const tag of tags) registry.add('team/app', tag, onAmd);
  await using user = await newUser();
  const repository = `${registry.host}/team/app`;
  assert.equal((await user.gantry(['ls', repository])).stdout, tags.map((tag) => `${tag}\n`).join(''));
  assert.equal(registry.count({ kind: 'tags' }), 5);
  const document: unknown = JSON.parse((await user.gantry(['ls', repository, '--format', 'json'])).stdout);
  assert.deepEqual(document, { repository, tags });
  const lines = (await user.gantry(['ls', repository, '--format', 'jsonl'])).stdout.trim().split('\n');
  assert.deepEqual(
    lines.map((line): unknown => JSON.parse(line)),
    tags.map((tag) => ({ repository, tag })),
  );
  assert.equal((await user.gantry(['ls', `${registry.host}/team/nope`])).code, 4);
});

test('inspect describes an image from the registry, and from the store when it is there', async () => {
  const { registry, ref } = await withBoth();
  await using _registry = registry;
  await using user = await newUser();
  const remote = await user.gantry(['inspect', ref, '--platform', 'linux/arm64', '--format', 'json']);
  assert.equal(remote.code, 0, remote.stderr);
  const shown: Record<string, unknown> = JSON.parse(remote.stdout);
  assert.deepEqual(
    { ...shown, layers: undefined, config: undefined },
    {
      name: ref,
      digest: both.desc.digest,
      mediaType: both.desc.mediaType,
      from: 'registry',
      platforms: [
        { platform: 'linux/amd64', digest: onAmd.desc.digest },
        { platform: 'linux/arm64/v8', digest: onArm.desc.digest },
      ],
      platform: 'linux/arm64/v8',
      created: '2024-01-02T03:04:05Z',
      size: [onArm.config, ...onArm.layers].reduce((sum, each) => sum + each.size, 0),
      layers: undefined,
      config: undefined,
      annotations: { 'org.opencontainers.image.title': 'both' },
    },
  );
  assert.deepEqual(
    shown['layers'],
    onArm.layers.map(({ digest, size, mediaType }) => ({ digest, size, mediaType })),
  );
  assert.equal((await user.gantry(['pull', '-q', '--platform', 'linux/amd64', ref])).code, 0);
  registry.log.clear();
  const local = await user.gantry(['inspect', ref, '--platform', 'linux/amd64']);
  assert.match(local.stdout, /^from +store$/m);
  assert.match(local.stdout, /^Cmd +\["\/bin\/true"\]$/m);
  assert.equal(registry.count(), 0, 'nothing was asked');
  assert.match((await user.gantry(['inspect', ref, '--remote'])).stdout, /^from +registry$/m);
  const none = await user.gantry(['inspect', ref, '--remote', '--platform', 'windows/amd64']);
  assert.equal(none.code, 4);
  assert.match(none.stderr, /^gantry: the index has no image for windows\/amd64\n$/);
});

test('--platform takes what it names, a list takes each, -a takes all', async () => {
  const { registry, ref } = await withBoth();
  await using _registry = registry;
  const cases: readonly (readonly [flags: readonly string[], expected: readonly Image[]])[] = [
    [['--platform', 'linux/arm64'], [onArm]],
    [
      ['--platform', 'linux/amd64,linux/arm64/v8'],
      [onAmd, onArm],
    ],
    [['-a'], [onAmd, onArm]],
  ];
  for (const [flags, expected] of cases) {
    await using user = await newUser();
    assert.equal((await user.gantry(['pull', '-q', ...flags, ref])).code, 0);
    assert.deepEqual(await stored(user), [both.desc.digest, ...digestsOf(...expected)].toSorted(), flags.join(' '));
    assert.equal((await user.gantry(['verify'])).code, 0, 'what was not asked for is not missing');
  }
  await using user = await newUser();
  const none = await user.gantry(['pull', '--platform', 'linux/s390x', ref]);
  assert.equal(none.code, 4);
  assert.match(none.stderr, /^gantry: [^\n]*no image for linux\/s390x; it has linux\/amd64, linux\/arm64\/v8[^\n]*\n$/);
});

test('fetch brings the content without a name, and gc takes it away again', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', onAmd);
  await using user = await newUser();
  const result = await user.gantry(['fetch', '-q', `${registry.host}/app:v1`]);
  assert.deepEqual([result.code, result.stdout], [0, `${registry.host}/app@${onAmd.desc.digest}\n`]);
  assert.deepEqual(await stored(user), digestsOf(onAmd));
  assert.equal((await user.gantry(['images', '-q'])).stdout, '');
  assert.equal((await user.gantry(['gc'])).code, 0);
  assert.deepEqual(await stored(user), []);
});

test('fetch-object of a tag gives the entry of an index that the hint asks for', async () => {
  await using registry = await TestRegistry.start();
  const here = multiPlatform({
    platforms: [`linux/${process.arch === 'x64' ? 'amd64' : process.arch}`, 'linux/s390x'],
  });
  registry.add('app', 'v1', here);
  await using user = await newUser();
  const at = ['fetch-object', `${registry.host}/app`];
  assert.equal((await user.gantry([...at, 'v1'])).stdout, here.manifest.toString());
  const hint = 'mediatype:application/vnd.oci.image.manifest.v1+json';
  const entry = await user.gantry([...at, 'v1', hint]);
  const digest = here.entries[0]?.digest ?? '';
  assert.equal(entry.stdout, (await user.gantry([...at, digest])).stdout);
  assert.match(entry.stdout, /"layers"/);
  const none = await user.gantry([...at, 'v1', 'mediatype:application/vnd.docker.distribution.manifest.v2+json']);
  assert.deepEqual([none.code, none.stdout], [4, '']);
  const absent = await user.gantry([...at, `sha256:${'0'.repeat(64)}`]);
  assert.deepEqual([absent.code, absent.stdout], [4, '']);
  assert.match(absent.stderr, /^gantry: [^\n]+\n$/);
});

test('--progress json and --format jsonl tell programs what happened', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', onAmd);
  await using user = await newUser();
  const refs = [`${registry.host}/app:v1`, `${registry.host}/app:gone`];
  const { code, stdout, stderr } = await user.gantry([
    'pull',
    '--progress',
    'json',
    '--format',
    'jsonl',
    '--platform',
    'linux/amd64',
    ...refs,
  ]);
  assert.equal(code, 3);
  const results = stdout
    .trim()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));
  const { digest, mediaType } = onAmd.desc;
  assert.deepEqual(results[0], { name: refs[0], state: 'done', digest, mediaType });
  const { name, state, error } = results[1] ?? {};
  assert.deepEqual([name, state], [refs[1], 'failed']);
  assert.deepEqual(Object.keys(error ?? {}), ['code', 'origin', 'message', 'host']);
  const events = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line): Record<string, unknown> => JSON.parse(line));
  assert.deepEqual(
    new Set(events.map(({ kind, name: of, state: how }) => [kind, of, how].join(' '))),
    new Set([
      `image ${refs[1]} failed`,
      `image ${refs[0]} done`,
      `resolved ${refs[0]} `,
      'totals  ',
      'summary  partial',
    ]),
  );
  const totals = events.findLast(({ kind }) => kind === 'totals');
  const size = [onAmd.desc, onAmd.config, ...onAmd.layers].reduce((sum, each) => sum + each.size, 0);
  assert.deepEqual(totals?.['images'], { total: 2, ended: 2, failed: 1 });
  assert.deepEqual(totals['bytes'], { transferred: size, here: size, known: size });
});

test('--limit-rate holds over all transfers', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', image({ layers: [1, 2, 3].map((i) => ({ raw: randomBytesOf(i, 400_000) })) }));
  await using user = await newUser();
  const started = performance.now();
  const { code } = await user.gantry(['pull', '-q', '--limit-rate', '800K', `${registry.host}/app:v1`]);
  assert.equal(code, 0);
  // 1.2 MB at 0.82 MB/s; a bound from below cannot fail on a slow machine.
  assert.ok(performance.now() - started > 1000);
});

test('completion scripts load, and know commands and flags', async () => {
  await using user = await newUser();
  const complete = async (...words: readonly string[]): Promise<string[]> => {
    const { stdout } = await user.sh(`bash -c '
      eval "$(gantry completion bash)"
      COMP_WORDS=(gantry ${words.join(' ')}); COMP_CWORD=${words.length}
      _gantry; printf "%s\\n" "\${COMPREPLY[@]}"'`);
    return stdout.split('\n').filter((line) => line !== '');
  };
  assert.deepEqual(await complete('pul'), ['pull']);
  assert.deepEqual(await complete('pull', '--pl'), ['--platform', '--plain-http']);
  assert.deepEqual(await complete('gc', '--dry'), ['--dry-run']);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await user.gantry(['completion', shell]);
    assert.equal(code, 0);
    assert.match(stdout, /fetch-object/);
    assert.match(stdout, /expected-digest/);
    // Each shell reads its own script where it is installed; bash is everywhere.
    const { stderr } = await user.sh(`! command -v ${shell} >/dev/null || gantry completion ${shell} | ${shell} -n`);
    assert.equal(stderr, '');
  }
});
