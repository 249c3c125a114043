import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { descriptorToJson, isMediaType, parseDescriptor } from '../../../src/oci/descriptor-json.ts';
import { parseStrictJson } from '../../../src/oci/json.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';

const base = { mediaType: OCI_MANIFEST, digest: digestOf('x'), size: 1 };

test('a descriptor survives the way to JSON and back', () => {
  const json = {
    ...base,
    urls: ['https://example.com/x'],
    annotations: { 'org.opencontainers.image.ref.name': 'docker.io/library/redis:7' },
    platform: {
      architecture: 'amd64',
      os: 'windows',
      'os.version': '10.0.17763.1',
      'os.features': ['win32k'],
      variant: 'v2',
    },
    artifactType: 'application/vnd.x',
  };
  const desc = parseDescriptor(json, 'here');
  assert.deepEqual(desc.platform, {
    os: 'windows',
    architecture: 'amd64',
    variant: 'v2',
    osVersion: '10.0.17763.1',
    osFeatures: ['win32k'],
  });
  assert.equal(JSON.stringify(descriptorToJson(desc)), JSON.stringify(json));
});

test('what is null, empty or unknown is absent, and data is not kept', () => {
  const more = { urls: null, annotations: null, platform: null, artifactType: '', data: 'eA==', vendor: { x: 1 } };
  assert.deepEqual(parseDescriptor({ ...base, ...more }, 'here'), base);
  for (const platform of [{}, { os: '', architecture: '' }, { features: null }]) {
    assert.deepEqual(parseDescriptor({ ...base, platform, urls: [] }, 'here'), base);
  }
});

test('a bad field is refused with its place', () => {
  const cases: readonly (readonly [more: object, message: RegExp])[] = [
    [{ mediaType: undefined }, /^here\.mediaType: must be a media type, got nothing/],
    [{ mediaType: 'plain' }, /^here\.mediaType/],
    [{ mediaType: 'a/b\r\nX: y' }, /got "a\/b\\r\\nX: y"/],
    [{ digest: 'sha256:abc' }, /^here\.digest: must be a digest, got "sha256:abc"/],
    [{ digest: `sha256:${'A'.repeat(64)}` }, /^here\.digest/],
    [{ digest: `${digestOf('x')}\n` }, /^here\.digest/],
    [{ digest: '../../etc/passwd' }, /^here\.digest/],
    [{ digest: ['x'] }, /^here\.digest: .* got a list/],
    [{ digest: undefined }, /^here\.digest: .* got nothing/],
    [{ size: -1 }, /^here\.size: must be a whole number of bytes below 2\^53, got -1/],
    [{ size: 1.5 }, /^here\.size/],
    [{ size: '1' }, /^here\.size: .* got "1"/],
    [{ size: null }, /^here\.size/],
    [{ size: 2 ** 53 }, /^here\.size/],
    [{ size: 1e300 }, /^here\.size/],
    [{ size: NaN }, /^here\.size/],
    [{ urls: 'x' }, /^here\.urls/],
    [{ urls: ['https://a b'] }, /^here\.urls/],
    [{ urls: ['https://a\r\nHost: b'] }, /^here\.urls/],
    [{ urls: Array.from({ length: 33 }, () => 'https://a') }, /^here\.urls/],
    [{ urls: [`https://${'a'.repeat(5000)}`] }, /^here\.urls/],
    [{ annotations: { a: null } }, /^here\.annotations/],
    [{ artifactType: 5 }, /^here\.artifactType/],
    [{ platform: 'linux/amd64' }, /^here\.platform: must be an object/],
    [{ platform: { os: 1, architecture: 'x' } }, /^here\.platform\.os: must be a short text, got 1/],
    [{ platform: { os: 'linux', architecture: '\x1b[2J' } }, /^here\.platform\.architecture/],
    [{ platform: { os: 'linux', architecture: 'a'.repeat(129) } }, /^here\.platform\.architecture/],
    [{ platform: { os: 'linux', architecture: 'x', 'os.features': [1] } }, /^here\.platform\.os\.features/],
    [{ platform: { OS: 'linux', architecture: 'x' } }, /^here\.platform: the field "OS" must be written "os"/],
  ];
  for (const [more, message] of cases) {
    assert.throws(() => parseDescriptor({ ...base, ...more }, 'here'), { code: 'MALFORMED', message }, String(message));
  }
});

test('a size beyond 2^53 in the text is refused, not rounded', () => {
  for (const size of ['9007199254740993', '18446744073709551615', '1e400']) {
    const text = `{"mediaType":"a/b","digest":"${base.digest}","size":${size}}`;
    assert.throws(
      () => parseDescriptor(parseStrictJson(Buffer.from(text), 'here'), 'here'),
      { code: 'MALFORMED' },
      size,
    );
  }
  assert.equal(parseDescriptor({ ...base, size: Number.MAX_SAFE_INTEGER }, 'here').size, Number.MAX_SAFE_INTEGER);
  assert.equal(parseDescriptor({ ...base, size: 0 }, 'here').size, 0);
});

test('a digest of an algorithm that gantry does not know is told apart from nonsense', () => {
  const digest = `blake3:${'a'.repeat(64)}`;
  assert.throws(() => parseDescriptor({ ...base, digest }, 'here'), { code: 'UNSUPPORTED', message: /"blake3"/ });
});

test('a media type is type and subtype, perhaps with parameters, and nothing that ends a header', () => {
  const good = [
    'a/b',
    OCI_MANIFEST,
    'text/plain; charset=utf-8',
    'application/vnd.dev.sigstore.bundle+json;version=0.2',
  ];
  const bad = [
    '',
    'a',
    '/',
    'a/',
    '/b',
    'a/b/c',
    ' a/b',
    'a/b ',
    'a/b\n',
    'a/\0',
    'a/b;',
    'a/b; x',
    'é/b',
    '*/*',
    'a/b;x="y"',
  ];
  for (const text of good) assert(isMediaType(text), text);
  for (const text of [...bad, `a/${'b'.repeat(128)}`, 'a/'.repeat(1e6), `a/b${';a=b'.repeat(1e6)}`]) {
    assert.equal(isMediaType(text), false, text.slice(0, 40));
  }
});
