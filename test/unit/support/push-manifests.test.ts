import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { artifact, foreignLayerImage } from '../../support/artifacts.ts';
import { ask, type Got } from '../../support/ask.ts';
import { image, multiPlatform } from '../../support/images.ts';
import { errorsOf, RawPush } from '../../support/raw-push.ts';
import { type Bundle, faults, type RegistryOptions, TestRegistry } from '../../support/registry.ts';

const app = image({ seed: 'app', layers: [100] });

/** A registry that has the blobs of `app`, and no manifest. */
async function started(options: RegistryOptions = {}): Promise<{ registry: TestRegistry; push: RawPush }> {
  const registry = await TestRegistry.start(options);
  addBlobs(registry, app);
  return { registry, push: new RawPush(registry.url, 'app') };
}

function addBlobs(registry: TestRegistry, bundle: Bundle): void {
  for (const [digest, content] of bundle.blobs) registry.stored.putBlob('app', content, digest);
}

const codeOf = (got: Got): string | undefined => errorsOf(got)[0]?.code;

describe('manifests put into the test registry', () => {
  it('are stored under their digest, and under a tag', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    const byDigest = await push.manifest(app.desc.digest, app);
    assert.equal(byDigest.status, 201);
    assert.equal(byDigest.headers['docker-content-digest'], app.desc.digest);
    assert.deepEqual([...(registry.stored.get('app')?.tags ?? [])], []);
    assert.equal((await push.manifest('v1', app)).status, 201);
    assert.deepEqual((await push.send('GET', '/v2/app/manifests/v1')).body, app.manifest);
    assert.deepEqual(
      registry.log.entries.map((e) => [e.kind, e.object, e.bytesReceived]),
      [
        ['put-manifest', app.desc.digest, app.desc.size],
        ['put-tag', 'v1', app.desc.size],
        ['manifest', 'v1', 0],
      ],
    );
    assert.deepEqual(registry.violations, []);
  });

  it('are refused when a child is missing, which is noted', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    registry.stored.removeBlob('app', app.config.digest);
    const refused = await push.manifest('v1', app);
    assert.equal(refused.status, 400);
    assert.deepEqual(errorsOf(refused), [
      { code: 'MANIFEST_BLOB_UNKNOWN', message: 'blob unknown to registry', detail: app.config.digest },
    ]);
    assert.equal((await push.send('GET', '/v2/app/manifests/v1')).status, 404);
    const multi = multiPlatform();
    assert.equal(errorsOf(await push.manifest('multi', multi)).length, 2);
    assert.deepEqual(registry.violations, [
      `PUT app v1: blob ${app.config.digest} is missing`,
      ...multi.entries.map(({ digest }) => `PUT app multi: manifest ${digest} is missing`),
    ]);
  });

  it('are looked at also when a fault refuses them', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    registry.stored.removeBlob('app', app.config.digest);
    registry.fault({ unserved: true, do: faults.status(503) });
    assert.equal((await push.manifest(app.desc.digest, app)).status, 503);
    assert.deepEqual(registry.violations, [`PUT app ${app.desc.digest}: blob ${app.config.digest} is missing`]);
  });

  it('may lack what is served elsewhere, and entries of an index where the registry takes sparse ones', async () => {
    const { registry, push } = await started({ sparse: true });
    await using _ = registry;
    const foreign = foreignLayerImage('https://elsewhere.example/layer');
    addBlobs(registry, foreign);
    assert.equal((await push.manifest('foreign', foreign)).status, 201);
    assert.equal((await push.manifest('multi', multiPlatform())).status, 201);
    assert.deepEqual(registry.violations, []);
    registry.stored.removeBlob('app', app.config.digest);
    assert.equal(codeOf(await push.manifest('v1', app)), 'MANIFEST_BLOB_UNKNOWN');
  });

  it('are refused when they are not what they claim to be, or too large', async () => {
    const { registry, push } = await started({ maxManifest: app.desc.size });
    await using _ = registry;
    const put = (manifest: string, mediaType = app.desc.mediaType): Promise<Got> =>
      push.manifest('v1', { manifest: Buffer.from(manifest), desc: { mediaType } });
    for (const text of ['{', '"text"', '{"schemaVersion":2}'])
      assert.equal(codeOf(await put(text)), 'MANIFEST_INVALID');
    assert.equal(codeOf(await put(app.manifest.toString(), 'text/plain')), 'MANIFEST_INVALID');
    assert.equal((await put(`${app.manifest.toString()} `)).status, 413);
    assert.equal(codeOf(await push.manifest(digestOf('other'), app)), 'DIGEST_INVALID');
  });

  it('cannot be put under an immutable tag that exists', async () => {
    const newer = image({ seed: 'newer', layers: [100] });
    const attempt = async (options: RegistryOptions): Promise<unknown[]> => {
      const { registry, push } = await started({ immutableTags: true, ...options });
      await using _ = registry;
      addBlobs(registry, newer);
      const all = [await push.manifest('v1', app), await push.manifest('v1', newer), await push.manifest('v1', app)];
      assert.equal((await push.send('HEAD', '/v2/app/manifests/v1')).headers['docker-content-digest'], app.desc.digest);
      return all.map((got) => got.status);
    };
    assert.deepEqual(await attempt({}), [201, 400, 400]);
    assert.deepEqual(await attempt({ immutableStatus: 409, immutableSame: 'taken' }), [201, 409, 201]);
    const { registry, push } = await started({ immutableTags: (tag) => tag !== 'latest' });
    await using _ = registry;
    for (const tag of ['latest', 'v1']) await push.manifest(tag, app);
    assert.equal((await push.manifest('latest', app)).status, 201);
    assert.equal(codeOf(await push.manifest('v1', app)), 'TAG_INVALID');
    assert.equal((await push.manifest(app.desc.digest, app)).status, 201);
  });

  it('are listed as referrers of their subject, page by page', async () => {
    const { registry, push } = await started({ pageSize: 1 });
    await using _ = registry;
    const artifacts = ['one', 'two'].map((content) => artifact({ content, subject: app.desc, artifactType: 'a/b' }));
    for (const each of artifacts) {
      addBlobs(registry, each);
      assert.equal((await push.manifest(each.desc.digest, each)).headers['oci-subject'], app.desc.digest);
    }
    const listed: string[] = [];
    let next: string | undefined = `/v2/app/referrers/${app.desc.digest}?artifactType=a%2Fb`;
    while (next !== undefined) {
      const got: Got = await push.send('GET', next);
      const page: { manifests: { digest: string }[] } = JSON.parse(got.body.toString());
      assert.equal(got.headers['oci-filters-applied'], 'artifactType');
      assert.equal(page.manifests.length, 1);
      listed.push(...page.manifests.map(({ digest }) => digest));
      next = /^<(.*)>; rel="next"$/.exec(String(got.headers.link))?.[1];
    }
    assert.deepEqual(listed, artifacts.map(({ desc }) => desc.digest).toSorted());
  });

  it('are not listed where there is no such API', async () => {
    const { registry, push } = await started({ referrersApi: false, catalog: false });
    await using _ = registry;
    const signature = artifact({ subject: app.desc });
    addBlobs(registry, signature);
    assert.equal((await push.manifest(signature.desc.digest, signature)).headers['oci-subject'], undefined);
    assert.equal((await push.send('GET', `/v2/app/referrers/${app.desc.digest}`)).status, 404);
    assert.equal((await push.send('GET', '/v2/_catalog')).status, 404);
  });

  it('are deleted by digest with their tags, and tags alone', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    for (const tag of ['v1', 'v2']) await push.manifest(tag, app);
    const remove = (object: string): Promise<Got> => push.send('DELETE', `/v2/app/manifests/${object}`);
    assert.equal((await remove('v2')).status, 202);
    assert.equal((await remove('v2')).status, 404);
    assert.deepEqual([...(registry.stored.get('app')?.tags.keys() ?? [])], ['v1']);
    assert.equal((await remove(app.desc.digest)).status, 202);
    assert.equal((await push.send('GET', '/v2/app/manifests/v1')).status, 404);
    assert.equal((await push.send('DELETE', `/v2/app/blobs/${app.config.digest}`)).status, 202);
    const kinds = registry.log.select({ method: 'DELETE' }).map((e) => e.kind);
    assert.deepEqual(kinds, ['delete-tag', 'delete-tag', 'delete-manifest', 'delete-blob']);

    const strict = await started({ deletes: false });
    await using _strict = strict.registry;
    await strict.push.manifest('v1', app);
    for (const path of [`manifests/${app.desc.digest}`, 'manifests/v1', `blobs/${app.config.digest}`]) {
      assert.equal((await strict.push.send('DELETE', `/v2/app/${path}`)).status, 405);
    }
  });
});

describe('who may push to the test registry', () => {
  const SCOPE = 'repository:app:pull,push';

  async function tokenFor(registry: TestRegistry, scope: string): Promise<string> {
    const got = await ask(`${registry.tokenUrl}/token?${scope}`);
    const { token }: { token: string } = JSON.parse(got.body.toString());
    return `Bearer ${token}`;
  }

  it('is asked for a token with push, and for both repositories of a mount', async () => {
    await using registry = await TestRegistry.start({ auth: { scheme: 'bearer', anonymous: true } });
    const push = new RawPush(registry.url, 'app', {
      authorization: await tokenFor(registry, 'scope=repository:app:pull'),
    });
    const refused = await push.start();
    assert.equal(refused.status, 401);
    assert.match(
      String(refused.headers['www-authenticate']),
      new RegExp(`scope="${SCOPE}",error="insufficient_scope"`),
    );
    const mounted = await push.mount(digestOf('x'), 'library');
    assert.match(String(mounted.headers['www-authenticate']), new RegExp(`scope="${SCOPE} repository:library:pull"`));
    const both = await tokenFor(registry, `scope=${SCOPE}&scope=repository:library:pull`);
    assert.equal(
      (await new RawPush(registry.url, 'app', { authorization: both }).mount(digestOf('x'), 'library')).status,
      202,
    );
    const deleted = await push.send('DELETE', `/v2/app/blobs/${digestOf('x')}`);
    assert.match(String(deleted.headers['www-authenticate']), /scope="repository:app:delete"/);
  });

  it('is told 403 when that is how the registry says no', async () => {
    const grant = (repo: string): string[] => (repo === 'app' ? ['pull', 'push'] : ['pull']);
    await using bearer = await TestRegistry.start({ auth: { scheme: 'bearer', anonymous: true, grant, lacking: 403 } });
    const token = await tokenFor(bearer, 'scope=repository:app:pull,push&scope=repository:other:pull,push');
    const users = { alice: 'secret' };
    await using basic = await TestRegistry.start({ auth: { scheme: 'basic', users, grant } });
    const password = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
    for (const [registry, authorization] of [
      [bearer, token],
      [basic, password],
    ] as const) {
      assert.equal((await new RawPush(registry.url, 'app', { authorization }).start()).status, 202);
      const denied = await new RawPush(registry.url, 'other', { authorization }).start();
      assert.equal(denied.status, 403);
      assert.equal(codeOf(denied), 'DENIED');
    }
  });

  it('is sent for other credentials in the middle of an upload', async () => {
    await using registry = await TestRegistry.start({ auth: { scheme: 'bearer', anonymous: true } });
    const push = new RawPush(registry.url, 'app', { authorization: await tokenFor(registry, `scope=${SCOPE}`) });
    registry.fault({ match: { kind: 'upload-start' }, do: faults.afterwards(() => registry.auth.expireTokens()) });
    const to = await push.location();
    assert.equal((await push.end(to, digestOf('x'), { body: 'x' })).status, 401);
    const fresh = new RawPush(registry.url, 'app', { authorization: await tokenFor(registry, `scope=${SCOPE}`) });
    assert.equal((await fresh.end(to, digestOf('x'), { body: 'x' })).status, 201);
  });
});
