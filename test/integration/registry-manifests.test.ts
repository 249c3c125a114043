import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { RunResult } from '../../src/flow/dispatcher.ts';
import { LocalDispatcher } from '../../src/flow/local-dispatcher.ts';
import { imageNode, pullHandler } from '../../src/handlers/pull.ts';
import { pull } from '../../src/app/pull.ts';
import type { GantryError } from '../../src/errors.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { parseMatcher } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { failureOf, fetchAll, firstLayer, lookOver, never, resolve, TestClient } from '../support/clients.ts';
import { image, index, nestedIndex, sameChild } from '../support/images.ts';
import { faults, inMemory, randomBytesOf, TestOrigin, TestRegistry } from '../support/registry.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const app = image({ seed: 'manifests', layers: [{ raw: randomBytesOf('manifests', 100_000) }] });
const layer = firstLayer(app);

describe('manifests and tags of a registry', () => {
  let registry: TestRegistry;
  let client: TestClient;
  let dir: TempDir;

  before(async () => {
    registry = await TestRegistry.start();
    dir = await tempDir();
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    registry.clearFaults();
    registry.log.clear();
    await client[Symbol.asyncDispose]();
  });
  const open = (): void => {
    client = new TestClient();
    registry.add('app', 'v1', app);
  };
  const v1 = (): string => registry.ref('app', 'v1');

  describe('a tag', () => {
    it('costs one HEAD', async () => {
      open();
      const { name, desc } = await resolve(client, v1());
      assert.equal(name, v1());
      assert.deepEqual(desc, { mediaType: OCI_MANIFEST, digest: app.desc.digest, size: app.desc.size });
      assert.deepEqual(
        registry.log.entries.map(({ method }) => method),
        ['HEAD'],
      );
      assert.match(String(registry.log.entries[0]?.headers.accept), /oci\.image\.index.*manifest\.list\.v2/);
    });

    for (const [what, effect] of [
      ['without a digest', faults.digestHeader(undefined)],
      ['with a digest that is none', faults.digestHeader('sha256:abc')],
      ['with a type that says nothing', faults.contentType('application/json')],
      ['with a status that says nothing', faults.status(405)],
    ] as const) {
      it(`whose HEAD comes ${what} costs a GET, and the bytes are hashed`, async () => {
        open();
        registry.fault({ match: { method: 'HEAD' }, do: effect });
        const { desc } = await resolve(client, v1());
        assert.deepEqual(desc, { mediaType: OCI_MANIFEST, digest: app.desc.digest, size: app.desc.size });
        assert.equal(registry.count(), 2);
      });
    }

    it('by digest: the bytes decide, whatever the header says', async () => {
      open();
      const byDigest = registry.ref('app', app.desc.digest);
      registry.fault({ do: faults.digestHeader(digestOf('something else')) });
      assert.equal((await resolve(client, byDigest)).desc.digest, app.desc.digest);
      registry.fault({ match: { method: 'GET' }, do: faults.flip(100) });
      const err = await failureOf(resolve(client, byDigest), 'DIGEST_MISMATCH');
      assert.equal(err.digest, app.desc.digest);
    });

    it('whose GET is cut, or stalls, is asked for again', async () => {
      open();
      await using impatient = new TestClient({ stall: { stallMs: 100 } });
      registry.fault({ match: { method: 'GET', nth: 1 }, do: faults.cut(20) });
      registry.fault({ match: { method: 'GET', nth: 2 }, do: faults.stallBody(20) });
      const { desc } = await resolve(impatient, registry.ref('app', app.desc.digest));
      assert.equal(desc.size, app.desc.size);
      assert.deepEqual(
        impatient.retried.map((err) => err.code),
        ['NETWORK', 'TIMEOUT'],
      );
    });

    it('a manifest of 100 MiB is refused, by what is said and by what comes', async () => {
      open();
      registry.fault({ match: { kind: 'manifest' }, do: faults.hugeManifest() });
      const said = await failureOf(resolve(client, v1()), 'TOO_LARGE');
      assert.match(said.message, /has 104857600 bytes, more than 4194304$/);
      assert.equal(registry.count(), 1);
      registry.clearFaults();
      registry.fault({ match: { kind: 'manifest' }, do: [faults.hugeManifest(), faults.framing('chunked')] });
      await failureOf(resolve(client, v1()), 'TOO_LARGE');
      const entry = await registry.waitFor({ method: 'GET' }, { state: 'ended' });
      assert.ok(entry.bytesSent < 20 << 20, `${entry.bytesSent}`);
      // And one that an index lists.
      registry.log.clear();
      const huge = { ...app.desc, size: 100 << 20 };
      await failureOf(fetchAll(client, registry, huge, { kind: 'manifest' }), 'TOO_LARGE');
      assert.equal(registry.count(), 0);
    });
  });

  describe('a pull', () => {
    let count = 0;
    let store: ContentStore;
    const fresh = (): void => {
      open();
      count += 1;
      store = new ContentStore({ root: dir.join(`store-${count}`) });
    };
    const pulled = async (...refs: string[]): Promise<RunResult> => {
      const handler = pullHandler({ store, names: store.names, resolver: client });
      const { text } = parseMatcher('linux/amd64');
      const target = await store.id();
      const roots = refs.map((ref) => imageNode(parseReference(ref), target, text));
      const result = await new LocalDispatcher({ handler, concurrency: 4 }).dispatch(
        { id: 'run', roots },
        { signal: never },
      );
      for (const { error } of result.images) if (error !== undefined) lookOver(error);
      return result;
    };
    const errorOf = ({ images }: RunResult): GantryError => {
      assert.ok(images[0]?.error, 'the pull went well');
      return images[0].error;
    };

    it('brings an image that survives resets, stalls and 503s', async () => {
      fresh();
      registry.fault({ match: { kind: 'manifest', nth: 1 }, do: faults.status(503) });
      registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.drop() });
      registry.fault({ match: { kind: 'blob', object: layer.digest }, times: 1, do: faults.cut(50_000) });
      assert.equal((await pulled(v1())).images[0]?.state, 'done');
      assert.equal((await store.stat(layer.digest, { signal: never }))?.size, layer.size);
    });

    it('with a wrong Docker-Content-Digest ends with an error, and nothing under the wrong name', async () => {
      fresh();
      const wrong = digestOf('another manifest');
      registry.fault({ match: { method: 'HEAD' }, do: faults.digestHeader(wrong) });
      assert.equal(errorOf(await pulled(v1())).code, 'NOT_FOUND');
      registry.stored.putManifest('app', inMemory(app.manifest), { mediaType: OCI_MANIFEST, digest: wrong });
      const err = errorOf(await pulled(v1()));
      assert.equal(err.code, 'DIGEST_MISMATCH');
      assert.equal(err.digest, wrong);
      assert.equal(await store.stat(wrong, { signal: never }), undefined);
      registry.stored.removeManifest('app', wrong);
    });

    it('with a flipped byte ends with an error, and nothing under the digest', async () => {
      fresh();
      registry.fault({ match: { kind: 'blob', object: layer.digest }, do: faults.flip(10) });
      const err = errorOf(await pulled(v1()));
      assert.equal(err.code, 'DIGEST_MISMATCH');
      assert.equal(await store.stat(layer.digest, { signal: never }), undefined);
      registry.clearFaults();
      assert.equal((await pulled(v1())).images[0]?.state, 'done');
    });

    it('with a bad first half that is joined by a resume ends with an error, not with bad content', async () => {
      fresh();
      const only = { kind: 'blob', object: layer.digest } as const;
      registry.fault({ match: only, times: 1, do: [faults.flip(10), faults.cut(50_000)] });
      const { images } = await pulled(v1());
      if (images[0]?.state !== 'done') assert.equal(images[0]?.error?.code, 'DIGEST_MISMATCH');
      assert.equal((await pulled(v1())).images[0]?.state, 'done');
      const body = await store.open(layer, { signal: never });
      const parts: Uint8Array[] = await Array.fromAsync(body);
      await body[Symbol.asyncDispose]();
      assert.equal(digestOf(Buffer.concat(parts)), layer.digest);
    });

    it('of a manifest whose blob is missing names the blob', async () => {
      fresh();
      registry.fault({ match: { kind: 'blob', object: layer.digest }, do: faults.status(404) });
      const err = errorOf(await pulled(v1()));
      assert.equal(err.code, 'NOT_FOUND');
      assert.equal(err.digest, layer.digest);
      assert.match(err.message, /answered 404 for blob sha256:\w+ of .*\/app: BLOB_UNKNOWN: ordered 404$/);
    });

    it('of a tag that moves, and whose old manifest is gone at once, resolves once more', async () => {
      fresh();
      const newer = image({ seed: 'newer', layers: [100] });
      const move = faults.afterwards(() => {
        registry.add('app', 'moving', newer);
        registry.stored.removeManifest('app', older.desc.digest);
      });
      const older = image({ seed: 'older', layers: [100] });
      registry.add('app', 'moving', older);
      registry.fault({ match: { method: 'HEAD' }, times: 1, do: move });
      // Known by name, so that a HEAD comes before the GET.
      await store.names.record(registry.ref('app', 'moving'), app.desc, { signal: never });
      const request = { refs: [parseReference(registry.ref('app', 'moving'))], platforms: parseMatcher('linux/amd64') };
      const result = await pull(
        { store, resolver: client },
        { ...request, concurrency: 2, named: true },
        { signal: never },
      );
      assert.equal(result.images[0]?.state, 'done');
      assert.equal(result.images[0]?.desc?.digest, newer.desc.digest);
      assert.equal(registry.count({ method: 'HEAD' }), 2);
    });

    it('of a tag that moves while it is pulled keeps to one version', async () => {
      fresh();
      const newer = image({ seed: 'newer', layers: [100] });
      registry.add('app', 'sliding', app);
      const move = faults.afterwards(() => registry.add('app', 'sliding', newer));
      registry.fault({ match: { method: 'HEAD' }, times: 1, do: move });
      const { images } = await pulled(registry.ref('app', 'sliding'));
      assert.equal(images[0]?.desc?.digest, app.desc.digest);
      const own: string[] = [...app.blobs.keys()];
      assert.ok(registry.log.select({ kind: 'blob' }).every(({ object }) => own.includes(object ?? '')));
    });

    it('of an index nested 1000 deep is refused', async () => {
      fresh();
      registry.add('app', 'deep', nestedIndex(1000));
      const err = errorOf(await pulled(registry.ref('app', 'deep')));
      assert.match(err.code, /MALFORMED|TOO_LARGE|UNSUPPORTED/);
      assert.ok(registry.count() < 20);
    });

    it('of an index with the same child 1000 times fetches it once', async () => {
      fresh();
      registry.add('app', 'many', sameChild(1000));
      assert.equal((await pulled(registry.ref('app', 'many'))).images[0]?.state, 'done');
      assert.equal(registry.count({ kind: 'manifest', method: 'GET' }), 2);
      assert.equal(registry.count({ kind: 'blob' }), 2);
    });

    it('of a web page with status 200 is refused', async () => {
      fresh();
      registry.fault({ match: { method: 'GET' }, do: faults.html() });
      assert.equal(errorOf(await pulled(v1())).code, 'MALFORMED');
    });

    it('one image that fails stops no other', async () => {
      fresh();
      registry.add('app', 'index', index([{ of: app, platform: { os: 'linux', architecture: 'amd64' } }]));
      const { images } = await pulled(registry.ref('app', 'nothing'), v1(), registry.ref('app', 'index'));
      assert.deepEqual(
        images.map(({ state }) => state),
        ['failed', 'done', 'done'],
      );
    });
  });

  describe('the tags', () => {
    const list = (): Promise<string[]> =>
      Array.fromAsync(client.tags(`${registry.host}/app`, { signal: never })).then((pages) => pages.flat());

    it('come page by page', async () => {
      open();
      await using paged = await TestRegistry.start({ pageSize: 3 });
      const names = Array.from({ length: 10 }, (_, i) => `t${i}`);
      for (const name of names) paged.add('app', name, app);
      const pages = await Array.fromAsync(client.tags(`${paged.host}/app`, { signal: never }));
      assert.deepEqual(pages, [names.slice(0, 3), names.slice(3, 6), names.slice(6, 9), names.slice(9)]);
      assert.deepEqual(
        paged.log.entries.map(({ path }) => new URL(path, paged.url).search),
        ['?n=1000', '?n=3&last=t2', '?n=3&last=t5', '?n=3&last=t8'],
      );
    });

    it('a hundred thousand of them are no trouble', async () => {
      open();
      const tags = Array.from({ length: 100_000 }, (_, i) => `v${i}.0.0-alpine`);
      registry.fault({ match: { kind: 'tags' }, do: faults.body(JSON.stringify({ name: 'app', tags })) });
      const began = performance.now();
      assert.deepEqual(await list(), tags);
      assert.ok(performance.now() - began < 2000);
    });

    it('a Link to another host is not followed there', async () => {
      open();
      await using origin = await TestOrigin.start();
      registry.fault({
        match: { kind: 'tags', nth: 1 },
        do: faults.nextPage(`${origin.url}/v2/app/tags/list?n=1&last=zzz`),
      });
      await list();
      assert.equal(origin.count(), 0);
      assert.equal(registry.log.entries[1]?.path, '/v2/app/tags/list?n=1&last=zzz');
    });

    it('a Link to itself, or in a circle, ends', async () => {
      open();
      registry.fault({ match: { kind: 'tags' }, do: faults.nextPageIsThis });
      const err = await failureOf(list(), 'MALFORMED');
      assert.match(err.message, /go round in a circle$/);
      assert.equal(registry.count(), 1);
      registry.clearFaults();
      registry.fault({ match: { kind: 'tags' }, do: faults.nextPage('/v2/app/tags/list?last=x') });
      await failureOf(list(), 'MALFORMED');
      assert.equal(registry.count(), 3);
    });

    it('a Link with other characters is escaped, and one that names another path stays on this one', async () => {
      open();
      for (const [link, sent] of [
        ['/v2/other/tags/list?last=%C3%BC&n=2', '/v2/app/tags/list?last=%C3%BC&n=2'],
        ['/v2/app/tags/list?last=a b\u00fc', '/v2/app/tags/list?last=a%20b%C3%BC'],
        ['?last=a#fragment', '/v2/app/tags/list?last=a'],
      ] as const) {
        registry.clearFaults();
        registry.log.clear();
        registry.fault({ match: { kind: 'tags', nth: 1 }, do: faults.nextPage(link) });
        await list();
        assert.equal(registry.log.entries[1]?.path, sent);
      }
    });

    it('what is no list of tags is refused; none at all are fine', async () => {
      open();
      for (const [body, good] of [
        ['{"name":"app","tags":null}', true],
        ['{"name":"app","tags":[]}', true],
        ['{"name":"app"}', false],
        ['[]', false],
        ['null', false],
        ['{"tags":"a"}', false],
        ['{"tags":[1]}', false],
        ['{"tags":["../../etc"]}', false],
        ['{"tags":["a\\nb"]}', false],
        ['{"tags":["\u00fc"]}', false],
        ['{"tags":["a"],"tags":["b"]}', false],
      ] as const) {
        using _fault = registry.fault({ match: { kind: 'tags' }, do: faults.body(body) });
        if (good) assert.deepEqual(await list(), []);
        else await failureOf(list(), 'MALFORMED');
      }
      registry.fault({ match: { kind: 'tags' }, do: faults.hugeManifest() });
      await failureOf(list(), 'TOO_LARGE');
    });

    it('of a repository that is not there', async () => {
      open();
      const all = Array.fromAsync(client.tags(`${registry.host}/nothing`, { signal: never }));
      const err = await failureOf(all, 'NOT_FOUND');
      assert.match(err.message, /answered 404 for the tags of .*\/nothing: NAME_UNKNOWN/);
    });
  });
});
