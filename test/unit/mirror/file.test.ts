/** What a mirror file says: regsync's example, defaults, anchors, variables, credentials. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { printMirrorFile } from '../../../src/mirror/file/print.ts';
import { readMirrorFile, type ReadParts } from '../../../src/mirror/file/read.ts';
import { mirrorJsonSchema } from '../../../src/mirror/file/schema.ts';
import type { MirrorFile, MirrorRule } from '../../../src/mirror/file/types.ts';

const REF = { Scheme: 'reg', Registry: 'r.io', Repository: 'team/app', Tag: 'v1', Digest: '' };

const PARTS: ReadParts = {
  env: { HUB_USER: 'me', EMPTY: '', N: '4' },
  readFile: (path) => {
    if (path === '/var/run/secrets/hub_token') return 'hunter2\n';
    throw new Error('no such file');
  },
  now: () => new Date(2026, 10, 5),
};

const read = (text: string, parts: Partial<ReadParts> = {}): MirrorFile =>
  readMirrorFile(text, 'mirror.yml', { ...PARTS, ...parts });

/** The rules of a file with these entries of `sync`, in short: each has source, target and type. */
function rule(entry: string, before = ''): MirrorRule {
  const [first] = read(`${before}\nsync:\n  - {source: a, target: r.io/a, type: repository, ${entry}}\n`).rules;
  assert.ok(first);
  return first;
}

test("regsync's own example works as it stands", async () => {
  const file = read(await readFile(new URL('../../support/mirror/regsync.yml', import.meta.url), 'utf8'));
  assert.deepEqual(file.warnings, []);
  assert.equal(file.parallel, 2);
  assert.deepEqual(
    file.creds.map(({ registry, tls, user, pass }) => [registry, tls, user, pass?.reveal()]),
    [
      ['localhost:5000', 'disabled', undefined, undefined],
      ['docker.io', undefined, 'me', 'hunter2'],
    ],
  );
  assert.deepEqual(
    file.rules.map(({ id, type, source, targets, schedule, intervalMs, rateLimit }) => ({
      id,
      type,
      source,
      targets,
      schedule,
      intervalMs,
      rateLimit,
    })),
    [
      {
        id: 'sync.0',
        type: 'image',
        source: 'busybox:latest',
        targets: ['localhost:5000/library/busybox:latest'],
        schedule: undefined,
        intervalMs: 3_600_000,
        rateLimit: { min: 100, retryMs: 900_000 },
      },
      {
        id: 'sync.1',
        type: 'repository',
        source: 'alpine',
        targets: ['localhost:5000/library/alpine'],
        schedule: '15 01 * * *',
        intervalMs: undefined,
        rateLimit: { min: 100, retryMs: 900_000 },
      },
      {
        id: 'sync.2',
        type: 'registry',
        source: 'localreg:5000',
        targets: ['localcopy:5000'],
        schedule: undefined,
        intervalMs: undefined,
        rateLimit: { min: 100, retryMs: 900_000 },
      },
    ],
  );
  assert.deepEqual(file.rules[1]?.tags.allow, ['latest', 'edge', '3', '3.\\d+']);
  assert.deepEqual(file.rules[1]?.tags.deny, ['3.0']);
  assert.equal(file.rules[0]?.backup?.(REF), 'backup-v1');
  assert.equal(file.rules[1]?.backup?.(REF), 'r.io/backups/team/app:v1-2026115');
});

test('what is not said is the default', () => {
  const { place, ...said } = rule('');
  assert.deepEqual(place, { file: 'mirror.yml', line: 3, column: 5 });
  assert.deepEqual(said, {
    id: 'sync.0',
    type: 'repository',
    source: 'a',
    targets: ['r.io/a'],
    tags: {
      semverRange: [],
      allow: [],
      deny: [],
      latest: undefined,
      sort: 'semver',
      minTags: undefined,
      immutable: [],
    },
    repos: { allow: [], deny: [] },
    platforms: [],
    index: 'sparse',
    mediaTypes: [],
    referrers: true,
    referrerFilters: [],
    referrerSource: undefined,
    referrerTarget: undefined,
    digestTags: true,
    artifacts: { include: [], exclude: [], require: [] },
    fastCheck: false,
    forceRecursive: false,
    includeExternal: false,
    schedule: undefined,
    intervalMs: undefined,
    rateLimit: undefined,
    backup: undefined,
    prune: { mode: 'off', graceDays: 7 },
  } satisfies Omit<MirrorRule, 'place'>);
});

test('an entry says more than the defaults, and what it does not say comes from them', () => {
  const defaults = `
defaults:
  interval: 1h
  referrers: false
  platforms: [linux/amd64]
  ratelimit: {min: 50, retry: 1s}
  prune: {mode: report, graceDays: 30}
  backup: old-{{ .Ref.Tag }}
`;
  const plain = rule('digestTags: false', defaults);
  assert.deepEqual(
    [plain.intervalMs, plain.schedule, plain.referrers, plain.digestTags, plain.platforms, plain.prune],
    [3_600_000, undefined, false, false, ['linux/amd64'], { mode: 'report', graceDays: 30 }],
  );
  assert.deepEqual(plain.rateLimit, { min: 50, retryMs: 300_000 }, 'not more often than every five minutes');
  assert.equal(plain.backup?.(REF), 'old-v1');
  const own = rule(
    'schedule: "@midnight", referrers: true, platforms: [linux/arm64], ratelimit: {min: 7}, prune: {mode: delete}, backup: "x"',
    defaults,
  );
  assert.deepEqual(
    [own.intervalMs, own.schedule, own.referrers, own.platforms, own.prune, own.rateLimit, own.backup?.(REF)],
    [undefined, '@daily', true, ['linux/arm64'], { mode: 'delete', graceDays: 30 }, { min: 7, retryMs: 300_000 }, 'x'],
  );
  assert.equal(rule('interval: 5m', 'defaults: {schedule: "@hourly"}').schedule, undefined);
  assert.equal(rule('schedule: "@every 90m"', defaults).intervalMs, 5_400_000);
});

test('what regsync does not have', () => {
  const { rules } = read(`
sync:
  - source: a
    targets: [r.io/a, s.io/a]
    type: repository
    tags: {latest: 5, sort: alphabetical, minTags: 3, immutable: 'v*.*.*'}
    tagSets:
      - {semverRange: ['>=1'], deny: [x]}
    index: strip
    artifacts: {include: [application/spdx+json], exclude: ['*/sig*'], require: [a/b]}
`);
  assert.deepEqual(rules[0]?.targets, ['r.io/a', 's.io/a']);
  assert.deepEqual(rules[0].tags, {
    semverRange: [],
    allow: [],
    deny: [],
    sets: [{ semverRange: ['>=1'], allow: [], deny: ['x'] }],
    latest: 5,
    sort: 'alphabetical',
    minTags: 3,
    immutable: ['v*.*.*'],
  });
  assert.equal(rules[0].index, 'strip');
  assert.deepEqual(rules[0].artifacts, {
    include: ['application/spdx+json'],
    exclude: ['*/sig*'],
    require: ['a/b'],
  });
});

test("regsync's platform is one platform in place of the index", () => {
  const { platforms, index } = rule('platform: linux/arm64');
  assert.deepEqual([platforms, index], [['linux/arm64'], 'strip']);
});

test('a tag that YAML takes for a number is what was written', () => {
  const { tags } = rule('tags: {allow: [3.10, 1.0, 0x1F, true, 1e3, ~3], deny: [010], immutable: 2.0}');
  assert.deepEqual(tags.allow, ['3.10', '1.0', '0x1F', 'true', '1e3', '~3']);
  assert.deepEqual(tags.deny, ['010']);
  assert.deepEqual(tags.immutable, ['2.0']);
});

test('anchors, merges and x- keys', () => {
  const { rules } = read(`
x-base: &base
  type: repository
  tags: &tags {allow: [a]}
  nonsense-that-is-not-looked-at: 1
x-one: &one {type: repository, tags: {allow: [a]}, interval: 1h}
x-two: &two {interval: 2h, digestTags: false}
sync:
  - <<: [*one, *two]
    source: a
    target: r.io/a
    tags: {deny: [b]}
    x-note: whatever
    digestTags:
  - source: b
    target: r.io/b
    type: repository
    tags: *tags
`);
  assert.deepEqual(
    rules.map(({ tags, intervalMs, digestTags }) => [tags.allow, tags.deny, intervalMs, digestTags]),
    [
      [[], ['b'], 3_600_000, true],
      [['a'], [], undefined, true],
    ],
  );
});

test('variables are put in after parsing', () => {
  const text = `
defaults:
  parallel: \${N}
sync:
  - source: \${EMPTY:-b}/\${NONE-c}
    target: r.io/\${HUB_USER:?}\${NONE}
    type: repository
    fastCheck: "\${YES}"
    tags: {latest: "\${N}", allow: ["\${N}", "a$\${b}", "\${EMPTY}"]}
`;
  const file = read(text, { env: { ...PARTS.env, YES: 'true' } });
  const [first] = file.rules;
  assert.deepEqual(
    [file.parallel, first?.source, first?.targets, first?.tags.latest, first?.fastCheck],
    [4, 'b/c', ['r.io/me'], 4, true],
  );
  assert.deepEqual(first?.tags.allow, ['4', 'a${b}', '']);
  assert.deepEqual(
    file.warnings.map(({ path, message }) => [path, message]),
    [['sync.0.target', 'the variable NONE is not set, and is taken as empty']],
  );
  // A value cannot bring keys with it.
  const injected = read('sync: [{source: "${X}", target: r.io/a, type: image}]', { env: { X: 'a:1' } });
  assert.equal(injected.rules[0]?.source, 'a:1');
});

test('what has no effect is a warning with its place', () => {
  const { warnings } = read(`
creds: [{registry: r.io, blobChunk: 1}]
defaults:
  hooks: {post: {type: exec, params: [rm]}}
sync:
  - {source: a, target: r.io/a, type: image, tags: {allow: [a]}, repos: {allow: [a]}}
  - source: a
    target: r.io/a
    type: repository
    hooks: {pre: {type: exec}}
`);
  assert.deepEqual(
    warnings.map(({ place, path, message }) => `${place.line}:${place.column} ${path}: ${message}`),
    [
      '2:26 creds.0.blobChunk: it has no effect',
      '4:3 defaults.hooks: hooks are never run',
      '6:46 sync.0.tags: it has no effect on an image; its tag is in source',
      '6:66 sync.0.repos: it has an effect only with type: registry',
      '10:5 sync.1.hooks: hooks are never run',
    ],
  );
});

test('passwords come out only where they are asked for', () => {
  const file = read(`
creds:
  - registry: r.io
    user: me
    pass: hunter1
    token: '{{ file "/var/run/secrets/hub_token" }}'
    clientkey: hunter3
    regcert: PEM
    mirrors: [m.io]
    reqPerSec: 0.5
    reqConcurrent: 0
sync: [{source: a, target: r.io/a, type: image}]
`);
  const [creds] = file.creds;
  assert.deepEqual(
    [creds?.pass?.reveal(), creds?.token?.reveal(), creds?.clientKey?.reveal()],
    ['hunter1', 'hunter2', 'hunter3'],
  );
  assert.deepEqual([creds?.mirrors, creds?.reqPerSec, creds?.reqConcurrent], [['m.io'], 0.5, undefined]);
  const printed = [inspect(file, { depth: 9 }), JSON.stringify(file), String(creds?.pass), printMirrorFile(file)];
  for (const text of printed) assert.doesNotMatch(text, /hunter/);
  assert.match(printMirrorFile(file), /pass: "\[secret\]"/);
});

test('what is printed gives the same rules again', async () => {
  const example = await readFile(new URL('../../support/mirror/regsync.yml', import.meta.url), 'utf8');
  const more = `
  - source: a
    targets: [r.io/a]
    type: repository
    tags: {latest: 5, sort: alphabetical, minTags: 3, immutable: [v*], allow: [3.10, 'a$$\{b}']}
    tagSets: [{semverRange: ['>=1']}]
    repos: {deny: [x]}
    platforms: [linux/amd64]
    schedule: "@every 90s"
    referrerFilters: [{artifactType: a/b, annotations: {x-k: v}}]
    artifacts: {require: [a/b]}
    prune: {mode: report}
`;
  const file = read(example + more);
  const again = read(printMirrorFile(file));
  const comparable = ({ rules }: MirrorFile) =>
    rules.map(({ place: _place, backup, ...rest }) => ({ ...rest, backup: backup?.(REF) }));
  assert.equal(file.rules.length, 4);
  assert.deepEqual(comparable(again), comparable(file));
  assert.equal(again.parallel, file.parallel);
});

test('docs/mirror.schema.json is the schema', async () => {
  const published: unknown = JSON.parse(
    await readFile(new URL('../../../docs/mirror.schema.json', import.meta.url), 'utf8'),
  );
  assert.deepEqual(
    published,
    JSON.parse(JSON.stringify(mirrorJsonSchema())),
    'node bin/gantry.js config schema writes it',
  );
});
