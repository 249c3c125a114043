import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitsGlob, wantsReferrer, wantsType } from '../../../src/handlers/artifact-filter.ts';
import { joinCarry, splitCarry } from '../../../src/handlers/attached-carry.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';

const ALL = { include: [], exclude: [], matches: [] };

test('globs know stars and question marks, and nothing else', () => {
  for (const [glob, text] of [
    ['*', ''],
    ['*', 'a/b'],
    ['a*c', 'ac'],
    ['a*c', 'abcbc'],
    ['*sig*', 'application/x.sig.v1'],
    ['a?c', 'abc'],
    ['**', 'x'],
    ['a.c', 'a.c'],
    ['*.json', 'a.json.json'],
    ['', ''],
    ['*a*b*', 'xxaxxbxx'],
  ] as const) {
    assert.ok(fitsGlob(glob, text), `${glob} ${text}`);
  }
  for (const [glob, text] of [
    ['', 'a'],
    ['a', ''],
    ['a?c', 'ac'],
    ['a.c', 'abc'],
    ['a*c', 'acb'],
    ['[ab]', 'a'],
    ['*b', 'ba'],
    ['?', ''],
  ] as const) {
    assert.ok(!fitsGlob(glob, text), `${glob} ${text}`);
  }
});

test('a glob of many stars takes no longer than a short one', () => {
  assert.ok(!fitsGlob(`${'*a'.repeat(50)}b`, 'a'.repeat(20_000)));
});

test('types are included, then excluded; what has none goes by the empty type', () => {
  assert.ok(wantsType(ALL, undefined));
  assert.ok(!wantsType({ ...ALL, include: ['a*'] }, undefined));
  assert.ok(wantsType({ ...ALL, exclude: ['a*'] }, undefined));
  assert.ok(!wantsType({ ...ALL, include: ['a*'], exclude: ['*b'] }, 'ab'));
});

test('one of several matches is enough, and all of it has to fit', () => {
  const desc = {
    mediaType: OCI_MANIFEST,
    digest: digestOf('x'),
    size: 1,
    artifactType: 'a/b',
    annotations: { k: 'v', l: 'w' },
  };
  const wants = (...matches: { artifactType?: string; annotations: Record<string, string> }[]): boolean =>
    wantsReferrer({ ...ALL, matches }, desc);
  assert.ok(wants({ annotations: { k: 'v' } }));
  assert.ok(wants({ artifactType: 'a/c', annotations: {} }, { artifactType: 'a/b', annotations: { l: '' } }));
  assert.ok(!wants({ artifactType: 'a/b', annotations: { k: 'w' } }));
  assert.ok(!wants({ annotations: { m: '' } }));
});

test('what a visit leaves comes back, whatever is in it', () => {
  const desc = {
    mediaType: OCI_MANIFEST,
    digest: digestOf('x'),
    size: 1,
    annotations: { a: 'Grüße\n\u2028 "quoted" \\ 名' },
  };
  const own = { subject: desc.digest, found: { referrers: [desc], tags: [{ tag: 't', desc }] } };
  for (const inner of ['', '{"a":\n1}', '\n', '1\n', '0', '\u00ff\u0080']) {
    const carry = joinCarry(own, inner) ?? '';
    assert.deepEqual(splitCarry(carry), { own, inner });
    assert.ok(Buffer.from(carry, 'latin1').toString('latin1') === carry, 'latin1, as manifests are carried');
    assert.deepEqual(splitCarry(joinCarry(undefined, inner) ?? ''), { own: undefined, inner });
  }
  assert.equal(joinCarry(undefined, undefined), undefined);
  assert.deepEqual(splitCarry(''), { own: undefined, inner: '' });
});
