import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSelection, parseSelection, type SelectionParts } from '../../../src/handlers/copy-selection.ts';
import { DOCKER_LIST, MANIFEST_ACCEPT, OCI_MANIFEST } from '../../../src/oci/media-types.ts';

const ATTACHED = {
  referrers: true,
  referrerSource: 'r.example:5000/a/b',
  referrerTarget: 'r.example/c',
  digestTags: true,
  fastCheck: true,
  include: ['a*', '*&=+ %'],
  exclude: ['"quoted"', 'back\\slash'],
  require: ['c?'],
  matches: [
    { artifactType: 'x/y+z', annotations: { 'a=b&c': 'd "e"' } },
    { annotations: {} },
    { annotations: { only: '' } },
  ],
};

test('a selection comes back as it was', () => {
  const text = formatSelection({
    platforms: 'linux/amd64,linux/arm64',
    index: 'strip',
    isDeep: true,
    nonDistributable: true,
    mediaTypes: [DOCKER_LIST, OCI_MANIFEST],
    attached: ATTACHED,
  });
  const { platforms, ...rest } = parseSelection(text);
  assert.equal(platforms.text, 'linux/amd64,linux/arm64');
  assert.deepEqual(rest, {
    index: 'strip',
    isDeep: true,
    nonDistributable: true,
    mediaTypes: MANIFEST_ACCEPT.filter((type) => type === DOCKER_LIST || type === OCI_MANIFEST),
    attached: ATTACHED,
  });
});

test('no selection has a quote or a backslash in it, and none is long for nothing', () => {
  assert.doesNotMatch(formatSelection({ attached: ATTACHED, mediaTypes: MANIFEST_ACCEPT }), /["\\]/);
  const texts: [SelectionParts, string][] = [
    [{}, ''],
    [{ attached: {} }, ''],
    [{ attached: { include: [], referrers: false } }, ''],
    [{ attached: { referrers: true, digestTags: true } }, 'ref=1&dt=1'],
    [{ mediaTypes: [] }, ''],
    [{ mediaTypes: MANIFEST_ACCEPT }, 'mt=0123'],
  ];
  for (const [parts, text] of texts) assert.equal(formatSelection(parts), text);
});

test('types that are not handled leave none', () => {
  assert.deepEqual(parseSelection(formatSelection({ mediaTypes: ['application/x'] })).mediaTypes, []);
  assert.equal(parseSelection('').mediaTypes, undefined);
});

test('two matches that differ are two selections', () => {
  const textOf = (artifactType: string): string =>
    formatSelection({ attached: { matches: [{ artifactType, annotations: {} }] } });
  assert.notEqual(textOf('a/b'), textOf('a/c'));
});
