import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../src/errors.ts';
import { failureOf, fetchWhole, firstLayer, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const app = image({ seed: 'retry', layers: [{ raw: randomBytesOf('retry', 100_000) }] });
const layer = firstLayer(app);

describe('an answer that is not the content', () => {
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

  for (const status of [500, 502, 503, 504, 408, 425]) {
    it(`${status} is tried again, and given up after the budget`, async () => {
      client = new TestClient();
      registry.fault({ match: { kind: 'blob' }, times: 2, do: faults.status(status) });
      await fetchWhole(client, registry, layer);
      assert.equal(registry.count({ kind: 'blob' }), 3);
      assert.equal(client.retried.length, 2);

      registry.clearFaults();
      registry.log.clear();
      registry.fault({ match: { kind: 'blob' }, do: faults.status(status) });
      const err = await failureOf(fetchWhole(client, registry, layer), status >= 500 ? 'UPSTREAM' : 'TIMEOUT');
      assert.equal(registry.count({ kind: 'blob' }), 3);
      assert.equal(err.status, status);
      assert.equal(err.host, registry.host);
      assert.equal(err.digest, layer.digest);
      assert.ok(
        err.message.includes(`${registry.host} answered ${status} for blob ${layer.digest} of ${registry.host}/app`),
      );
    });
  }

  const FINAL: readonly (readonly [number, ErrorCode])[] = [
    [400, 'UNSUPPORTED'],
    [403, 'DENIED'],
    [404, 'NOT_FOUND'],
    [410, 'NOT_FOUND'],
    [451, 'UNSUPPORTED'],
    [501, 'UNSUPPORTED'],
  ];
  for (const [status, code] of FINAL) {
    it(`${status} is final`, async () => {
      client = new TestClient();
      registry.fault({ match: { kind: 'blob' }, do: faults.status(status) });
      const err = await failureOf(fetchWhole(client, registry, layer), code);
      assert.equal(registry.count({ kind: 'blob' }), 1);
      assert.match(err.message, new RegExp(`ordered ${status}$`));
      assert.deepEqual([err.status, err.digest, err.host], [status, layer.digest, registry.host]);
    });
  }

  it('403 to a HEAD is followed by a GET, whose body says why', async () => {
    client = new TestClient();
    registry.fault({ match: { kind: 'manifest' }, do: faults.status(403) });
    const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'DENIED');
    assert.equal(
      err.message,
      `${registry.host} answered 403 for manifest v1 of ${registry.host}/app: DENIED: ordered 403`,
    );
    assert.deepEqual(
      registry.log.entries.map(({ method }) => method),
      ['HEAD', 'GET'],
    );
  });

  it('404 of a manifest names the manifest, and is asked for by GET before it is believed', async () => {
    client = new TestClient();
    const err = await failureOf(resolve(client, registry.ref('app', 'nothing')), 'NOT_FOUND');
    assert.match(err.message, /answered 404 for manifest nothing of .*\/app: MANIFEST_UNKNOWN: manifest unknown$/);
    assert.equal(registry.count(), 2);
  });

  it('an error text stays on one line, whatever stands in it', async () => {
    client = new TestClient();
    const nasty = JSON.stringify({
      errors: [{ code: 'DENIED', message: `a\n\u001b[31mb\u202ec\u2028d${'x'.repeat(3000)}` }],
    });
    registry.fault({ match: { kind: 'blob' }, do: faults.status(403, { body: nasty }) });
    const err = await failureOf(fetchWhole(client, registry, layer), 'DENIED');
    assert.match(err.message, /DENIED: a \[31mb c dx*$/);
    assert.ok(err.message.length < 500);
  });

  it('an endless error body is not read to its end', async () => {
    client = new TestClient();
    registry.fault({ match: { kind: 'blob' }, do: [faults.status(403, { body: Buffer.alloc(50 << 20, 'x') })] });
    await failureOf(fetchWhole(client, registry, layer), 'DENIED');
    const entry = await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
    assert.equal(entry.outcome, 'gone');
    assert.ok(entry.bytesSent < 8 << 20, `${entry.bytesSent}`);
  });

  describe('429', () => {
    const limited = (value: string | undefined, times = 1, code = 429): void =>
      void registry.fault({ match: { kind: 'blob' }, times, do: faults.retryAfter(value, code) });

    it('with Retry-After in seconds waits so long', async () => {
      client = new TestClient();
      limited('1');
      const began = performance.now();
      await fetchWhole(client, registry, layer);
      assert.ok(performance.now() - began >= 990);
      assert.equal(registry.count({ kind: 'blob' }), 2);
      assert.equal(client.retried[0]?.code, 'RATE_LIMITED');
      assert.equal(client.retried[0]?.retryAfterMs, 1000);
    });

    it('with Retry-After as a date waits until then', async () => {
      client = new TestClient();
      const at = Math.ceil(Date.now() / 1000) * 1000 + 1000;
      limited(new Date(at).toUTCString());
      await fetchWhole(client, registry, layer);
      assert.ok(Date.now() >= at - 5);
      assert.equal(registry.count({ kind: 'blob' }), 2);
    });

    for (const value of [undefined, '-5', '0', 'soon', '1.5', 'Fri, 31 Dec 1999 23:59:59 GMT', '']) {
      it(`with Retry-After ${JSON.stringify(value)} is tried again after our own delay`, async () => {
        client = new TestClient();
        limited(value, 2);
        const began = performance.now();
        await fetchWhole(client, registry, layer);
        assert.ok(performance.now() - began < 900);
        assert.equal(registry.count({ kind: 'blob' }), 3);
      });
    }

    for (const code of [429, 503]) {
      it(`${code} with an hour is given up at once, and the error tells when to come back`, async () => {
        client = new TestClient();
        limited('3600', 9, code);
        const err = await failureOf(fetchWhole(client, registry, layer), code === 429 ? 'RATE_LIMITED' : 'UPSTREAM');
        assert.equal(registry.count({ kind: 'blob' }), 1);
        assert.equal(err.retryAfterMs, 3_600_000);
        assert.match(err.hint ?? '', /left alone for 3600 s, until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      });
    }

    it('is remembered for all requests to the registry, but not for others', async () => {
      client = new TestClient();
      await using other = await TestRegistry.start();
      other.add('app', 'v1', app);
      limited('3600');
      await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
      registry.log.clear();
      const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'RATE_LIMITED');
      assert.ok((err.retryAfterMs ?? 0) > 3_590_000);
      assert.equal(registry.count(), 0);
      await fetchWhole(client, other, layer);
    });

    it('is remembered for no longer than we are willing to', async () => {
      client = new TestClient({ retry: { maxQuietMs: 1 } });
      limited('3600');
      await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
      // Within the millisecond it would be waited for.
      await resolve(client, registry.ref('app', 'v1'));
    });

    it('makes the others wait, too, and none of them spends a try on it', async () => {
      client = new TestClient({ retry: { attempts: 2 } });
      registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.retryAfter('1') });
      const first = fetchWhole(client, registry, layer);
      await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
      while (client.retried.length === 0) await new Promise((done) => setImmediate(done));
      const began = performance.now();
      await Promise.all([first, ...[1, 2, 3, 4].map(() => resolve(client, registry.ref('app', 'v1')))]);
      assert.ok(performance.now() - began > 800);
      assert.equal(registry.count({ status: 429 }), 1);
      assert.equal(client.retried.length, 1);
    });

    it('an abort ends the wait', async () => {
      client = new TestClient();
      limited('2');
      const stop = new AbortController();
      const reason = new Error('enough');
      const work = fetchWhole(client, registry, layer, { signal: stop.signal });
      work.catch(() => undefined);
      await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
      while (client.retried.length === 0) await new Promise((done) => setImmediate(done));
      stop.abort(reason);
      await assert.rejects(work, reason);
      assert.equal(registry.count(), 1);
    });
  });
});
