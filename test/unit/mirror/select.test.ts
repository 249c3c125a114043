/** Tag filters on tag lists as registries have them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TagRules } from '../../../src/mirror/file/types.ts';
import { repoSelected, selectTags } from '../../../src/mirror/tags/select.ts';
import { DEBIAN, PYTHON, REDIS } from '../../support/mirror/tag-lists.ts';

const rules = (said: Partial<TagRules>): TagRules => ({
  semverRange: [],
  allow: [],
  deny: [],
  latest: undefined,
  sort: 'semver',
  minTags: undefined,
  immutable: [],
  ...said,
});

const HEX = 'a'.repeat(64);

interface Case {
  readonly what: string;
  readonly tags: readonly string[];
  readonly rules: Partial<TagRules>;
  readonly kept: string;
  readonly steps: readonly (readonly [filter: string, kept: number])[];
}

const CASES: readonly Case[] = [
  {
    what: 'allow is anchored: 7 is not 7.2 or 17',
    tags: REDIS,
    rules: { allow: ['7', 'latest', '7\\.4(?:\\.\\d+)?'] },
    kept: 'latest 7.4.0 7.4.1 7.4.2 7.4 7',
    steps: [['allow', 6]],
  },
  {
    what: 'semverRange leaves all variants of a version, and no pre-release of the first',
    tags: REDIS,
    rules: { semverRange: ['>=7.4'], deny: ['.*-(?:alpine|bookworm).*', '8.*'] },
    kept: '7.4.0 7.4.1 7.4.2 7.4',
    steps: [
      ['semverRange', 22],
      ['deny', 4],
    ],
  },
  {
    what: 'any of several ranges, then allow, then deny',
    tags: REDIS,
    rules: { semverRange: ['~5.0.13', '~6.2.16'], allow: ['[\\d.]+-alpine'], deny: ['.*\\.13-.*'] },
    kept: '5.0.14-alpine 6.2.16-alpine 6.2.17-alpine',
    steps: [
      ['semverRange', 20],
      ['allow', 4],
      ['deny', 3],
    ],
  },
  {
    what: 'the newest of what is left, by version',
    tags: PYTHON,
    rules: { allow: ['\\d+\\.\\d+\\.\\d+-slim'], latest: 4 },
    kept: '3.12.9-slim 3.13.0-slim 3.13.1-slim 3.13.2-slim',
    steps: [
      ['allow', 76],
      ['latest', 4],
    ],
  },
  {
    what: 'pre-releases of python are versions, above 3.13 and below 3.14',
    tags: PYTHON,
    rules: { semverRange: ['>3.13.2 <3.14'], allow: ['[^-]+'] },
    kept: '3.14.0a5 3.14.0a6',
    steps: [
      ['semverRange', 21],
      ['allow', 2],
    ],
  },
  {
    what: 'dates sort by the alphabet',
    tags: DEBIAN,
    rules: { allow: ['bookworm-\\d+-slim'], latest: 3, sort: 'alphabetical' },
    kept: 'bookworm-20240701-slim bookworm-20240722-slim bookworm-20240812-slim',
    steps: [
      ['allow', 27],
      ['latest', 3],
    ],
  },
  {
    what: 'versions with two numbers',
    tags: DEBIAN,
    rules: { semverRange: ['>=12'], deny: ['.*-slim'] },
    kept: '12 13 12.0 12.1 12.2 12.4 12.5 12.6',
    steps: [
      ['semverRange', 16],
      ['deny', 8],
    ],
  },
  {
    what: 'tagSets are a union, also with tags',
    tags: REDIS,
    rules: {
      allow: ['latest'],
      sets: [
        { semverRange: ['~7.4.1'], allow: [], deny: ['.*-.*'] },
        { semverRange: [], allow: ['6\\.2\\.1\\d-bookworm'], deny: ['.*\\.1[0-6]-.*'] },
      ],
    },
    kept: 'latest 6.2.17-bookworm 7.4.1 7.4.2',
    steps: [['tagSets', 4]],
  },
  {
    what: 'what is no version comes after all that are',
    tags: ['latest', 'edge', '1.0', '1.1', 'v2'],
    rules: { latest: 4 },
    kept: 'latest 1.0 1.1 v2',
    steps: [['latest', 4]],
  },
  {
    what: 'digest tags are no tags',
    tags: ['v1', `sha256-${HEX}`, `sha256-${HEX}.sig`, `sha256-${HEX}.att`, 'sha256-abc', `sha512-${HEX}${HEX}.sbom`],
    rules: { allow: ['v.*', 'sha256.*'] },
    kept: 'v1 sha256-abc',
    steps: [
      ['digestTag', 2],
      ['allow', 2],
    ],
  },
  { what: 'no filter keeps all', tags: ['b', 'a'], rules: {}, kept: 'b a', steps: [] },
];

test('each filter keeps what it says, in the order of the list', () => {
  for (const each of CASES) {
    const selection = selectTags(each.tags, rules(each.rules));
    assert.deepEqual(selection.kept, each.kept.split(' '), each.what);
    assert.deepEqual(
      selection.steps.map(({ filter, kept }) => [filter, kept]),
      each.steps,
      each.what,
    );
    assert.equal(selection.listed, each.tags.length);
    assert.equal(selection.kept.length + selection.dropped.length, each.tags.length, each.what);
  }
});

test('the lists are real ones: hundreds of different tags', () => {
  for (const list of [REDIS, DEBIAN, PYTHON]) {
    assert.ok(list.length > 400, String(list.length));
    assert.equal(new Set(list).size, list.length);
  }
});

test('each tag that was dropped is explained by the filter that did it', () => {
  const { dropped } = selectTags(
    ['latest', '6.2', '7.0', '7.2-rc1', '7.2', '7.2-alpine', `sha256-${HEX}`],
    rules({ semverRange: ['>=7'], allow: ['7.*', '8', '9', '10'], deny: ['.*-rc\\d'], latest: 2 }),
  );
  assert.deepEqual(dropped, [
    { tag: `sha256-${HEX}`, filter: 'digestTag', why: 'it belongs to the manifest it names, and goes with it' },
    { tag: 'latest', filter: 'semverRange', why: 'it is no version' },
    { tag: '6.2', filter: 'semverRange', why: 'it is not in ">=7"' },
    { tag: '7.2-rc1', filter: 'deny', why: 'it matches ".*-rc\\d"' },
    { tag: '7.0', filter: 'latest', why: 'it is not among the newest 2 by version' },
  ]);
  const sets = selectTags(
    ['1', 'x'],
    rules({ allow: ['y'], sets: [{ semverRange: ['1.x'], allow: [], deny: ['1'] }] }),
  );
  assert.deepEqual(
    sets.dropped.map(({ why }) => why),
    [
      'set 0: deny: it matches "1"; set 1: allow: it does not match "y"',
      'set 0: semverRange: it is no version; set 1: allow: it does not match "y"',
    ],
  );
  const [unversioned] = selectTags(['latest', '1'], rules({ latest: 1 })).dropped;
  assert.equal(unversioned?.why, 'it is no version, and the newest 1 are');
});

test('fewer tags than minTags are refused, with both numbers', () => {
  assert.equal(selectTags(['1', '2'], rules({ minTags: 2 })).refused, undefined);
  assert.equal(
    selectTags(['1', '2', 'x'], rules({ semverRange: ['*'], minTags: 3 })).refused,
    '2 of 3 tags are selected, and tags.minTags is 3',
  );
});

test('repositories are filtered as tags are', () => {
  const repos = { allow: ['team/.*', 'base'], deny: ['.*/private-.*'] };
  assert.deepEqual(
    ['team/app', 'base', 'team/private-app', 'database', 'other/app'].filter((name) => repoSelected(name, repos)),
    ['team/app', 'base'],
  );
  assert.equal(repoSelected('any/thing', { allow: [], deny: [] }), true);
});
