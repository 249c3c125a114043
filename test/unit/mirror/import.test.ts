/** Files of skopeo sync and image-syncer as mirror files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';
import type { MirrorFile } from '../../../src/mirror/file/types.ts';
import { importImageSyncer } from '../../../src/mirror/import/image-syncer.ts';
import { importSkopeo } from '../../../src/mirror/import/skopeo.ts';
import { selectTags } from '../../../src/mirror/tags/select.ts';

const DIGEST = `sha256:${'0'.repeat(64)}`;

const SKOPEO = `
registry.example.com:
  images:
    busybox: []
    alpine:
    redis:
      - "1.0"
      - 2.0
      - ${DIGEST}
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine-perl$
    mysql: 8
    app: ^a$|b
  images-by-semver:
    alpine-semver: ">= 3.12.0"
  credentials:
    username: john
    password: hunter2
  tls-verify: true
  cert-dir: /home/john/certs
quay.io:
  tls-verify: false
  images:
    coreos/etcd:
      - latest
    other/etcd: [latest]
    Bad: []
`;

const IMAGES = `
auth:
  quay.io: {username: xxx, password: hunter2, insecure: true}
  ghcr.io: {username: $GH_USER, password: "\${GH_PASS}"}
  quay.io/coreos: {username: abc, password: hunter3}
images:
  quay.io/coreos/kube-rbac-proxy: quay.io/ruohe/kube-rbac-proxy
  alpine:3.10,3.11,latest: [a.io/x/alpine, b.io:5000/x/alpine]
  localhost:5000/a/b:v1: c.io:5000/b
  nginx:/^1\\.2[0-9]$|latest/: c.io/nginx
  redis@${DIGEST}: c.io/redis:pin
  mysql: ""
  busybox:1,2: c.io/busybox:3
  Foo: c.io/x
`;

/** What gantry reads of what was written. */
const read = (text: string): MirrorFile =>
  readMirrorFile(text, 'mirror.yml', {
    env: { TARGET: 't.io/m', REGISTRY_EXAMPLE_COM_PASSWORD: 'p', QUAY_IO_PASSWORD: 'q', GH_USER: 'u', GH_PASS: 'g' },
    readFile: () => '',
  });

const brief = ({ rules }: MirrorFile): string[] =>
  rules.map(
    ({ type, source, targets, tags }) =>
      `${type} ${source} -> ${targets.join(' ')} [${[...tags.allow, ...tags.semverRange].join(' ')}] ${tags.minTags ?? ''}`,
  );

test('a file of skopeo sync selects what skopeo does', () => {
  const { text, notes } = importSkopeo(SKOPEO, 'sync.yml');
  const file = read(text);
  assert.deepEqual(brief(file), [
    'repository registry.example.com/busybox -> t.io/m/busybox [] ',
    'repository registry.example.com/alpine -> t.io/m/alpine [] ',
    'repository registry.example.com/redis -> t.io/m/redis [1\\.0 2\\.0] 2',
    `image registry.example.com/redis@${DIGEST} -> t.io/m/redis@${DIGEST} [] `,
    'repository registry.example.com/nginx -> t.io/m/nginx [1\\.13\\.[12]-alpine-perl] ',
    'repository registry.example.com/mysql -> t.io/m/mysql [.*8.*] ',
    'repository registry.example.com/app -> t.io/m/app [.*(?:^a$|b).*] ',
    'repository registry.example.com/alpine-semver -> t.io/m/alpine-semver [>= 3.12.0] ',
    'repository quay.io/coreos/etcd -> t.io/m/etcd [latest] 1',
    'repository quay.io/other/etcd -> t.io/m/etcd [latest] 1',
  ]);
  assert.deepEqual(selectTags(['a', 'aa', 'xby', 'c'], file.rules[6]?.tags ?? assert.fail()).kept, ['a', 'xby']);
  assert.deepEqual(
    file.creds.map(({ registry, user, pass, tls }) => [registry, user, pass?.reveal(), tls]),
    [
      ['registry.example.com', 'john', 'p', undefined],
      ['quay.io', undefined, undefined, 'insecure'],
    ],
  );
  assert.doesNotMatch(text + notes.join('\n'), /hunter/);
  assert.deepEqual(
    notes.map((note) => note.slice(0, 80)),
    [
      'sync.yml:15:5: registry.example.com.images-by-semver.alpine-semver: skopeo leave',
      'sync.yml:20:3: registry.example.com.cert-dir: it has no counterpart; put the cer',
      'sync.yml:18:5: registry.example.com.credentials.password: the password is not ca',
      'sync.yml:26:5: quay.io.images.other/etcd: another source goes to ${TARGET:?the r',
      'sync.yml:27:5: quay.io.images.Bad: left out: invalid repository: repository name',
      'sync.yml:2:1: skopeo copies one platform unless it is called with --all; here al',
    ],
  );
});

test('--target and --scoped say where images go', () => {
  const [first] = read(importSkopeo(SKOPEO, 'f', { target: 'r.io/x/', scoped: true }).text).rules;
  assert.deepEqual(first?.targets, ['r.io/x/registry.example.com/busybox']);
  const [hub] = read(
    importSkopeo('docker.io: {images: {redis: []}}', 'f', { target: 'r.io', scoped: true }).text,
  ).rules;
  assert.deepEqual(hub?.targets, ['r.io/docker.io/library/redis']);
});

test('a file of image-syncer', () => {
  const { text, notes } = importImageSyncer(IMAGES, 'images.yml');
  const file = read(text);
  assert.deepEqual(brief(file), [
    'repository quay.io/coreos/kube-rbac-proxy -> quay.io/ruohe/kube-rbac-proxy [] ',
    'repository alpine -> a.io/x/alpine b.io:5000/x/alpine [3\\.10 3\\.11 latest] 3',
    'image localhost:5000/a/b:v1 -> c.io:5000/b:v1 [] ',
    'repository nginx -> c.io/nginx [.*(?:^1\\.2[0-9]$|latest).*] ',
    `image redis@${DIGEST} -> c.io/redis:pin [] `,
    'repository mysql -> t.io/m/mysql [] ',
  ]);
  assert.deepEqual(
    file.creds.map(({ registry, user, pass, tls }) => [registry, user, pass?.reveal(), tls]),
    [
      ['quay.io', 'xxx', 'q', 'disabled'],
      ['ghcr.io', 'u', 'g', undefined],
    ],
  );
  assert.doesNotMatch(text + notes.join('\n'), /hunter/);
  assert.deepEqual(notes, [
    'images.yml:3:28: auth.quay.io.password: the password is not carried over; put it into the variable QUAY_IO_PASSWORD',
    'images.yml:5:3: auth.quay.io/coreos: it has no counterpart; credentials are for a whole registry',
    'images.yml:13:3: images.busybox:1,2: left out: several tags cannot go to one tag',
    'images.yml:14:3: images.Foo: left out: invalid repository: repository name must be lowercase',
  ]);
});

test('JSON, with credentials in a file of their own', () => {
  const auth = { text: '{"r.io": {"username": "a", "password": "hunter2"}}', file: 'auth.json' };
  const { text, notes } = importImageSyncer('{"r.io/a:1": "s.io/a"}', 'images.json', { auth });
  assert.match(text, /^version: 1\ncreds:\n {2}- registry: r\.io\n {4}user: a\n {4}pass: \$\{R_IO_PASSWORD:\?/);
  assert.match(text, /source: r\.io\/a:1\n {4}target: s\.io\/a:1\n/);
  assert.deepEqual(notes, [
    'auth.json:1:28: r.io.password: the password is not carried over; put it into the variable R_IO_PASSWORD',
  ]);
});

test('what is no file of the tool is told', () => {
  for (const [run, why] of [
    [() => importSkopeo('- a', 'f'), /^f:1:1: expected a map/],
    [() => importSkopeo('a: [', 'f'), /^f:\d+:\d+: YAML: /],
    [() => importSkopeo('r.io: 1', 'f'), /^f:1:7: r\.io: expected a map with "images"/],
    [() => importSkopeo('r.io: {images: [a]}', 'f'), /^f:1:16: r\.io\.images: expected a map of images/],
    [() => importSkopeo('r.io: {images: {a: 1}}', 'f'), /^f:1:20: r\.io\.images\.a: expected a list of tags/],
    [() => importSkopeo('r.io: {}', 'f'), /^f:1:1: there is nothing to mirror in it; is it a file of skopeo sync/],
    [() => importImageSyncer('a/b: {c: d}', 'f'), /^f:1:6: a\/b: expected a target or a list of targets/],
    [() => importImageSyncer('{auth: [], images: {a: b}}', 'f'), /^f:1:8: auth: expected a map of registries/],
  ] as const) {
    assert.throws(run, { code: 'INVALID', message: why });
  }
});
