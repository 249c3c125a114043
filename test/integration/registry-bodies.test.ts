import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { digestOf } from '../../src/oci/digest.ts';
import { failureOf, fetchAll, fetchWhole, firstLayer, never, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { type Effect, faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const bytes = randomBytesOf('bodies', 100_000);
const app = image({ seed: 'bodies', layers: [{ raw: bytes }] });
const layer = firstLayer(app);

describe('a body that is not what it should be', () => {
  let registry: TestRegistry;
  let client: TestClient;

  before(async () => {
    registry = await TestRegistry.start();
    registry.add('app', 'v1', app);
  });
  after(() => registry[Symbol.asyncDispose]());
  afterEach(async () => {
    registry.clearFaults();
    registry.log.clear();
    await client[Symbol.asyncDispose]();
  });

  const once = (...effects: Effect[]): void => void registry.fault({ match: { kind: 'blob' }, times: 1, do: effects });
  const always = (...effects: Effect[]): void => void registry.fault({ match: { kind: 'blob' }, do: effects });
  const ranges = (): (string | undefined)[] => registry.log.select({ kind: 'blob' }).map((entry) => entry.range);

  for (const by of ['FIN', 'RST'] as const) {
    for (const framing of ['length', 'chunked', 'close'] as const) {
      it(`cut by ${by} with framing ${framing}, it goes on where it broke off`, async () => {
        client = new TestClient();
        once(faults.framing(framing), faults.cut(40_000, by));
        await fetchWhole(client, registry, layer);
        const [first, second] = ranges();
        assert.equal(registry.count({ kind: 'blob' }), 2);
        assert.equal(first, undefined);
        // A reset may destroy bytes that were on their way.
        assert.match(second ?? 'bytes=0-', /^bytes=\d+-$/);
        if (by === 'FIN') assert.equal(second, 'bytes=40000-');
        assert.equal(registry.log.entries[1]?.headers['if-range'], `"${layer.digest}"`);
      });
    }

    it(`cut by ${by} before the answer, it is asked for again`, async () => {
      client = new TestClient();
      once(faults.drop(by));
      await fetchWhole(client, registry, layer);
      assert.equal(registry.count({ kind: 'blob' }), 2);
    });
  }

  it('a body that is cut for ever is given up after the budget', async () => {
    client = new TestClient();
    always(faults.cut(10));
    const err = await failureOf(fetchAll(client, registry, layer), 'NETWORK');
    assert.deepEqual(ranges(), [undefined, 'bytes=10-', 'bytes=20-']);
    assert.equal(err.digest, layer.digest);
  });

  it('a transfer that moves on earns its tries anew', async () => {
    client = new TestClient();
    const big = image({ layers: [{ raw: randomBytesOf('big', 6 << 20) }] });
    registry.add('app', 'big', big);
    always(faults.cut(1_200_000));
    await fetchWhole(client, registry, firstLayer(big));
    assert.equal(registry.count({ kind: 'blob' }), 6);
  });

  it('longer than said is cut off there, and longer than the descriptor is refused', async () => {
    client = new TestClient();
    once(faults.longer(5, false));
    await fetchWhole(client, registry, layer);
    once(faults.longer(5));
    const err = await failureOf(fetchAll(client, registry, layer), 'SIZE_MISMATCH');
    assert.match(err.message, /is sent with 100005 bytes, not 100000$/);
    once(faults.framing('chunked'), faults.longer(5));
    const late = await failureOf(fetchAll(client, registry, layer), 'SIZE_MISMATCH');
    assert.match(late.message, /is longer than 100000 bytes$/);
    assert.equal(registry.count({ kind: 'blob' }), 3);
  });

  it('with a Content-Length unlike the descriptor it is refused before it is read', async () => {
    client = new TestClient();
    const other = { ...layer, size: 99_999 };
    const err = await failureOf(fetchAll(client, registry, other), 'SIZE_MISMATCH');
    assert.equal(err.digest, layer.digest);
    await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
    once(faults.contentLength(100_001));
    await failureOf(fetchAll(client, registry, layer), 'SIZE_MISMATCH');
  });

  it('with a flipped byte it comes through as it is, for the digest to tell', async () => {
    client = new TestClient();
    once(faults.flip(77_777));
    const got = await fetchAll(client, registry, layer);
    assert.equal(got.length, layer.size);
    assert.notEqual(digestOf(got), layer.digest);
    // In the half that is kept when the rest is fetched later.
    once(faults.flip(10), faults.cut(50_000));
    assert.notEqual(digestOf(await fetchAll(client, registry, layer)), layer.digest);
    await fetchWhole(client, registry, layer);
  });

  it('an HTML page with 200 is not content', async () => {
    client = new TestClient();
    always(faults.html());
    const err = await failureOf(fetchAll(client, registry, layer), 'MALFORMED');
    assert.match(err.message, new RegExp(`^an HTML page came for blob ${layer.digest} of `));
    assert.match(err.hint ?? '', /login page/);
    always(faults.framing('chunked'));
    await failureOf(fetchAll(client, registry, layer), 'MALFORMED');
    registry.fault({ match: { kind: 'manifest' }, do: faults.html() });
    const page = await failureOf(resolve(client, registry.ref('app', 'v1')), 'MALFORMED');
    assert.match(page.message, /^an HTML page came for manifest v1 of /);
    await failureOf(fetchAll(client, registry, app.desc, { kind: 'manifest' }), 'MALFORMED');
    registry.fault({ match: { kind: 'tags' }, do: faults.html() });
    await failureOf(Array.fromAsync(client.tags(`${registry.host}/app`, { signal: never })), 'MALFORMED');
  });

  it('a blob that is an HTML page is content', async () => {
    client = new TestClient();
    always(faults.contentType('text/html'));
    await fetchWhole(client, registry, layer);
  });

  it('a packed body is refused, and none was asked for', async () => {
    client = new TestClient();
    always(faults.headers({ 'content-encoding': 'gzip' }));
    const err = await failureOf(fetchAll(client, registry, layer), 'MALFORMED');
    assert.match(err.message, /Content-Encoding "gzip"/);
    assert.equal(registry.log.entries[0]?.headers['accept-encoding'], 'identity');
    assert.equal(registry.log.entries[0]?.headers['user-agent'], 'gantry/test');
  });

  describe('asked for from an offset', () => {
    const from = async (offset: number): Promise<void> => {
      const got = await fetchAll(client, registry, layer, { offset });
      assert.deepEqual(got, bytes.subarray(offset));
    };

    it('it is read with a Range', async () => {
      client = new TestClient();
      await from(60_000);
      assert.deepEqual(ranges(), ['bytes=60000-']);
      assert.equal(registry.log.bytesSent(), 40_000);
    });

    it('nothing is asked for when nothing is missing', async () => {
      client = new TestClient();
      await from(100_000);
      assert.equal(registry.count(), 0);
    });

    it('a server that ignores it sends everything, and the head is thrown away', async () => {
      client = new TestClient();
      always(faults.ignoreRange);
      await from(60_000);
      assert.deepEqual(ranges(), ['bytes=60000-']);
    });

    for (const [what, effect] of [
      ['a Content-Range from elsewhere', faults.contentRange('bytes 0-39999/100000')],
      ['a Content-Range of something larger', faults.contentRange('bytes 60000-99999/200000')],
      ['no Content-Range', faults.contentRange(undefined)],
      ['garbage as Content-Range', faults.contentRange('bytes 6e4-99999/100000')],
      ['bytes from somewhat earlier', faults.shiftRange(-5)],
      ['416', faults.rangeNotSatisfiable],
    ] as const) {
      it(`${what} is no answer: it is read without Range`, async () => {
        client = new TestClient();
        registry.fault({ match: { kind: 'blob', ranged: true }, do: effect });
        await from(60_000);
        assert.deepEqual(ranges(), ['bytes=60000-', undefined]);
      });

      it(`${what} in the middle of a transfer: it is read from the start, and the head thrown away`, async () => {
        client = new TestClient();
        once(faults.cut(30_000));
        registry.fault({ match: { kind: 'blob', ranged: true }, do: effect });
        await fetchWhole(client, registry, layer);
        assert.deepEqual(ranges(), [undefined, 'bytes=30000-', undefined]);
      });
    }

    it('an ETag that changed is not joined to what came before', async () => {
      client = new TestClient();
      once(faults.cut(30_000));
      // One that answers If-Range wrongly: 206 with another ETag.
      registry.fault({ match: { kind: 'blob', ranged: true }, do: faults.etag('"another"') });
      await fetchWhole(client, registry, layer);
      assert.deepEqual(ranges(), [undefined, 'bytes=30000-', undefined]);
      // One that answers it rightly: 200 and everything.
      registry.clearFaults();
      registry.log.clear();
      once(faults.etag('"old"'), faults.cut(30_000));
      await fetchWhole(client, registry, layer);
      assert.equal(registry.log.entries[1]?.headers['if-range'], '"old"');
      assert.equal(registry.log.entries[1]?.status, 200);
    });

    it('a weak ETag is not used for If-Range', async () => {
      client = new TestClient();
      once(faults.etag('W/"weak"'), faults.cut(30_000));
      await fetchWhole(client, registry, layer);
      assert.equal(registry.log.entries[1]?.headers['if-range'], undefined);
      assert.equal(registry.log.entries[1]?.status, 206);
    });
  });

  describe('that does not come', () => {
    it('stalled, it is asked for again where it stopped', async () => {
      client = new TestClient({ stall: { stallMs: 100 } });
      once(faults.stallBody(20_000));
      await fetchWhole(client, registry, layer);
      assert.deepEqual(ranges(), [undefined, 'bytes=20000-']);
      assert.equal(client.retried[0]?.code, 'TIMEOUT');
      const message = client.retried[0]?.message ?? '';
      assert.equal(message, `${registry.host} sent no byte for 0.1 s (${registry.url}/v2/app/blobs/${layer.digest})`);
      assert.equal((await registry.waitFor({ kind: 'blob' }, { state: 'ended' })).outcome, 'gone');
    });

    it('a trickle is too little', async () => {
      client = new TestClient({ stall: { stallMs: 100, minRate: 10_000, rateWindowMs: 200 }, retry: { attempts: 2 } });
      always(faults.trickle(5, 10));
      const err = await failureOf(fetchAll(client, registry, layer), 'TIMEOUT');
      assert.match(err.message, /sent less than 10000 bytes per second/);
      assert.equal(registry.count({ kind: 'blob' }), 2);
    });

    it('headers that do not come are waited for so long and no longer', async () => {
      client = new TestClient({ headersTimeoutMs: 100 });
      once(faults.stallHeaders);
      await fetchWhole(client, registry, layer);
      assert.equal(client.retried[0]?.code, 'TIMEOUT');
      assert.match(client.retried[0]?.message ?? '', /did not answer within 0\.1 s \(http:.*\/blobs\/sha256:/);
      always(faults.stallHeaders);
      await failureOf(fetchAll(client, registry, layer), 'TIMEOUT');
      assert.equal(registry.count({ kind: 'blob' }), 2 + 3);
      await registry.waitFor({ kind: 'blob', status: 0 }, { state: 'ended', count: 4 });
    });

    it('our own slowness is no stall', async () => {
      client = new TestClient({ stall: { stallMs: 50, minRate: 1_000_000, rateWindowMs: 60 } });
      const big = image({ layers: [{ raw: randomBytesOf('slow reader', 4 << 20) }] });
      const desc = firstLayer(big);
      registry.add('app', 'slow', big);
      const stream = await client.fetcher(`${registry.host}/app`).fetch('blob', desc, { signal: never });
      const parts: Uint8Array[] = [];
      let waits = 0;
      await using body = stream;
      for await (const chunk of body) {
        parts.push(chunk);
        if (parts.length % 40 !== 1 || waits >= 3) continue;
        waits += 1;
        await new Promise((done) => setTimeout(done, 150)); // three times as long as a stall may be
      }
      assert.equal(digestOf(Buffer.concat(parts)), desc.digest);
      assert.equal(registry.count({ kind: 'blob' }), 1);
    });
  });

  it('a limited rate is kept by all transfers together', async () => {
    client = new TestClient({ limitRate: 400_000 });
    const began = performance.now();
    await Promise.all([fetchWhole(client, registry, layer), fetchWhole(client, registry, layer)]);
    const took = performance.now() - began;
    assert.ok(took > 400 && took < 1500, `${took}`);
  });

  it('a layer that its registry does not hold says what it is', async () => {
    client = new TestClient();
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const foreign = { ...layer, digest: digestOf('not there'), mediaType, urls: ['https://elsewhere.example/layer'] };
    const err = await failureOf(fetchAll(client, registry, foreign), 'NOT_FOUND');
    assert.match(err.message, new RegExp(`is not in the registry: it is of type ${mediaType}$`));
    assert.match(err.hint ?? '', /does not follow the urls/);
    // One that holds it gives it.
    await fetchWhole(client, registry, { ...layer, mediaType });
  });
});
