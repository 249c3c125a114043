import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { artifact } from '../../support/artifacts.ts';
import { ask, type Asking, type Got } from '../../support/ask.ts';
import { image, multiPlatform } from '../../support/images.ts';
import { SyntheticBlob, TestRegistry } from '../../support/registry.ts';

interface OciErrors {
  errors: { code: string }[];
}

describe('the test registry', () => {
  let registry: TestRegistry;
  const app = image({ seed: 'app', layers: [{ raw: Buffer.from('0123456789') }] });
  const layer = app.layers[0]?.digest ?? '';

  before(async () => {
    registry = await TestRegistry.start();
    registry.add('team/app', 'v1', app);
    registry.add('team/app', 'v2', app);
    registry.add('team/app', 'v3', app);
    registry.add('multi', 'latest', multiPlatform());
  });
  after(() => registry[Symbol.asyncDispose]());
  const get = (path: string, options?: Asking): Promise<Got> => ask(`${registry.url}${path}`, options);
  const errorCode = (got: Got): string | undefined => {
    const { errors }: OciErrors = JSON.parse(got.body.toString());
    return errors[0]?.code;
  };

  it('answers the base route', async () => {
    assert.equal((await get('/v2/')).status, 200);
  });

  it('serves manifests byte for byte by tag and by digest', async () => {
    for (const object of ['v1', app.desc.digest]) {
      const got = await get(`/v2/team/app/manifests/${object}`);
      assert.deepEqual(got.body, app.manifest);
      assert.equal(got.headers['content-type'], OCI_MANIFEST);
      assert.equal(got.headers['docker-content-digest'], app.desc.digest);
      assert.equal(got.headers['content-length'], String(app.desc.size));
    }
  });

  it('answers HEAD with the same headers and no body', async () => {
    const manifest = await get('/v2/team/app/manifests/v1', { method: 'HEAD' });
    assert.equal(manifest.headers['content-length'], String(app.desc.size));
    assert.equal(manifest.body.length, 0);
    const blob = await get(`/v2/team/app/blobs/${layer}`, { method: 'HEAD' });
    assert.equal(blob.headers['content-length'], '10');
    assert.equal(blob.headers['accept-ranges'], 'bytes');
  });

  it('serves ranges of blobs', async () => {
    const path = `/v2/team/app/blobs/${layer}`;
    const ranged = (range: string, more = {}): Promise<Got> => get(path, { headers: { range, ...more } });
    const middle = await ranged('bytes=2-4');
    assert.equal(middle.status, 206);
    assert.equal(middle.headers['content-range'], 'bytes 2-4/10');
    assert.equal(middle.body.toString(), '234');
    assert.equal((await ranged('bytes=7-')).body.toString(), '789');
    assert.equal((await ranged('bytes=-2')).body.toString(), '89');
    const beyond = await ranged('bytes=10-');
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers['content-range'], 'bytes */10');
    const etag = middle.headers.etag ?? '';
    assert.equal((await ranged('bytes=2-4', { 'if-range': etag })).status, 206);
    assert.equal((await ranged('bytes=2-4', { 'if-range': '"other"' })).status, 200);
  });

  it('names the error as the spec does', async () => {
    const unknown = digestOf('unknown');
    assert.equal(errorCode(await get('/v2/team/app/manifests/none')), 'MANIFEST_UNKNOWN');
    assert.equal(errorCode(await get(`/v2/team/app/blobs/${unknown}`)), 'BLOB_UNKNOWN');
    assert.equal(errorCode(await get('/v2/none/tags/list')), 'NAME_UNKNOWN');
    assert.equal((await get('/v2/team/app/tags/list', { method: 'PUT' })).status, 405);
  });

  it('pages tags and the catalog by n and last', async () => {
    const first = await get('/v2/team/app/tags/list?n=2');
    assert.deepEqual(JSON.parse(first.body.toString()), { name: 'team/app', tags: ['v1', 'v2'] });
    assert.equal(first.headers.link, '</v2/team/app/tags/list?n=2&last=v2>; rel="next"');
    const second = await get('/v2/team/app/tags/list?n=2&last=v2');
    assert.deepEqual(JSON.parse(second.body.toString()), { name: 'team/app', tags: ['v3'] });
    assert.equal(second.headers.link, undefined);
    const catalog = await get('/v2/_catalog?n=1');
    assert.deepEqual(JSON.parse(catalog.body.toString()), { repositories: ['multi'] });
  });

  it('lists what refers to a digest, filtered by artifact type', async () => {
    const sbom = artifact({ artifactType: 'application/vnd.example.sbom', subject: app.desc });
    registry.add('team/app', undefined, sbom);
    const all = await get(`/v2/team/app/referrers/${app.desc.digest}`);
    assert.equal(all.headers['content-type'], OCI_INDEX);
    const listed: { manifests: { digest: string; artifactType: string }[] } = JSON.parse(all.body.toString());
    assert.deepEqual(
      listed.manifests.map((m) => [m.digest, m.artifactType]),
      [[sbom.desc.digest, 'application/vnd.example.sbom']],
    );
    const none = await get(`/v2/team/app/referrers/${app.desc.digest}?artifactType=other`);
    const unlisted: { manifests: unknown[] } = JSON.parse(none.body.toString());
    assert.deepEqual(unlisted.manifests, []);
  });

  it('serves any bytes under any digest when told to', async () => {
    const digest = digestOf('right');
    registry.stored.putBlob('odd', 'wrong', digest);
    assert.equal((await get(`/v2/odd/blobs/${digest}`)).body.toString(), 'wrong');
  });

  it('serves any part of a blob that is made while it is served', async () => {
    const blob = await SyntheticBlob.random({ seed: 'big', size: 3_000_001 });
    registry.stored.putBlob('big', blob, blob.digest);
    const whole = await get(`/v2/big/blobs/${blob.digest}`);
    assert.equal(digestOf(whole.body), blob.digest);
    const part = await get(`/v2/big/blobs/${blob.digest}`, { headers: { range: 'bytes=1000003-2000005' } });
    assert.deepEqual(part.body, whole.body.subarray(1_000_003, 2_000_006));
  });

  it('notes every request', async () => {
    await get(`/v2/team/app/blobs/${layer}`, { headers: { range: 'bytes=1-3', authorization: 'Basic eA==' } });
    const entry = registry.log.entries.at(-1);
    assert.equal(entry?.kind, 'blob');
    assert.equal(entry?.repo, 'team/app');
    assert.equal(entry?.object, layer);
    assert.equal(entry?.status, 206);
    assert.equal(entry?.range, 'bytes=1-3');
    assert.equal(entry?.authKind, 'basic');
    assert.equal(entry?.host, registry.host);
    assert.equal(entry?.bytesSent, 3);
    assert.equal(registry.count({ kind: 'blob', object: layer, ranged: true, authKind: 'basic' }), 1);
  });

  it('tells how many requests for one object were under way at once', async () => {
    const held = Promise.withResolvers<void>();
    using _hook = registry.onRequest(() => held.promise);
    registry.log.clear();
    const paths = ['/v2/team/app/manifests/v1', '/v2/team/app/manifests/v1', '/v2/team/app/manifests/v2'];
    const all = paths.map((path) => get(path));
    await registry.waitFor({}, { count: 3 });
    held.resolve();
    await Promise.all(all);
    assert.equal(registry.maxConcurrent(), 3);
    assert.equal(registry.maxConcurrent({}, { per: 'object' }), 2);
    await get('/v2/');
    await get('/v2/');
    assert.equal(registry.maxConcurrent({ kind: 'base' }), 1);
  });

  it('says what it was asked instead when a request does not come', async () => {
    await assert.rejects(registry.waitFor({ repo: 'never' }, { timeoutMs: 1 }), /registry GET \/v2\/ 200/);
  });
});
