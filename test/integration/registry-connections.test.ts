import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import type { LookupFunction } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { parseReference } from '../../src/oci/reference.ts';
import { failureOf, fetchAll, fetchWhole, firstLayer, never, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';

const app = image({ seed: 'connections', layers: [{ raw: randomBytesOf('connections', 4 << 20) }] });
const layer = firstLayer(app);

/** Until a condition holds that nothing announces; the test's own timeout ends it otherwise. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 2));
}

describe('connections to a registry', () => {
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

  const connections = (): number => new Set(registry.log.entries.map((entry) => entry.connection)).size;

  it('are used again, after a HEAD, a GET, an error and a redirect', async () => {
    client = new TestClient();
    registry.fault({ match: { kind: 'blob', nth: 2 }, do: faults.status(404) });
    registry.fault({ match: { kind: 'blob', nth: 3 }, do: faults.redirect((path) => `${path}?again`) });
    await resolve(client, registry.ref('app', 'v1'));
    await fetchWhole(client, registry, app.desc, { kind: 'manifest' });
    await fetchWhole(client, registry, app.config);
    await failureOf(fetchWhole(client, registry, app.config), 'NOT_FOUND');
    await fetchWhole(client, registry, app.config);
    await resolve(client, registry.ref('app', 'v1'));
    assert.equal(registry.count(), 7);
    assert.equal(connections(), 1);
  });

  it('are used again after a redirect whose body comes late', async () => {
    client = new TestClient();
    const moved = [faults.redirect((path) => `${path}?again`), faults.trickle(3, 2)];
    registry.fault({ match: { kind: 'blob', nth: 1 }, do: moved });
    await fetchWhole(client, registry, app.config);
    assert.equal(registry.count(), 2);
    assert.equal(connections(), 1);
  });

  it('are as many as the gate allows', async () => {
    client = new TestClient({ maxPerRegistry: 3 });
    const gate = Promise.withResolvers<void>();
    registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(1000, gate.promise) });
    const work = Array.from({ length: 8 }, () => fetchWhole(client, registry, layer));
    await registry.waitFor({ kind: 'blob' }, { count: 3 });
    assert.equal(registry.count(), 3);
    gate.resolve();
    await Promise.all(work);
    assert.equal(registry.maxConcurrent({ kind: 'blob' }), 3);
    assert.ok(connections() <= 3, `${connections()}`);
  });

  it('end with the client', async () => {
    client = new TestClient();
    await resolve(client, registry.ref('app', 'v1'));
    assert.equal(registry.openConnections(), 1);
    await client[Symbol.asyncDispose]();
    await until(() => registry.openConnections() === 0);
    await failureOf(resolve(client, registry.ref('app', 'v1')), 'CANCELLED');
  });

  it('what is under way when the client ends, ends', async () => {
    client = new TestClient();
    registry.fault({ do: faults.stallHeaders });
    const work = resolve(client, registry.ref('app', 'v1'));
    work.catch(() => undefined);
    await registry.waitFor({ kind: 'manifest' });
    await client[Symbol.asyncDispose]();
    await failureOf(work, 'CANCELLED');
    assert.equal(registry.count(), 1);
  });

  for (const by of ['RST', 'FIN'] as const) {
    it(`an idle one that the server has cut by ${by} is nobody's failure`, async () => {
      client = new TestClient({ retry: { attempts: 1 } });
      registry.fault({ do: faults.resetWhenReused(by) });
      for (let i = 0; i < 4; i += 1) await resolve(client, registry.ref('app', 'v1'));
      assert.deepEqual(client.retried, []);
      assert.equal(registry.count({ status: 200 }), 4);
    });
  }

  it('a fresh one that is cut is a failure, with a budget', async () => {
    client = new TestClient({ retry: { attempts: 2 } });
    registry.fault({ do: faults.drop() });
    const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'NETWORK');
    assert.equal(registry.count(), 2);
    assert.match(err.message, /broke the connection \(http:.*\/v2\/app\/manifests\/v1\)$/);
  });

  it('a registry that is not there does not accept connections', async () => {
    client = new TestClient();
    const gone = await TestRegistry.start();
    await gone[Symbol.asyncDispose]();
    const err = await failureOf(resolve(client, gone.ref('app', 'v1')), 'NETWORK');
    assert.equal(err.message, `${gone.host} does not accept connections (http://${gone.host}/v2/app/manifests/v1)`);
    assert.equal(client.retried.length, 2);
  });

  describe('an abort', () => {
    const stopped = new Error('stopped by the test');
    let stop: AbortController;

    const aborted = async (work: Promise<unknown>): Promise<void> => {
      await assert.rejects(work, (err) => err === stopped);
      // Nothing is left behind: no listener, no place, no connection that something is still sent on.
      assert.deepEqual(getEventListeners(stop.signal, 'abort'), []);
      await fetchWhole(client, registry, app.config);
    };
    const start = (): void => {
      stop = new AbortController();
      client = new TestClient({ maxPerRegistry: 1 });
    };

    it('before the start sends nothing', async () => {
      start();
      stop.abort(stopped);
      await assert.rejects(fetchAll(client, registry, layer, { signal: stop.signal }), (err) => err === stopped);
      assert.equal(registry.count(), 0);
    });

    it('while the connection is being made ends at once', async () => {
      start();
      const never: LookupFunction = () => undefined;
      await using deaf = new TestClient({
        lookup: never,
        hosts: { dirs: [], plainHttp: true, insecure: false },
        connectTimeoutMs: 50,
      });
      const work = deaf.resolve(parseReference('registry.example/app:v1'), { signal: stop.signal });
      setImmediate(() => stop.abort(stopped));
      await aborted(work);
    });

    it('while waiting for headers closes the connection', async () => {
      start();
      registry.fault({ times: 1, do: faults.stallHeaders });
      const work = fetchAll(client, registry, layer, { signal: stop.signal });
      const entry = await registry.waitFor({ kind: 'blob' });
      stop.abort(stopped);
      await aborted(work);
      await registry.waitFor((e) => e === entry, { state: 'ended' });
    });

    it('in the middle of a body closes the connection', async () => {
      start();
      registry.fault({ times: 1, do: faults.stallBody(1000) });
      const stream = await client.fetcher(`${registry.host}/app`).fetch('blob', layer, { signal: stop.signal });
      const work = (async () => {
        for await (const chunk of stream) if (chunk.length > 0) setImmediate(() => stop.abort(stopped));
      })();
      await aborted(work);
      await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
    });

    it('while the body is paused closes the connection', async () => {
      start();
      const big = image({ layers: [{ raw: randomBytesOf('more than all buffers', 48 << 20) }] });
      registry.add('app', 'big', big);
      const desc = firstLayer(big);
      const stream = await client.fetcher(`${registry.host}/app`).fetch('blob', desc, { signal: stop.signal });
      const work = (async () => {
        for await (const chunk of stream) {
          // By now the rest of the body waits in the queue, the sockets and the server.
          if (!stop.signal.aborted) await new Promise((done) => setTimeout(done, 50));
          if (chunk.length > 0) stop.abort(stopped);
        }
      })();
      await aborted(work);
      const entry = await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
      assert.equal(entry.outcome, 'gone');
    });

    it('while waiting for a place leaves the queue', async () => {
      start();
      const stream = await client.fetcher(`${registry.host}/app`).fetch('blob', layer, { signal: never });
      const work = fetchAll(client, registry, layer, { signal: stop.signal });
      setImmediate(() => stop.abort(stopped));
      await assert.rejects(work, (err) => err === stopped);
      assert.equal(registry.count(), 1);
      await stream[Symbol.asyncDispose]();
      await aborted(Promise.reject(stopped));
    });

    it('a stream that is given up before it is read gives its place back', async () => {
      start();
      const stream = await client.fetcher(`${registry.host}/app`).fetch('blob', layer, { signal: stop.signal });
      await stream[Symbol.asyncDispose]();
      await aborted(Promise.reject(stopped));
    });

    it('a signal that lives long gathers no listeners', async () => {
      start();
      const { signal } = stop;
      for (let i = 0; i < 30; i += 1) {
        await client.resolve(parseReference(registry.ref('app', 'v1')), { signal });
        await fetchWhole(client, registry, app.config, { signal });
      }
      assert.equal(getEventListeners(signal, 'abort').length, 0);
    });
  });

  it('every kind of failure gives the only place back', async () => {
    client = new TestClient({
      maxPerRegistry: 1,
      headersTimeoutMs: 50,
      stall: { stallMs: 50 },
      retry: { attempts: 1 },
    });
    const effects = [
      faults.status(500),
      faults.status(404),
      faults.status(401),
      faults.drop(),
      faults.cut(10),
      faults.stallHeaders,
      faults.stallBody(10),
      faults.html(),
      faults.contentLength(5),
      faults.redirect(undefined),
      faults.redirectLoop,
      faults.manyHeaders(20, 8000),
      faults.raw('SSH-2.0-OpenSSH_9.2\r\n'),
    ];
    for (const effect of effects) {
      using _fault = registry.fault({ do: effect });
      await assert.rejects(fetchAll(client, registry, layer));
    }
    await fetchWhole(client, registry, layer);
    assert.equal(registry.maxConcurrent(), 1);
  });

  describe('what is no HTTP', () => {
    it('more than 64 KiB of headers are refused', async () => {
      client = new TestClient();
      registry.fault({ do: faults.manyHeaders(20, 4000) });
      const err = await failureOf(fetchAll(client, registry, layer), 'TOO_LARGE');
      assert.match(err.message, /headers of more than 64 KiB/);
      assert.equal(registry.count(), 1);
      registry.clearFaults();
      registry.fault({ do: faults.manyHeaders(10, 4000) });
      await fetchWhole(client, registry, layer);
    });

    it('another protocol is told as such, without its bytes', async () => {
      client = new TestClient();
      registry.fault({ do: faults.raw('SSH-2.0-OpenSSH_9.2\r\n') });
      const err = await failureOf(fetchAll(client, registry, layer), 'MALFORMED');
      assert.match(err.message, /does not speak HTTP as expected \(http:/);
      assert.equal(err.cause, undefined);
    });
  });

  describe('names', () => {
    const plain = { dirs: [], plainHttp: true, insecure: false };
    const lookupTo =
      (...addresses: string[]): LookupFunction =>
      (_name, options, callback) => {
        const all = addresses.map((address) => ({ address, family: 4 }));
        if (options.all === true) callback(null, all);
        else callback(null, all[0]?.address ?? '', 4);
      };

    it('with one dead address lead to the other', async () => {
      // The test registry listens on 127.0.0.1 only.
      client = new TestClient({ lookup: lookupTo('127.0.0.9', '127.0.0.1'), hosts: plain });
      await resolve(client, `registry.example:${registry.port}/app:v1`);
      assert.deepEqual(client.retried, []);
      assert.equal(registry.log.entries[0]?.host, `registry.example:${registry.port}`);
    });

    it('that do not exist are told as such', async () => {
      const lookup: LookupFunction = (_name, _options, callback) =>
        callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), '');
      client = new TestClient({ lookup, hosts: plain, retry: { attempts: 2 } });
      const err = await failureOf(resolve(client, 'registry.example/app:v1'), 'NETWORK');
      assert.equal(err.message, 'registry.example: no such host (http://registry.example/v2/app/manifests/v1)');
    });
  });
});
