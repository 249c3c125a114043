/** What is wrong with a mirror file: all of it at once, each with its place, the line and a caret; and no secret. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';

function failure(text: string, env: Record<string, string> = {}): GantryError {
  const readFile = (path: string): string => {
    throw new Error(`there is no file ${path}`);
  };
  try {
    readMirrorFile(text, 'mirror.yml', { env, readFile });
  } catch (err) {
    assert.ok(err instanceof GantryError, String(err));
    assert.deepEqual([err.code, err.origin], ['INVALID', 'user']);
    return err;
  }
  return assert.fail(`this was taken:\n${text}`);
}

/** The lines with a place. */
const problems = (text: string, env: Record<string, string> = {}): string[] =>
  failure(text, env)
    .message.split('\n')
    .filter((line) => /^mirror\.yml:\d+:\d+: /.test(line));

test('a problem is file, line, column, path and message, then the line with a caret', () => {
  const text = `version: 1
sync:
  - source: busybox:latest
    target: localhost:5000/busybox
    type: image
  - source: alpine
    target: localhost:5000/alpine
    type: imgae
`;
  assert.equal(
    failure(text).message,
    ['mirror.yml:8:11: sync.1.type: expected image, repository or registry', '      type: imgae', '            ^'].join(
      '\n',
    ),
  );
});

test('all problems are told at once, in the order of the file', () => {
  const text = `
versions: 1
creds:
  - registry: reg
    pass: '{{ nope }}'
defaults:
  paralel: 2
  ratelimit: {min: many}
sync:
  - source: Alpine
    target: localhost:5000/library/alpine
    type: repository
    tags:
      allow: "3"
      deny: ['(?=x)', ok, '[a']
      semverRange: [">="]
      latest: 0
    schedule: "61 * * * *"
    backup: "{{.Ref.Tga}}"
  - target: a
    type: repository
    interval: 60
    index: \${NOPE:?say which}
    referrers: yes
    platforms: [linux/amd64/v1/x]
`;
  assert.match(failure(text).message, /^mirror\.yml: 18 problems\n/);
  assert.deepEqual(
    problems(text),
    [
      'mirror.yml:2:1: versions: unknown key; did you mean version?',
      'mirror.yml:4:15: creds.0.registry: expected a registry, host[:port]; its name has a dot or a port, or is localhost',
      'mirror.yml:5:11: creds.0.pass: the template has an unknown function "nope"; there are env, file, default, printf, time.Now',
      'mirror.yml:7:3: defaults.paralel: unknown key; did you mean parallel?',
      'mirror.yml:8:20: defaults.ratelimit.min: expected a number',
      'mirror.yml:10:13: sync.0.source: invalid repository: repository name must be lowercase',
      'mirror.yml:14:14: sync.0.tags.allow: expected a list; write each of its items on a line of its own, with "- " in front',
      'mirror.yml:15:14: sync.0.tags.deny.0: invalid regular expression "(?=x)": "(?=" looks ahead or behind, which RE2 cannot; say what not to take in deny',
      'mirror.yml:15:27: sync.0.tags.deny.2: invalid regular expression "[a": "[a" has no closing "]"',
      'mirror.yml:16:21: sync.0.tags.semverRange.0: invalid range of versions ">=": a version is missing after ">="; write for example ">=1.2 <2", "^1.4", "~1.4", "1.x" or "1.x || >=3"',
      'mirror.yml:17:15: sync.0.tags.latest: expected a number from 1',
      'mirror.yml:18:15: sync.0.schedule: invalid schedule: constraint error, got value 61 expected range 0-59',
      'mirror.yml:19:13: sync.0.backup: the template has an unknown .Ref.Tga; there are .Scheme, .Registry, .Repository, .Tag, .Digest, .Reference',
      'mirror.yml:20:5: sync.1.source: missing: image, repository or registry to copy from',
      'mirror.yml:22:15: sync.1.interval: expected a duration, such as 30s, 15m, 1h30m or 7d',
      'mirror.yml:23:12: sync.1.index: the variable NOPE is not set: say which',
      'mirror.yml:24:16: sync.1.referrers: expected true or false',
      'mirror.yml:25:17: sync.1.platforms.0: invalid platform "linux/amd64/v1/x": it has more than three parts; write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, for example linux/amd64 or linux/arm/v7',
    ].toSorted((a, b) => Number(a.split(':')[1]) - Number(b.split(':')[1])),
  );
});

const SYNC = (entry: string): string => `sync:\n  - {source: a, target: r.io/a, type: repository, ${entry}}\n`;

const MISTAKES: readonly (readonly [text: string, first: RegExp])[] = [
  ['', /:1:1: the file is empty/],
  ['# nothing\n', /:1:1: the file is empty/],
  ['- a\n', /:1:1: expected a map/],
  ['version: 1\n', /:1:1: sync: missing: what to mirror/],
  ['sync: []\n', /:1:7: sync: expected at least one item/],
  ['sync:\n  source: a\n', /:2:3: sync: expected a list/],
  ['version: 2\nsync: [{source: a, target: r.io/a, type: image}]', /:1:10: version: expected 1/],
  ['a: b: c\n', /:1:4: YAML: Nested mappings/],
  ['a:\n  - b: 1\n   c: 1\n', /:3:4: YAML: Sequence item without/],
  [
    'sync: [{source: "${A}/a", target: r.io/a, type: image}]',
    /is empty \(the variable A is not set, and is taken as empty\)/,
  ],
  ['sync:\n\t- a\n', /:2:[12]: YAML: Tabs are not allowed/],
  ['a: 1\na: 2\n', /:2:1: YAML: Map keys must be unique/],
  ['sync: *nope\n', /:1:7: sync: an alias, what begins with "\*", needs an anchor before it/],
  ['sync: !foo x\n', /:1:7: YAML: a tag, what begins with "!", is not known here/],
  ['a: 1\n---\nb: 1\n', /:2:1: YAML: this is a second document/],
  ['? [a]\n: b\n', /a key is a word/],
  [SYNC('<<: 1'), /only a map can be merged/],
  ['sync: [{source: a, type: image}]', /:1:8: sync\.0: target is missing/],
  [SYNC('targets: [b]'), /sync\.0\.targets: target and targets are both there/],
  [SYNC('platform: linux/amd64, platforms: [linux/amd64]'), /sync\.0\.platform: platform and platforms/],
  [SYNC('tag: {allow: [a]}'), /:2:\d+: sync\.0\.tag: unknown key; did you mean tags\?/],
  [SYNC('frobnicate: 1'), /sync\.0\.frobnicate: unknown key; known are source, target,/],
  [SYNC('tags: {alow: [a]}'), /sync\.0\.tags\.alow: unknown key; did you mean allow\?/],
  [SYNC('tagSets: [{latest: 1}]'), /sync\.0\.tagSets\.0\.latest: unknown key/],
  [SYNC('tags: {immutable: [ok, "[a"]}'), /sync\.0\.tags\.immutable\.1: invalid glob "\[a"/],
  [SYNC('schedule: "* * *"'), /sync\.0\.schedule: invalid schedule: cron has five fields.*this has 3/],
  [SYNC('schedule: "@often"'), /invalid schedule: there are @yearly/],
  [SYNC('schedule: "@every 5"'), /invalid schedule: "5" is no duration/],
  [SYNC('schedule: "CRON_TZ=UTC 1 1 * * *"'), /invalid schedule: it cannot name a time zone/],
  [SYNC('interval: soon'), /sync\.0\.interval: expected a duration/],
  [SYNC('backup: "{{ upper .Ref.Tag }}"'), /sync\.0\.backup: the template has an unknown function "upper"/],
  [SYNC('backup: "{{ .Tag }}"'), /the template has an unknown \.Tag; there are \.Ref, \.Sync/],
  [SYNC('backup: "{{ $x }}"'), /the template has an unknown variable \$x/],
  [SYNC('backup: "{{ .Ref.Tag "'), /the template has a "{{" that is not closed/],
  [SYNC('backup: "{{ if .Ref.Tag }}x{{ end }}"'), /the template has "if", which is not known here/],
  [SYNC('backup: "{{ file `/nowhere` }}"'), /the template cannot read the file "\/nowhere": there is no file/],
  [SYNC('referrerTarget: "A"'), /sync\.0\.referrerTarget: invalid reference/],
  ['sync: [{source: "a:b:c", target: r.io/a, type: image}]', /:1:17: sync\.0\.source: invalid reference/],
  [
    'sync: [{source: "a:1", target: r.io/a, type: repository}]',
    /:1:17: sync\.0\.source: invalid repository: a repository has no tag/,
  ],
  [
    'sync: [{source: a, target: "https://r.io/a", type: image}]',
    /:1:28: sync\.0\.target: invalid reference: it starts with "https/,
  ],
  ['sync: [{source: r.io/x, target: s.io, type: registry}]', /sync\.0\.source: expected a registry without a path/],
  ['sync: [{source: r.io, target: mine, type: registry}]', /sync\.0\.target: expected a registry, host/],
  ['sync: [{source: "${A", target: r.io/a, type: image}]', /sync\.0\.source: what stands after "\${" is no variable/],
  ['creds: [{registry: r.io, username: x}]\nsync: [{source: a, target: r.io/a, type: image}]', /did you mean user\?/],
];

test('each mistake reads well', () => {
  for (const [text, first] of MISTAKES) {
    const { message } = failure(text);
    assert.match(message, first, text);
    assert.match(message, /^mirror\.yml(?:: \d+ problems\nmirror\.yml)?:\d+:\d+: .+\n {2}.*\n {2,}\^/, message);
  }
});

test('a file of another tool names the import', () => {
  for (const [text, tool, hint] of [
    ['r.io:\n  images: {a: [b]}\n', 'skopeo sync', '`gantry import skopeo FILE > mirror.yml` translates it'],
    ['r.io:\n  images-by-semver: {a: ">1"}\n', 'skopeo sync', '`gantry import skopeo FILE > mirror.yml` translates it'],
    ['quay.io/a/b: r.io/c\n', 'image-syncer', '`gantry import image-syncer FILE > mirror.yml` translates it'],
    [
      'auth: {r.io: {}}\nimages: {a/b: [c/d]}',
      'image-syncer',
      '`gantry import image-syncer FILE > mirror.yml` translates it',
    ],
    ['relay: skopeo\ntasks: []', 'dregsy', 'there is no import for it; write its images as entries of sync'],
    ['scripts: []', 'regbot', 'there is no import for it; write its images as entries of sync'],
    ['apiVersion: v1\nkind: Pod', 'Kubernetes', 'there is no import for it; write its images as entries of sync'],
  ] as const) {
    const { message, hint: said } = failure(text);
    assert.ok(message.startsWith(`mirror.yml:1:1: this is a file of ${tool}`), message);
    assert.equal(said, hint);
  }
});

const LEAKS: readonly string[] = [
  ...[
    '*hunter2',
    '!hunter2',
    '!hunter2! x',
    '|hunter2\n  x',
    '"\\uhunter2"',
    '{hunter2}',
    '{hunter2: hunter2}',
    '[hunter2',
  ].map((text) => `creds:\n  - registry: r.io\n    pass: ${text}\nsync: 1\n`),
  'creds:\n  - registry: r.io\n    password: hunter2\nsync: [{source: a, target: r.io/a, type: image}]',
  'creds:\n  - {registry: x, pass: hunter2, frob: hunter2}\nsync: 1',
  'creds: [{registry: r.io, pass: "hunter2${"}]\nsync: 1',
  'creds:\n  - registry: r.io\n    pass: "hunter2" hunter2\n',
  'creds:\n  - registry: r.io\n    pass: "hunter2\n',
  'creds:\n  - registry: r.io\n    clientkey: |\n      hunter2\n  oops: [\n   hunter2\n',
  'creds:\n  - registry: r.io\n    pass: "{{ hunter2 | hunter2 }}"\nsync: 1'.replaceAll(
    'hunter2 |',
    'nope "hunter2" |',
  ),
  'x-c: &c\n  registry: R\n  pass: hunter2\n  frob: hunter2\ncreds: [*c]\nsync: 1',
  '{"creds": [{"registry": "x", "pass": "hunter2"}], "sync": [{]}',
  'creds: [{registry: r.io, pass: {a: hunter2}, token: [hunter2]}]\nsync: 1',
  'sync:\n  - {source: a, target: r.io/a, type: image, password: hunter2, frob: 1}\n',
];

test('no message and no excerpt has a password in it', () => {
  for (const text of LEAKS) {
    const { message, hint } = failure(text);
    assert.doesNotMatch(`${message} ${hint}`, /hun/, text);
  }
});

test('a small file that grows by aliases, or that is very deep, ends', () => {
  const bomb = [
    'a: &a [x]',
    ...Array.from({ length: 9 }, (_, i) => {
      const [from, to] = [String.fromCodePoint(97 + i), String.fromCodePoint(98 + i)];
      return `x${to}: &${to} [${Array.from({ length: 10 }, () => `*${from}`).join(', ')}]`;
    }),
    'sync: *j',
  ].join('\n');
  assert.match(failure(bomb).message, /too deep or its aliases too many/);
  assert.match(failure(`sync: ${'['.repeat(100)}${']'.repeat(100)}`).message, /too deep/);
  assert.match(failure('sync: &a [*a]').message, /too deep|needs an anchor/);
});

test('what a terminal would act on is not printed', () => {
  const { message } = failure('sync: "\\e[2J\u202ereversed"\nx\u009b: 1\n');
  assert.ok(!['\u001b', '\u202e', '\u009b'].some((char) => message.includes(char)), JSON.stringify(message));
});
