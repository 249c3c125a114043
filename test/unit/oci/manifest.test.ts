import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import {
  assertManifestType,
  childrenOf,
  isRootType,
  MAX_CHILDREN,
  MAX_MANIFEST_BYTES,
  parseManifest,
  type Manifest,
} from '../../../src/oci/manifest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from '../../../src/oci/media-types.ts';
import { matchPlatform } from '../../../src/oci/platform.ts';

type Doc = Record<string, unknown>;

const WHAT = 'manifest sha256:12ab';
const desc = (name: string, more: Doc = {}): Doc => ({
  mediaType: OCI_LAYER_GZIP,
  digest: digestOf(name),
  size: name.length,
  ...more,
});
const config = desc('config', { mediaType: OCI_CONFIG });
const image = (more: Doc = {}): Doc => ({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config,
  layers: [desc('one'), desc('two')],
  ...more,
});
const index = (more: Doc = {}): Doc => ({
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: [desc('m1', { mediaType: OCI_MANIFEST }), desc('m2', { mediaType: DOCKER_MANIFEST })],
  ...more,
});
const without = (doc: Doc, ...names: readonly string[]): Doc =>
  Object.fromEntries(Object.entries(doc).filter(([name]) => !names.includes(name)));

const parse = (doc: Doc | string, mediaType = ''): Manifest =>
  parseManifest(Buffer.from(typeof doc === 'string' ? doc : JSON.stringify(doc)), { mediaType }, WHAT);

const digests = (manifest: Manifest): string[] => childrenOf(manifest).map((child) => child.desc.digest);

test('an image manifest comes apart into config and layers', () => {
  const manifest = parse(image({ artifactType: 'application/vnd.x+json', annotations: { a: 'b' } }), OCI_MANIFEST);
  assert.equal(manifest.kind, 'manifest');
  assert.equal(manifest.mediaType, OCI_MANIFEST);
  assert.equal(manifest.artifactType, 'application/vnd.x+json');
  assert.deepEqual(manifest.annotations, { a: 'b' });
  assert.deepEqual(childrenOf(manifest), [
    { kind: 'blob', desc: config },
    { kind: 'blob', desc: desc('one') },
    { kind: 'blob', desc: desc('two') },
  ]);
});

test('an index comes apart into manifests', () => {
  const manifest = parse(index(), OCI_INDEX);
  assert.equal(manifest.kind, 'index');
  assert.deepEqual(
    childrenOf(manifest).map((child) => [child.kind, child.desc.mediaType]),
    [
      ['manifest', OCI_MANIFEST],
      ['manifest', DOCKER_MANIFEST],
    ],
  );
});

test('the kind of a document follows from all that speaks of it', () => {
  const cases: readonly (readonly [doc: Doc, sentAs: string, kind: string, mediaType: string])[] = [
    [image(), OCI_MANIFEST, 'manifest', OCI_MANIFEST],
    [image({ mediaType: DOCKER_MANIFEST }), DOCKER_MANIFEST, 'manifest', DOCKER_MANIFEST],
    [image({ mediaType: DOCKER_MANIFEST }), OCI_MANIFEST, 'manifest', DOCKER_MANIFEST],
    [index({ mediaType: DOCKER_LIST }), DOCKER_LIST, 'index', DOCKER_LIST],
    [image(), '', 'manifest', OCI_MANIFEST],
    [index(), 'application/octet-stream', 'index', OCI_INDEX],
    [index(), 'Application/JSON; charset=utf-8', 'index', OCI_INDEX],
    [index(), `${OCI_INDEX}; charset=utf-8`, 'index', OCI_INDEX],
    [without(image(), 'mediaType'), '', 'manifest', OCI_MANIFEST],
    [without(index(), 'mediaType'), 'text/plain', 'index', OCI_INDEX],
    [without(image(), 'mediaType'), DOCKER_MANIFEST, 'manifest', DOCKER_MANIFEST],
    [image({ mediaType: '' }), '', 'manifest', OCI_MANIFEST],
    [image({ manifests: null, layers: null }), '', 'manifest', OCI_MANIFEST],
    [index({ manifests: null }), '', 'index', OCI_INDEX],
  ];
  for (const [doc, sentAs, kind, mediaType] of cases) {
    const manifest = parse(doc, sentAs);
    assert.equal(manifest.kind, kind, sentAs);
    assert.equal(manifest.mediaType, mediaType, sentAs);
  }
});

test('a document that two readers could take for two things is refused', () => {
  const cases: readonly (readonly [doc: Doc | string, sentAs: string, message: RegExp])[] = [
    [image({ manifests: [] }), OCI_MANIFEST, /ambiguous: "manifests" in a document of type/],
    [index({ config }), OCI_INDEX, /ambiguous: "config"/],
    [index({ layers: [] }), OCI_INDEX, /ambiguous: "layers"/],
    [index({ fsLayers: [] }), '', /ambiguous: "fsLayers"/],
    [image({ blobs: [] }), '', /ambiguous: "blobs"/],
    [image(), OCI_INDEX, /mediaType: says .*manifest.v1\+json, but it was sent as .*index/],
    [index(), DOCKER_MANIFEST, /mediaType: says/],
    [without({ ...image(), manifests: [] }, 'mediaType'), '', /ambiguous: "config"/],
    [without(index(), 'mediaType'), OCI_MANIFEST, /ambiguous: "manifests"/],
    [without(image(), 'mediaType'), OCI_INDEX, /ambiguous: "config"/],
    [image({ Manifests: [] }), OCI_MANIFEST, /the field "Manifests" must be written "manifests"/],
    [image({ layerſ: [] }), OCI_MANIFEST, /twice, in upper and lower case/],
    [image({ config: { ...config, DIGEST: digestOf('x') } }), '', /twice, in upper and lower case/],
    [
      image({ layers: [desc('one', { URLs: ['https://x'] })] }),
      '',
      /layers\.0: the field "URLs" must be written "urls"/,
    ],
    [`{"mediaType":"${OCI_INDEX}",${JSON.stringify(image()).slice(1)}`, '', /"mediaType" stands there twice/],
  ];
  for (const [doc, sentAs, message] of cases) {
    assert.throws(() => parse(doc, sentAs), { code: 'MALFORMED', message, origin: 'source' }, String(message));
  }
});

test('what is not a manifest is refused with its place', () => {
  const cases: readonly (readonly [doc: Doc | string, message: RegExp])[] = [
    ['[]', /manifest sha256:12ab: must be an object, got a list/],
    ['null', /must be an object, got null/],
    ['"x"', /must be an object, got "x"/],
    ['<!DOCTYPE html>', /not JSON: expected a value, found "<" \(line 1, column 1\)/],
    ['{"errors":[{"code":"X"}]}', /neither a manifest nor an index/],
    [without(image(), 'schemaVersion'), /schemaVersion: must be 2, got nothing/],
    [image({ schemaVersion: '2' }), /schemaVersion: must be 2, got "2"/],
    [image({ schemaVersion: 3 }), /schemaVersion: must be 2, got 3/],
    [image({ mediaType: 7 }), /mediaType: must be a media type, got 7/],
    [image({ mediaType: 'a\r\nb' }), /mediaType: must be a media type, got "a\\r\\nb"/],
    [without(image(), 'config'), /config: must be an object, got nothing/],
    [without(image(), 'layers'), /layers: is missing/],
    [without(index(), 'manifests'), /manifests: is missing/],
    [image({ layers: {} }), /layers: must be a list, got an object/],
    [index({ manifests: 'x' }), /manifests: must be a list, got "x"/],
    [image({ layers: [desc('one'), null] }), /manifest sha256:12ab: layers\.1: must be an object, got null/],
    [image({ artifactType: 'x' }), /artifactType: must be a media type/],
    [image({ annotations: [] }), /annotations: must be an object that maps text to text/],
    [image({ annotations: { a: 'x', b: 1 } }), /annotations: .*"b" does not/],
    [image({ subject: 'x' }), /subject: must be an object/],
    [image({ subject: desc('s', { size: -1 }) }), /subject\.size: must be/],
  ];
  for (const [doc, message] of cases) {
    assert.throws(() => parse(doc), { code: 'MALFORMED', message }, String(message));
  }
});

test('schema 1 is refused with what to do', () => {
  const docs: readonly (readonly [doc: Doc, sentAs: string])[] = [
    [{ schemaVersion: 1, name: 'x', tag: 'y', fsLayers: [], history: [], signatures: [] }, ''],
    [{ schemaVersion: 1, fsLayers: [] }, DOCKER_SCHEMA1_SIGNED],
    [image({ mediaType: DOCKER_SCHEMA1 }), ''],
    [without(image(), 'mediaType'), DOCKER_SCHEMA1],
  ];
  for (const [doc, sentAs] of docs) {
    assert.throws(
      () => parse(doc, sentAs),
      (err) => {
        assert(err instanceof GantryError);
        assert.equal(err.code, 'UNSUPPORTED');
        assert.match(err.message, /schema 1/);
        assert.match(err.hint ?? '', /built and pushed again/);
        return true;
      },
    );
  }
});

test('a type that is not known is refused by name', () => {
  const artifact = 'application/vnd.oci.artifact.manifest.v1+json';
  assert.throws(() => parse({ mediaType: artifact, blobs: [] }), {
    code: 'UNSUPPORTED',
    message: /artifact\.manifest/,
  });
  assert.throws(() => parse(image(), 'text/html'), { code: 'UNSUPPORTED', message: /"text\/html"/ });
  assert.throws(() => parse(image({ mediaType: OCI_CONFIG })), { code: 'UNSUPPORTED' });
  assert.throws(() => parse(image(), 'x'.repeat(1e6)), { code: 'UNSUPPORTED', message: /^.{1,400}$/ });
});

test('too much is refused: 4 MiB, 10,000 children', () => {
  const big = Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ');
  assert.throws(() => parseManifest(big, { mediaType: '' }), { code: 'TOO_LARGE' });
  const many = (n: number): Doc[] => Array.from({ length: n }, (_, i) => desc(`l${i}`));
  assert.equal(childrenOf(parse(image({ layers: many(MAX_CHILDREN) }))).length, MAX_CHILDREN + 1);
  assert.throws(() => parse(image({ layers: many(MAX_CHILDREN + 1) })), {
    code: 'TOO_LARGE',
    message: /10001 entries/,
  });
});

test('subject is never a child', () => {
  const manifest = parse(image({ subject: desc('above', { mediaType: OCI_MANIFEST }) }));
  assert.equal(manifest.subject?.digest, digestOf('above'));
  assert.equal(digests(manifest).includes(digestOf('above')), false);
});

test('what stands under config or layers is a blob whatever its media type', () => {
  const helm = desc('helm', { mediaType: 'application/vnd.cncf.helm.config.v1+json' });
  const odd = desc('odd', { mediaType: OCI_INDEX });
  const bundle = desc('bundle', { mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2' });
  const kinds = childrenOf(parse(image({ config: helm, layers: [odd, bundle] }))).map((child) => child.kind);
  assert.deepEqual(kinds, ['blob', 'blob', 'blob']);
});

test('a child that is listed a thousand times is there once', () => {
  const layers = Array.from({ length: 1000 }, () => desc('same'));
  assert.deepEqual(digests(parse(image({ layers }))), [config['digest'], digestOf('same')]);
  const empty = desc('{}', { mediaType: 'application/vnd.oci.empty.v1+json' });
  assert.equal(digests(parse(image({ config: empty, layers: [empty] }))).length, 1);
});

test('one digest with two sizes is refused', () => {
  const message = /stands there with 4 and with 5 bytes/;
  assert.throws(() => parse(image({ layers: [desc('same'), desc('same', { size: 5 })] })), {
    code: 'MALFORMED',
    message,
  });
  const entries = [desc('same'), desc('same', { size: 5 })];
  assert.throws(() => parse(index({ manifests: entries })), { code: 'MALFORMED', message });
  const two = image({ config: desc('same'), layers: [desc('same', { size: 5 })] });
  assert.throws(() => parse(two), { code: 'MALFORMED', message });
});

test('one manifest listed for two platforms is found for each of them', () => {
  const entryFor = (architecture: string): Doc =>
    desc('same', { mediaType: OCI_MANIFEST, platform: { os: 'linux', architecture } });
  const manifest = parse(index({ manifests: [entryFor('amd64'), entryFor('arm64')] }));
  assert.equal(childrenOf(manifest).length, 1);
  for (const architecture of ['amd64', 'arm64']) {
    const [child, ...rest] = childrenOf(manifest, matchPlatform({ os: 'linux', architecture }));
    assert.equal(child?.desc.platform?.architecture, architecture);
    assert.deepEqual(rest, []);
  }
});

test('an index with an entry of an unknown type is read, and the entry refused when it is visited', () => {
  const manifest = parse(index({ manifests: [desc('wasm', { mediaType: 'application/vnd.wasm.v1+json' })] }));
  const [child] = childrenOf(manifest);
  assert(child !== undefined);
  assert.equal(child.kind, 'manifest');
  assert.throws(() => assertManifestType(child.desc), {
    code: 'UNSUPPORTED',
    message: /sha256:.*"application\/vnd\.wasm/,
  });
  assert.throws(() => assertManifestType({ ...child.desc, mediaType: DOCKER_SCHEMA1 }), { message: /schema 1/ });
  for (const mediaType of [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]) {
    assert(isRootType(mediaType));
    assert.doesNotThrow(() => assertManifestType({ ...child.desc, mediaType }));
  }
  assert.equal(isRootType(OCI_CONFIG), false);
});

test('__proto__ in annotations is an annotation', () => {
  const text = JSON.stringify(image()).replace('{', '{"annotations":{"__proto__":"x","constructor":"y"},');
  const { annotations } = parse(text);
  assert.deepEqual(Object.entries(annotations ?? {}), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  assert.equal(Object.getPrototypeOf(annotations), Object.prototype);
  const hostile = JSON.stringify(image()).replace('{', '{"annotations":{"__proto__":{"polluted":"x"}},');
  assert.throws(() => parse(hostile), { code: 'MALFORMED', message: /"__proto__" does not/ });
  const inherited = JSON.stringify(without(image(), 'config')).replace(
    '{',
    `{"__proto__":{"config":${JSON.stringify(config)}},`,
  );
  assert.throws(() => parse(inherited), { code: 'MALFORMED', message: /config: must be an object/ });
});
