import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { before, describe, it } from 'node:test';
import type { RegistryClientOptions } from '../../src/registry/client.ts';
import {
  basicCredentials,
  failureOf,
  fetchWhole,
  firstLayer,
  MARKER,
  resolve,
  TestClient,
} from '../support/clients.ts';
import { image } from '../support/images.ts';
import { closed, listen } from '../support/listen.ts';
import { TestProxy } from '../support/proxy.ts';
import { faults, randomBytesOf, type RegistryOptions, TestOrigin, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';
import { type Certificates, certificates } from '../support/tls.ts';

const app = image({ seed: 'tls', layers: [{ raw: randomBytesOf('tls', 100_000) }] });
const layer = firstLayer(app);

let certs: Certificates;
before(async () => {
  certs = await certificates();
});

async function started(options: RegistryOptions): Promise<TestRegistry> {
  const registry = await TestRegistry.start(options);
  registry.add('app', 'v1', app);
  return registry;
}

/** Loopback registries speak plain http unless something says otherwise; here a hosts.toml does. */
async function secureHosts(
  dir: { path: string; join(...parts: string[]): string },
  registry: TestRegistry,
  lines: readonly string[] = [],
): Promise<RegistryClientOptions['hosts']> {
  await mkdir(dir.join(registry.host), { recursive: true });
  await writeFile(dir.join(registry.host, 'hosts.toml'), [`server = "https://${registry.host}"`, ...lines].join('\n'));
  return { dirs: [dir.path], plainHttp: false, insecure: false };
}

describe('TLS', () => {
  it('a certificate of a CA that is given is trusted, by flag and by hosts.toml', async () => {
    await using dir = await tempDir();
    await using registry = await started({ tls: certs.server });
    const hosts = await secureHosts(dir, registry);
    await using byFlag = new TestClient({ hosts, ca: [certs.ca.toString()] });
    await fetchWhole(byFlag, registry, layer);
    await secureHosts(dir, registry, [`ca = "${certs.caFile}"`]);
    await using byFile = new TestClient({ hosts });
    await fetchWhole(byFile, registry, layer);
  });

  for (const [kind, code] of [
    ['expired', 'CERT_HAS_EXPIRED'],
    ['wrongName', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['selfSigned', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['server', 'UNABLE_TO_'],
  ] as const) {
    it(`a bad certificate (${kind}) is not trusted, not tried again, and the error says what to do`, async () => {
      await using dir = await tempDir();
      await using registry = await started({ tls: certs[kind] });
      const hosts = await secureHosts(dir, registry);
      const ca = kind === 'server' ? [] : [certs.ca.toString()];
      await using client = new TestClient({ hosts, ca });
      const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'TLS');
      assert.ok(err.message.startsWith(`${registry.host}: its certificate is not trusted (${code}`), err.message);
      assert.match(err.hint ?? '', /--ca-file or in hosts\.toml, or --insecure/);
      assert.equal(registry.count(), 0);
      assert.deepEqual(client.retried, []);
      // Insecure only when declared, and only for whom.
      await using insecure = new TestClient({ hosts: { ...hosts, insecure: new Set([registry.host]) } });
      await resolve(insecure, registry.ref('app', 'v1'));
      await using forOthers = new TestClient({ hosts: { ...hosts, insecure: new Set(['other.example']) } });
      await failureOf(resolve(forOthers, registry.ref('app', 'v1')), 'TLS');
    });
  }

  it('a client certificate is shown to the host that it is configured for', async () => {
    await using dir = await tempDir();
    const { server, ca, client: own } = certs;
    await using registry = await started({ tls: { ...server, ca, requestCert: true, rejectUnauthorized: true } });
    const lines = [`ca = "${certs.caFile}"`, `client = [["${own.certFile}", "${own.keyFile}"]]`];
    await using with_ = new TestClient({ hosts: await secureHosts(dir, registry, lines) });
    await fetchWhole(with_, registry, layer);
    await using without = new TestClient({ hosts: await secureHosts(dir, registry, lines.slice(0, 1)) });
    // A node server just closes; others send an alert, which reads "wants a client certificate".
    await failureOf(resolve(without, registry.ref('app', 'v1')), 'TLS', 'NETWORK');
    assert.equal(registry.count(), 1);
  });

  it('a client certificate is not shown to where a redirect leads, though it be on the same host', async () => {
    await using dir = await tempDir();
    const { server, ca, client: own } = certs;
    const tls = { ...server, ca, requestCert: true, rejectUnauthorized: true };
    await using registry = await started({ tls });
    await using origin = await TestOrigin.start({ tls, blobs: registry.blobs });
    registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
    const lines = [`ca = "${certs.caFile}"`, `client = [["${own.certFile}", "${own.keyFile}"]]`];
    await using client = new TestClient({ hosts: await secureHosts(dir, registry, lines) });
    await failureOf(fetchWhole(client, registry, layer), 'TLS', 'NETWORK');
    assert.equal(origin.count(), 0);
  });

  it('plain http from a registry that should speak TLS, and the other way round', async () => {
    await using dir = await tempDir();
    await using plain = await started({});
    await using client = new TestClient({ hosts: await secureHosts(dir, plain) });
    const err = await failureOf(resolve(client, plain.ref('app', 'v1')), 'TLS');
    assert.match(err.hint ?? '', /--plain-http/);
    await using secure = await started({ tls: certs.server });
    await using careless = new TestClient();
    await failureOf(resolve(careless, secure.ref('app', 'v1')), 'NETWORK', 'MALFORMED', 'UNSUPPORTED');
  });

  it('plain http without being asked is for localhost only', async () => {
    await using registry = await started({ hostname: 'localhost' });
    await using client = new TestClient();
    await resolve(client, registry.ref('app', 'v1'));
    const lookup: RegistryClientOptions['lookup'] = (_name, _options, callback) =>
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    await using elsewhere = new TestClient({ lookup });
    await failureOf(resolve(elsewhere, `registry.example:${registry.port}/app:v1`), 'TLS');
    assert.equal(registry.count(), 1);
  });

  it('connections are shared: one handshake for many requests', async () => {
    await using dir = await tempDir();
    await using registry = await started({
      tls: certs.server,
      auth: { scheme: 'bearer', users: { alice: MARKER }, ownPort: true },
    });
    const hosts = await secureHosts(dir, registry);
    const credentials = basicCredentials(registry.host);
    await using client = new TestClient({ hosts, credentials, ca: [certs.ca.toString()] });
    for (let i = 0; i < 5; i += 1) {
      await resolve(client, registry.ref('app', 'v1'));
      registry.auth.expireTokens();
    }
    assert.equal(registry.count({ kind: 'token' }), 5);
    assert.equal(new Set(registry.log.select({ kind: 'token' }).map((e) => e.connection)).size, 1);
    assert.equal(registry.acceptedConnections(), 1);
  });
});

describe('proxies', () => {
  const plain = { dirs: [], plainHttp: true, insecure: false };

  it('http goes through as whole URLs, with the credentials of the registry, and those of the proxy to the proxy only', async () => {
    await using registry = await started({ auth: { scheme: 'basic', users: { alice: MARKER } } });
    await using proxy = await TestProxy.start({
      credentials: `proxy:${MARKER}`,
      hosts: { 'registry.example:80': registry.host },
    });
    const url = new URL(proxy.url);
    url.username = 'proxy';
    url.password = MARKER;
    const credentials = basicCredentials('registry.example');
    await using client = new TestClient({ hosts: plain, proxies: { http: url.href }, credentials });
    await fetchWhole(client, { host: 'registry.example' }, layer);
    assert.ok(proxy.log.every((entry) => entry.target.startsWith('http://registry.example/v2/app/')));
    assert.ok(registry.log.entries.every((entry) => entry.headers['proxy-authorization'] === undefined));
    assert.ok(registry.log.entries.every((entry) => entry.host === 'registry.example'));
    assert.equal(registry.log.entries.at(-1)?.authKind, 'basic');
  });

  it('https goes through a tunnel that sees only the name', async () => {
    await using dir = await tempDir();
    await using registry = await started({
      tls: certs.wrongName,
      auth: { scheme: 'basic', users: { alice: MARKER } },
    });
    await using proxy = await TestProxy.start({
      credentials: `proxy:${MARKER}`,
      hosts: { 'somebody.example:443': registry.host },
    });
    const url = proxy.url.replace('http://', `http://proxy:${MARKER}@`);
    await using client = new TestClient({
      hosts: { dirs: [dir.path], plainHttp: false, insecure: false },
      ca: [certs.ca.toString()],
      proxies: { https: url },
      credentials: basicCredentials('somebody.example'),
    });
    await resolve(client, 'somebody.example/app:v1');
    await fetchWhole(client, { host: 'somebody.example' }, layer);
    assert.deepEqual(
      proxy.log.map(({ method, target, authorization }) => [method, target, authorization]),
      [['CONNECT', 'somebody.example:443', undefined]],
    );
    assert.ok(registry.log.entries.every((entry) => entry.headers['proxy-authorization'] === undefined));
  });

  it('a proxy that wants credentials is told as such, with none of them in the error', async () => {
    await using proxy = await TestProxy.start({ credentials: 'proxy:right' });
    const url = proxy.url.replace('http://', `http://proxy:${MARKER}@`);
    const proxies = { http: url, https: url };
    for (const hosts of [plain, { ...plain, plainHttp: false }]) {
      await using client = new TestClient({ hosts, proxies });
      const err = await failureOf(resolve(client, 'registry.example/app:v1'), 'UNAUTHORIZED');
      assert.equal(
        err.message,
        `the proxy ${new URL(proxy.url).host} wants credentials, or declined those of its URL (407)`,
      );
    }
    assert.equal(proxy.log.length, 2);
  });

  it('a proxy that is not there, or says nothing, or speaks something else', async () => {
    const silent = createServer((socket) => void socket.on('error', () => undefined).resume());
    const port = await listen(silent);
    const talker = createServer(
      (socket) =>
        void socket
          .end('SSH-2.0\r\n')
          .on('error', () => undefined)
          .resume(),
    );
    const talkerPort = await listen(talker);
    const gone = await TestProxy.start();
    await gone[Symbol.asyncDispose]();
    for (const [url, code] of [
      [gone.url, 'NETWORK'],
      [`http://127.0.0.1:${port}`, 'TIMEOUT'],
      [`http://127.0.0.1:${talkerPort}`, 'NETWORK'],
    ] as const) {
      await using client = new TestClient({ proxies: { https: url }, connectTimeoutMs: 100, retry: { attempts: 2 } });
      const err = await failureOf(resolve(client, 'registry.example/app:v1'), code);
      assert.match(err.message, /^the proxy 127\.0\.0\.1:\d+ (cannot be reached|did not answer in time)/);
      assert.equal(client.retried.length, 1);
    }
    await Promise.all([silent, talker].map((server) => closed(server)));
  });

  it('a tunnel that breaks while it is made is tried again, not for ever', async () => {
    await using proxy = await TestProxy.start({ hosts: { 'registry.example:443': '127.0.0.1:1' } });
    await using client = new TestClient({ proxies: { https: proxy.url } });
    await failureOf(resolve(client, 'registry.example/app:v1'), 'NETWORK');
    assert.equal(proxy.log.length, 3);
  });

  it('NO_PROXY and loopback go directly', async () => {
    await using registry = await started({});
    await using proxy = await TestProxy.start();
    const lookup: RegistryClientOptions['lookup'] = (_name, _options, callback) =>
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    const proxies = { http: proxy.url, none: '.example' };
    await using client = new TestClient({ hosts: plain, proxies, lookup });
    await resolve(client, registry.ref('app', 'v1'));
    await resolve(client, `registry.example:${registry.port}/app:v1`);
    assert.equal(registry.count(), 2);
    assert.equal(proxy.log.length, 0);
  });

  it('a proxy that is no URL is told without its text', async () => {
    await using client = new TestClient({ hosts: plain, proxies: { http: `ht!tp://proxy:${MARKER}@x` } });
    const err = await failureOf(resolve(client, 'registry.example/app:v1'), 'INVALID');
    assert.equal(err.message, 'HTTP_PROXY is not the URL of an HTTP proxy');
  });

  it('a redirect through a proxy carries no credentials either', async () => {
    await using registry = await started({ auth: { scheme: 'basic', users: { alice: MARKER } } });
    await using origin = await TestOrigin.start({ blobs: registry.blobs, hostname: 'cdn.example' });
    const hosts = { 'registry.example:80': registry.host, [`cdn.example:${origin.port}`]: `127.0.0.1:${origin.port}` };
    await using proxy = await TestProxy.start({ hosts });
    registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
    registry.fault({ match: { kind: 'manifest' }, do: faults.status(404) });
    const credentials = basicCredentials('registry.example');
    await using client = new TestClient({ hosts: plain, proxies: { http: proxy.url }, credentials });
    await fetchWhole(client, { host: 'registry.example' }, layer);
    assert.deepEqual(origin.leaks(), []);
    assert.equal(origin.count(), 1);
  });
});
