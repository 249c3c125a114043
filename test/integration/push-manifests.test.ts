/** Manifests and tags on their way to a registry that refuses, forgets, or takes them for something else. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ErrorCode } from '../../src/errors.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { failureOf, never, TestClient } from '../support/clients.ts';
import { image, index, multiPlatform } from '../support/images.ts';
import { blobOf, push } from '../support/pushing.ts';
import { type Bundle, type Effect, faults, type RegistryOptions, TestRegistry } from '../support/registry.ts';

interface Root extends Bundle {
  readonly manifest: Buffer;
}

const app = image({ seed: 'manifests', layers: [100] });
const newer = image({ seed: 'newer', layers: [100] });

/** A registry that has all blobs, and no manifest. */
async function started(options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await TestRegistry.start(options);
  for (const bundle of [app, newer]) addBlobs(registry, bundle);
  return registry;
}

function addBlobs(registry: TestRegistry, bundle: Bundle): void {
  for (const [digest, content] of bundle.blobs) registry.stored.putBlob('app', content, digest);
}

const put = (client: TestClient, registry: TestRegistry, root: Root, tag?: string): Promise<void> =>
  client
    .pusher(`${registry.host}/app`)
    .putManifest(root.desc, root.manifest, { signal: never, ...(tag === undefined ? {} : { tag }) });

const tagged = (registry: TestRegistry, tag: string): string | undefined => registry.stored.get('app')?.tags.get(tag);
const isThere = (registry: TestRegistry, { digest }: Descriptor): boolean =>
  registry.stored.get('app')?.manifests.has(digest) === true;

describe('a manifest', () => {
  it('is put under its digest, and under a tag, byte for byte', async () => {
    await using registry = await started();
    await using client = new TestClient();
    await put(client, registry, app);
    assert.ok(isThere(registry, app.desc));
    assert.equal(tagged(registry, 'v1'), undefined);
    await put(client, registry, app, 'v1');
    assert.equal(tagged(registry, 'v1'), app.desc.digest);
    assert.deepEqual(
      registry.log.entries.map((entry) => entry.kind),
      ['put-manifest', 'put-tag'],
    );
    assert.deepEqual(registry.violations, []);
  });

  it('is known by its tag, also where HEAD does not tell the digest', async () => {
    await using registry = await started();
    await using client = new TestClient();
    const pusher = client.pusher(`${registry.host}/app`);
    assert.equal(await pusher.lookup('v1', { signal: never }), undefined);
    await put(client, registry, app, 'v1');
    assert.equal(await pusher.lookup('v1', { signal: never }), app.desc.digest);
    assert.equal(registry.count({ kind: 'manifest', method: 'GET' }), 0);
    registry.fault({ match: { kind: 'manifest' }, do: faults.digestHeader(undefined) });
    assert.equal(await pusher.lookup('v1', { signal: never }), app.desc.digest);
  });

  it('is asked for by GET where the registry knows no HEAD', async () => {
    await using registry = await started();
    await using client = new TestClient();
    const pusher = client.pusher(`${registry.host}/app`);
    registry.fault({ match: { method: 'HEAD' }, do: faults.status(405) });
    const opts = { signal: never };
    assert.equal(await pusher.lookup('v1', opts), undefined);
    assert.equal(await pusher.has('manifest', app.desc, opts), false);
    await put(client, registry, app, 'v1');
    assert.equal(await pusher.lookup('v1', opts), app.desc.digest);
    assert.equal(await pusher.has('manifest', app.desc, opts), true);
    assert.equal(await pusher.has('blob', app.config, opts), true);
  });

  describe('that a HEAD says is there', () => {
    const asked = async (effect: Effect): Promise<boolean> => {
      await using registry = await started();
      await using client = new TestClient();
      await put(client, registry, app);
      registry.fault({ match: { method: 'HEAD' }, do: effect });
      return await client.pusher(`${registry.host}/app`).has('manifest', app.desc, { signal: never });
    };
    const both =
      (digest: string | undefined, type: string): Effect =>
      (answer, request) => {
        faults.digestHeader(digest)(answer, request);
        faults.contentType(type)(answer, request);
      };
    it('is', async () => {
      assert.equal(await asked(both(app.desc.digest, app.desc.mediaType)), true);
      assert.equal(await asked(both(undefined, `${app.desc.mediaType}; charset=utf-8`)), true);
      assert.equal(await asked(both(app.desc.digest, 'application/octet-stream')), true);
      // What was asked for by one algorithm may be known by the other.
      assert.equal(await asked(both(digestOf(app.manifest, 'sha512'), app.desc.mediaType)), true);
    });
    it('is not where it says that it is something else, or a page', async () => {
      assert.equal(await asked(both(newer.desc.digest, app.desc.mediaType)), false);
      assert.equal(await asked(both(undefined, 'application/json')), false);
      assert.equal(await asked(faults.html()), false);
    });
    it('is not, nor a blob, where every answer is a page; and none has been put there', async () => {
      await using registry = await started();
      await using client = new TestClient();
      const pusher = client.pusher(`${registry.host}/app`);
      registry.fault({
        match: {},
        unserved: true,
        do: [faults.html(), faults.headers({ 'content-length': undefined })],
      });
      assert.equal(await pusher.has('manifest', app.desc, { signal: never }), false);
      assert.equal(await pusher.has('blob', app.config, { signal: never }), false);
      const err = await failureOf(put(client, registry, app, 'v1'), 'MALFORMED');
      assert.equal(err.origin, 'target');
      await failureOf(push(client, registry, blobOf('page', 100)), 'UNSUPPORTED');
    });
  });

  it('whose blob is missing is told apart, and named', async () => {
    await using registry = await started();
    await using client = new TestClient();
    registry.stored.removeBlob('app', app.config.digest);
    const err = await failureOf(put(client, registry, app, 'v1'), 'NOT_FOUND');
    assert.equal(err.origin, 'target');
    assert.match(err.message, /MANIFEST_BLOB_UNKNOWN/);
    assert.ok(err.message.includes(`${registry.host}/app`), err.message);
    assert.equal(err.host, registry.host);
    assert.equal(registry.count({ kind: 'put-tag' }), 1);
    assert.equal(registry.violations.length, 1);
    assert.equal(tagged(registry, 'v1'), undefined);
  });

  it('whose blob is missing in no more than the belief of the registry can be put later', async () => {
    await using registry = await started();
    await using client = new TestClient();
    const unknown = faults.error(400, 'MANIFEST_BLOB_UNKNOWN', app.config.digest);
    registry.fault({ match: { kind: 'put-manifest' }, times: 1, unserved: true, do: unknown });
    const err = await failureOf(put(client, registry, app), 'NOT_FOUND');
    assert.equal(err.origin, 'target');
    await put(client, registry, app);
    assert.ok(isThere(registry, app.desc));
    assert.deepEqual(registry.violations, []);
  });

  it('of an index with a missing child is told apart, too, and taken where the registry is sparse', async () => {
    const multi = multiPlatform();
    await using registry = await started();
    await using client = new TestClient();
    for (const code of ['MANIFEST_BLOB_UNKNOWN', 'MANIFEST_UNKNOWN']) {
      if (code === 'MANIFEST_UNKNOWN') {
        registry.fault({ match: { kind: 'put-tag' }, unserved: true, do: faults.error(404, code) });
      }
      const err = await failureOf(put(client, registry, multi, 'multi'), 'NOT_FOUND');
      assert.equal(err.origin, 'target');
      assert.ok(err.message.includes(code), err.message);
    }
    assert.equal(tagged(registry, 'multi'), undefined);
    await using sparse = await started({ sparse: true });
    await put(client, sparse, multi, 'multi');
    assert.equal(tagged(sparse, 'multi'), multi.desc.digest);
  });

  const REFUSALS: readonly (readonly [string, number, string, ErrorCode])[] = [
    ['invalid', 400, 'MANIFEST_INVALID', 'UNSUPPORTED'],
    ['too large', 413, 'SIZE_INVALID', 'UNSUPPORTED'],
    ['not allowed', 403, 'DENIED', 'DENIED'],
    ['not wanted', 405, 'UNSUPPORTED', 'UNSUPPORTED'],
  ];
  for (const [how, status, code, expected] of REFUSALS) {
    it(`that the registry finds ${how} is not sent again`, async () => {
      await using registry = await started();
      await using client = new TestClient();
      registry.fault({ match: { method: 'PUT' }, unserved: true, do: faults.error(status, code) });
      for (const tag of [undefined, 'v1']) {
        registry.log.clear();
        const err = await failureOf(put(client, registry, app, tag), expected);
        assert.equal(err.status, status);
        assert.equal(err.origin, 'target');
        assert.equal(err.digest, app.desc.digest);
        assert.ok(err.message.includes(registry.host) && err.message.includes(code), err.message);
        assert.equal(registry.count({ method: 'PUT' }), 1);
      }
      assert.ok(!isThere(registry, app.desc));
    });
  }

  it('whose digest the registry finds invalid for a moment is put again', async () => {
    await using registry = await started();
    await using client = new TestClient();
    const invalid = faults.error(400, 'DIGEST_INVALID');
    registry.fault({ match: { kind: 'put-manifest' }, times: 1, unserved: true, do: invalid });
    await put(client, registry, app);
    assert.ok(isThere(registry, app.desc));
    assert.equal(registry.count({ kind: 'put-manifest' }), 2);
  });

  for (const status of [500, 502, 503, 429]) {
    it(`is put again after ${status}, and given up after the budget`, async () => {
      await using registry = await started();
      await using client = new TestClient();
      registry.fault({ match: { kind: 'put-tag' }, times: 2, unserved: true, do: faults.retryAfter('0', status) });
      await put(client, registry, app, 'v1');
      assert.equal(tagged(registry, 'v1'), app.desc.digest);
      assert.equal(registry.count({ kind: 'put-tag' }), 3);
      registry.clearFaults();
      registry.fault({ match: { kind: 'put-tag' }, unserved: true, do: faults.retryAfter('0', status) });
      await failureOf(put(client, registry, newer, 'v1'), status === 429 ? 'RATE_LIMITED' : 'UPSTREAM');
      assert.equal(registry.count({ kind: 'put-tag' }), 6);
      assert.equal(tagged(registry, 'v1'), app.desc.digest);
    });
  }

  it('whose answer is lost or late is put again, which changes nothing', async () => {
    for (const lost of [faults.drop(), faults.drop('FIN'), faults.stallHeaders]) {
      await using registry = await started();
      await using client = new TestClient({ headersTimeoutMs: 200 });
      registry.fault({ match: { kind: 'put-tag' }, times: 1, do: lost });
      await put(client, registry, app, 'v1');
      assert.equal(tagged(registry, 'v1'), app.desc.digest);
      assert.equal(registry.count({ kind: 'put-tag' }), 2);
    }
  });

  it('that the registry took for something else is an error', async () => {
    await using registry = await started();
    await using client = new TestClient();
    registry.fault({ match: { kind: 'put-tag' }, do: faults.digestHeader(digestOf('something else')) });
    const err = await failureOf(put(client, registry, app, 'v1'), 'DIGEST_MISMATCH');
    assert.equal(err.origin, 'target');
    assert.ok(err.message.includes(`${registry.host}/app`), err.message);
  });
});

describe('a tag that may not change', () => {
  for (const immutableStatus of [400, 409] as const) {
    it(`is as wanted when it has the digest already (${immutableStatus})`, async () => {
      await using registry = await started({ immutableTags: true, immutableStatus });
      await using client = new TestClient();
      await put(client, registry, app, 'v1');
      await put(client, registry, app, 'v1');
      assert.equal(registry.count({ kind: 'put-tag', status: immutableStatus }), 1);
      assert.ok(registry.log.entries.length <= 3);
    });

    it(`is an error when it has another (${immutableStatus})`, async () => {
      await using registry = await started({ immutableTags: true, immutableStatus });
      await using client = new TestClient();
      await put(client, registry, app, 'v1');
      const err = await failureOf(put(client, registry, newer, 'v1'), 'UNSUPPORTED', 'DENIED');
      assert.equal(err.status, immutableStatus);
      assert.equal(err.origin, 'target');
      assert.match(err.message, /v1/);
      assert.equal(tagged(registry, 'v1'), app.desc.digest);
      assert.equal(registry.count({ kind: 'put-tag' }), 2);
    });
  }

  it('does not excuse a manifest with a missing blob', async () => {
    await using registry = await started({ immutableTags: true });
    await using client = new TestClient();
    const root = index([{ of: app }]);
    await put(client, registry, app);
    await put(client, registry, root, 'v1');
    registry.stored.removeManifest('app', app.desc.digest);
    await failureOf(put(client, registry, root, 'v1'), 'NOT_FOUND');
  });
});
