import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { KnownContent } from '../../../../src/app/pull-through/known.ts';
import type { Descriptor } from '../../../../src/oci/descriptor.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../../../../src/oci/media-types.ts';

test('of content only what it is called is kept: annotations of strangers may have megabytes', () => {
  const config = { mediaType: OCI_CONFIG, digest: digestOf(Buffer.from('{}')), size: 2 };
  const layer = { mediaType: OCI_LAYER, digest: digestOf(Buffer.from('x')), size: 1 };
  const large = { annotations: { large: 'x'.repeat(1000) }, urls: ['https://example.com/x'] };
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [{ ...layer, ...large }] };
  const bytes = Buffer.from(JSON.stringify(document));
  const desc = { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length };
  const known = new KnownContent();
  known.learn('r.example/app', { ...desc, ...large }, bytes);
  assert.deepEqual(
    [desc, config, layer].map(({ digest }) => known.get('r.example/app', digest)),
    [desc, config, layer],
  );
  assert.equal(known.get('r.example/other', layer.digest), undefined);
});

describe('content of which two manifests say something else', () => {
  const layer = { mediaType: OCI_LAYER, digest: digestOf(Buffer.from('x')), size: 1 };
  const learn = (known: KnownContent, each: Descriptor): void => {
    const config = { mediaType: OCI_CONFIG, digest: digestOf(Buffer.from('{}')), size: 2 };
    const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [each] };
    const bytes = Buffer.from(JSON.stringify(document));
    known.learn('r/app', { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length }, bytes);
  };

  for (const [what, other] of [
    ['size', { ...layer, size: 1000 }],
    ['type', { ...layer, mediaType: 'application/octet-stream' }],
  ] as const) {
    it(`as to its ${what} is not known, whoever was first`, () => {
      for (const order of [
        [layer, other],
        [other, layer],
      ]) {
        const known = new KnownContent();
        for (const each of order) learn(known, each);
        assert.equal(known.get('r/app', layer.digest), undefined);
        learn(known, { ...layer, annotations: { a: 'third' } });
        assert.equal(known.get('r/app', layer.digest), undefined);
      }
    });
  }

  it('is not known either when it turned out to be something else', () => {
    const known = new KnownContent();
    learn(known, layer);
    known.doubt('r/app', layer.digest);
    assert.equal(known.get('r/app', layer.digest), undefined);
  });
});
