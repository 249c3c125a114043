/** A file that is surely right is read without the words for what is wrong; and no file is read that would be refused. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { accepts, readAccepted } from '../../../src/mirror/file/accepted.ts';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';
import { mirrorJsonSchema } from '../../../src/mirror/file/schema.ts';
import type { MirrorFile } from '../../../src/mirror/file/types.ts';

const schema: unknown = JSON.parse(JSON.stringify(mirrorJsonSchema()));
const parts = { env: { SOURCE: 'a.example', TARGET: 'b.example' }, readFile: () => 'secret' };
const quick = (text: string): MirrorFile | undefined => readAccepted(text, 'mirror.yml', parts, schema);
const whole = (text: string): MirrorFile => readMirrorFile(text, 'mirror.yml', parts);

/** What can be compared: templates are functions. */
const plain = (file: MirrorFile | undefined): unknown => JSON.parse(JSON.stringify(file ?? null));

const entry = (more: string): string =>
  `version: 1\nsync:\n  - {source: a.example/app, target: b.example/app, type: repository, ${more}}\n`;

test('examples without a schedule are accepted, and read as by the other reader', async () => {
  const dir = new URL('../../../examples/', import.meta.url);
  let accepted = 0;
  for (const name of await readdir(dir)) {
    const text = await readFile(new URL(name, dir), 'utf8');
    const file = quick(text);
    if (file === undefined) continue;
    accepted += 1;
    assert.deepEqual(plain(file), plain(whole(text)), name);
  }
  assert.ok(accepted >= 5, `${accepted} examples`);
});

test('every kind of value is read as by the other reader', () => {
  const texts = [
    entry(`tags: {allow: ["v.*"], deny: [".*-rc"], semverRange: [">=1"], latest: 3, immutable: ["*.*"]}`),
    entry(`platforms: [linux/amd64], index: strip, referrers: false, interval: 60m, fastCheck: true`),
    entry(`prune: {mode: report, graceDays: 1.5}, artifacts: {include: ["*"]}, tags: {immutable: "1.*"}`),
    entry(`x-note: {anything: [1, 2]}, backup: "old-{{ .Ref.Tag }}"`),
    `defaults: {parallel: 3, ratelimit: {min: 10, retry: 5m}}\n${entry('digestTags: true')}`,
    `creds: [{registry: a.example, user: me, pass: x, tls: disabled}]\n${entry('mediaTypes: [a/b]')}`,
  ];
  for (const text of texts) assert.deepEqual(plain(quick(text) ?? assert.fail(text)), plain(whole(text)));
});

test('what is wrong, or not judged here, is for the other reader', () => {
  const wrong = [
    '',
    '- a',
    'version: 2\nsync: []',
    'sync: []',
    'sync:\n  - {source: a.example/app, type: repository, targt: b}\n',
    entry('tags: {allow: ["("]}'),
    entry('tags: {semverRange: ["nonsense"]}'),
    entry('tags: {latest: 0}'),
    entry('tags: {latest: 1.5}'),
    entry('interval: soon'),
    entry('platforms: [nope/]'),
    entry('index: some'),
    entry('referrers: "yes"'),
    entry('unknown: 1'),
    entry('tags: {allow: "v1"}'),
    entry('tags: {allow: [3.10]}'), // a text that YAML takes for a number is meant as it was written
    'images: {}\n',
    entry('artifacts: {include: [1]}'),
  ];
  for (const text of wrong) assert.equal(quick(text), undefined, text);
  assert.equal(quick(entry('schedule: "0 3 * * *"')), undefined, 'a schedule needs its calendar');
  assert.equal(whole(entry('schedule: "0 3 * * *"')).rules.length, 1);
});

test('what a template does is told by both readers alike', () => {
  const text = entry('backup: "{{ nope }}"');
  const errors = [quick, whole].map((read) => {
    try {
      read(text);
      return '';
    } catch (err) {
      return isCode(err, 'INVALID') ? err.message : String(err);
    }
  });
  assert.match(errors[0] ?? '', /nope/);
  assert.equal(errors[0], errors[1]);
});

test('a keyword that is not known makes nothing sure', () => {
  assert.equal(accepts({ type: 'string' }, 'a'), true);
  assert.equal(accepts({ type: 'string', multipleOf: 2 }, 'a'), false);
  assert.equal(accepts({ type: 'string', format: 'date' }, '2026-01-01'), false);
  assert.equal(accepts(true, 'a'), false);
});
