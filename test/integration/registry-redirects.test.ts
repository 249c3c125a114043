import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { basicCredentials, failureOf, fetchWhole, firstLayer, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { TestProxy } from '../support/proxy.ts';
import { type Effect, faults, type LogEntry, randomBytesOf, TestOrigin, TestRegistry } from '../support/registry.ts';
import { certificates } from '../support/tls.ts';

const app = image({ seed: 'redirects', layers: [{ raw: randomBytesOf('redirects', 100_000) }] });
const layer = firstLayer(app);

describe('a redirect', () => {
  let registry: TestRegistry;
  let origin: TestOrigin;
  let client: TestClient;

  before(async () => {
    registry = await TestRegistry.start({ auth: { scheme: 'bearer', users: { alice: 'MARKER-s3cr3t-9b2c' } } });
    registry.add('app', 'v1', app);
    origin = await TestOrigin.start({ blobs: registry.blobs });
  });
  after(async () => {
    await origin[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    registry.clearFaults();
    origin.clearFaults();
    registry.log.clear();
    origin.log.clear();
    await client[Symbol.asyncDispose]();
  });

  const open = (options: ConstructorParameters<typeof TestClient>[0] = {}): void => {
    client = new TestClient({ credentials: basicCredentials(registry.host), ...options });
  };
  const order = (...effects: Effect[]): void => void registry.fault({ match: { kind: 'blob' }, do: effects });
  const blobs = (): number => registry.count({ kind: 'blob', authKind: 'bearer' });

  for (const status of [301, 302, 303, 307, 308]) {
    it(`${status} to another origin is followed, without any credential`, async () => {
      open();
      order(origin.redirectHere({ status }));
      await fetchWhole(client, registry, layer);
      assert.equal(blobs(), 1);
      assert.equal(origin.count({ kind: 'signed' }), 1);
      assert.deepEqual(origin.leaks(), []);
      assert.equal(origin.log.entries[0]?.headers['accept-encoding'], 'identity');
    });
  }

  it('carries the Range of a resumed transfer along', async () => {
    open();
    order(origin.redirectHere());
    origin.fault({ times: 1, do: faults.cut(70_000) });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(
      origin.log.entries.map((entry) => entry.range),
      [undefined, 'bytes=70000-'],
    );
    assert.equal(blobs(), 2);
  });

  it('whose target answers 416 to a Range is read from the start', async () => {
    open();
    order(origin.redirectHere());
    origin.fault({ times: 1, do: faults.cut(70_000) });
    origin.fault({ match: { ranged: true }, do: faults.rangeNotSatisfiable });
    await fetchWhole(client, registry, layer);
    assert.equal(origin.count(), 3);
  });

  it('to a signed URL that has run out: the registry is asked again, never the old target', async () => {
    open();
    order(origin.redirectHere({ uses: 1 }));
    origin.fault({ times: 1, do: [faults.cut(10_000), faults.afterwards(() => origin.expireSigned())] });
    await fetchWhole(client, registry, layer);
    assert.equal(blobs(), 2);
    const targets = origin.log.entries.map((entry) => entry.path);
    assert.equal(new Set(targets).size, targets.length, 'a signed URL was used twice');

    // Run out already when it is used.
    registry.log.clear();
    origin.log.clear();
    registry.clearFaults();
    order((a, asked) => origin.redirectHere({ uses: origin.count() === 0 ? 0 : 1 })(a, asked));
    await fetchWhole(client, registry, layer);
    assert.equal(origin.count({ status: 403 }), 1);
    assert.equal(blobs(), 2);

    // For ever: a budget, and an error that shows no signature.
    registry.clearFaults();
    order(origin.redirectHere({ uses: 0 }));
    const err = await failureOf(fetchWhole(client, registry, layer), 'UPSTREAM');
    assert.ok(err.message.startsWith(`${origin.url}/cdn/sha256/`), err.message);
    assert.match(err.message, /where the registry sent us for blob sha256:\w+ of .*\/app, answered 403$/);
    assert.equal(err.digest, layer.digest);
  });

  it('to another host that wants credentials gets none, and is no reason to fetch a token', async () => {
    await using strict = await TestOrigin.start({ wantsAuth: true, blobs: registry.blobs });
    open();
    order((a, asked) => strict.redirectHere()(a, asked));
    await failureOf(fetchWhole(client, registry, layer), 'UPSTREAM');
    assert.deepEqual(strict.leaks(), []);
    assert.equal(strict.count({ status: 401 }), 3);
    assert.equal(registry.count({ kind: 'token' }), 1);
  });

  it('back home carries the credentials again', async () => {
    open();
    registry.fault({ match: { kind: 'blob', nth: 1 }, do: origin.redirectHere() });
    origin.fault({ do: faults.redirect(`${registry.url}/v2/app/blobs/${layer.digest}`) });
    await fetchWhole(client, registry, layer);
    assert.equal(blobs(), 2);
    assert.deepEqual(origin.leaks(), []);
  });

  it('in a loop ends after five', async () => {
    open();
    order(faults.redirectLoop);
    const err = await failureOf(fetchWhole(client, registry, layer), 'REFUSED');
    assert.equal(
      err.message,
      `${registry.host}: more than 5 redirects for blob ${layer.digest} of ${registry.host}/app`,
    );
    assert.equal(blobs(), 6);
  });

  it('without Location, or to what is no URL, or no http, is an error', async () => {
    open();
    for (const [location, code] of [
      [undefined, 'MALFORMED'],
      ['http://[', 'MALFORMED'],
      ['file:///etc/passwd', 'REFUSED'],
      ['javascript:alert(1)', 'REFUSED'],
      [`ftp://user:MARKER-s3cr3t-9b2c@host/`, 'REFUSED'],
    ] as const) {
      registry.clearFaults();
      order(faults.redirect(location));
      const err = await failureOf(fetchWhole(client, registry, layer), code);
      assert.ok(err.message.startsWith(`${registry.host}: a redirect `), err.message);
    }
    assert.equal(blobs(), 5);
  });

  it('that is relative stays at home, credentials and all', async () => {
    open();
    const isFirst = { kind: 'blob', where: (entry: LogEntry) => !entry.path.endsWith('?x') } as const;
    registry.fault({ match: isFirst, do: faults.redirect(`./${layer.digest}?x`) });
    await fetchWhole(client, registry, layer);
    assert.equal(registry.log.entries.at(-1)?.path, `/v2/app/blobs/${layer.digest}?x`);
    assert.equal(blobs(), 2);
  });

  it('does not take user information along', async () => {
    open();
    order((a, asked) => {
      const to = new URL(origin.sign(asked.entry.object ?? ''));
      to.username = 'alice';
      to.password = 'MARKER-s3cr3t-9b2c';
      faults.redirect(to.href)(a, asked);
    });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(origin.leaks(), []);
  });

  it('of a manifest and of tags is followed like any other', async () => {
    open();
    registry.fault({
      match: { where: (e) => !e.path.includes('?'), kind: 'manifest' },
      do: faults.redirect((path) => `${path}?moved`),
    });
    assert.equal((await resolve(client, registry.ref('app', 'v1'))).desc.digest, app.desc.digest);
  });

  it('from https to http is refused', async () => {
    const { ca, server } = await certificates();
    await using secure = await TestRegistry.start({ tls: server });
    secure.add('app', 'v1', app);
    secure.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
    const hosts = { dirs: [], plainHttp: false, insecure: new Set([secure.host]) };
    client = new TestClient({ ca: [ca.toString()], hosts });
    const err = await failureOf(fetchWhole(client, secure, layer), 'REFUSED');
    assert.match(err.message, /a redirect from https to http for blob /);
    assert.equal(origin.count(), 0);
  });

  it('other limits than those of the registry do not close the registry', async () => {
    open();
    order(origin.redirectHere());
    origin.fault({ do: faults.retryAfter('3600') });
    const err = await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
    assert.equal(err.retryAfterMs, 3_600_000);
    assert.equal(origin.count(), 1);
    await resolve(client, registry.ref('app', 'v1'));
  });

  describe('of a public registry', () => {
    // Behind a proxy a name may be anywhere; DNS says that it is public. NO_PROXY makes what it names a direct connection.
    const lookup: LookupFunction = (name, _options, callback) => {
      callback(null, [{ address: name === 'registry.example' ? '93.184.215.14' : '127.0.0.1', family: 4 }]);
    };
    const plain = { dirs: [], plainHttp: true, insecure: false };

    it('to an address inside is refused before a packet is sent', async () => {
      await using open = await TestRegistry.start();
      open.add('app', 'v1', app);
      await using proxy = await TestProxy.start({ hosts: { 'registry.example:80': open.host } });
      const proxies = { http: proxy.url, none: 'inside.example,10.0.0.0/8,169.254.169.254' };
      client = new TestClient({ lookup, hosts: plain, proxies });
      const { port } = origin;
      const places = [
        `127.0.0.1:${port}`,
        `localhost:${port}`,
        `127.1:${port}`,
        `[::1]:${port}`,
        '10.1.2.3',
        '169.254.169.254',
      ];
      for (const place of [...places, `inside.example:${port}`]) {
        using _fault = open.fault({
          match: { kind: 'blob' },
          do: faults.redirect(`http://${place}/latest?MARKER-s3cr3t-9b2c`),
        });
        const err = await failureOf(fetchWhole(client, { host: 'registry.example' }, layer), 'REFUSED');
        assert.match(
          err.message,
          place.startsWith('inside') ? /^inside.example has no public address/ : /is a private address/,
        );
      }
      assert.equal(origin.count(), 0);
      assert.equal(open.count(), places.length + 1);
      // Without the redirect all is well; it is the same client and the same way.
      await fetchWhole(client, { host: 'registry.example' }, layer);
    });

    it('a registry inside may send us to addresses inside', async () => {
      open();
      order(origin.redirectHere());
      await fetchWhole(client, registry, layer);
      assert.equal(origin.count(), 1);
    });
  });
});
