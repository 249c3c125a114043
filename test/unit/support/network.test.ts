import assert from 'node:assert/strict';
import * as http from 'node:http';
import { describe, it } from 'node:test';
import { ask, failure, type Got } from '../../support/ask.ts';
import { image } from '../../support/images.ts';
import { TestProxy } from '../../support/proxy.ts';
import { faults, TestRegistry } from '../../support/registry.ts';
import { TcpProxy } from '../../support/tcp-proxy.ts';
import { certificates } from '../../support/tls.ts';

const app = image({ layers: [{ raw: Buffer.alloc(50_000, 'a') }] });
const layer = app.layers[0]?.digest ?? '';

async function started(options: Parameters<typeof TestRegistry.start>[0] = {}): Promise<TestRegistry> {
  const registry = await TestRegistry.start(options);
  registry.add('app', 'v1', app);
  return registry;
}

describe('TLS of the test registry', () => {
  it('has good and bad certificates', async () => {
    const { ca, server, wrongName, expired, selfSigned } = await certificates();
    const outcomes: string[] = [];
    for (const pair of [server, wrongName, expired, selfSigned]) {
      await using registry = await started({ tls: pair });
      outcomes.push(await failure(`${registry.url}/v2/`, { ca }));
    }
    const bad = ['ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED', 'DEPTH_ZERO_SELF_SIGNED_CERT'];
    assert.deepEqual(outcomes, ['none', ...bad]);
  });

  it('asks for a client certificate when told to', async () => {
    const { ca, server, client } = await certificates();
    await using registry = await started({ tls: { ...server, ca, requestCert: true, rejectUnauthorized: true } });
    assert.notEqual(await failure(`${registry.url}/v2/`, { ca }), 'none');
    const agent = new (await import('node:https')).Agent({ cert: client.cert, key: client.key });
    assert.equal(await failure(`${registry.url}/v2/`, { ca, agent }), 'none');
    agent.destroy();
  });

  it('cuts bodies by FIN and RST, too', async () => {
    const { ca, server } = await certificates();
    await using registry = await started({ tls: server });
    for (const by of ['FIN', 'RST'] as const) {
      registry.fault({ match: { kind: 'blob' }, times: 1, do: faults.cut(1000, by) });
      const got = await ask(`${registry.url}/v2/app/blobs/${layer}`, { ca });
      assert.equal(got.body.length, 1000);
      assert.equal(got.broken, 'ECONNRESET');
    }
  });
});

describe('the forward proxy', () => {
  /** What a client does behind a proxy for plain HTTP. */
  const through = (proxy: TestProxy, url: string, headers = {}): Promise<Got> => {
    const { promise, resolve, reject } = Promise.withResolvers<Got>();
    const { hostname, port } = new URL(proxy.url);
    http
      .get({ hostname, port, path: url, headers, agent: false }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => void parts.push(part));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts),
            broken: undefined,
          }),
        );
      })
      .on('error', reject);
    return promise;
  };

  it('forwards absolute URLs, also of names that exist only in the test', async () => {
    await using registry = await started();
    await using proxy = await TestProxy.start({ hosts: { 'registry.example:80': registry.host } });
    const got = await through(proxy, 'http://registry.example/v2/app/manifests/v1', { host: 'registry.example' });
    assert.deepEqual(got.body, app.manifest);
    assert.equal(proxy.log[0]?.target, 'http://registry.example/v2/app/manifests/v1');
    assert.equal(registry.log.entries[0]?.host, 'registry.example');
  });

  it('opens tunnels and wants its own credentials', async () => {
    await using registry = await started();
    await using proxy = await TestProxy.start({ credentials: 'proxy:secret' });
    const { hostname, port } = new URL(proxy.url);
    const connect = async (headers = {}): Promise<number> => {
      const request = http.request({ hostname, port, method: 'CONNECT', path: registry.host, headers, agent: false });
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      request.once('connect', (response, socket) => {
        socket.destroy();
        resolve(response.statusCode ?? 0);
      });
      request.once('error', reject);
      request.end();
      return promise;
    };
    assert.equal(await connect(), 407);
    const authorization = `Basic ${Buffer.from('proxy:secret').toString('base64')}`;
    assert.equal(await connect({ 'proxy-authorization': authorization }), 200);
    assert.deepEqual(
      proxy.log.map((entry) => [entry.method, entry.target]),
      [
        ['CONNECT', registry.host],
        ['CONNECT', registry.host],
      ],
    );
  });
});

describe('the TCP proxy', () => {
  it('forwards, goes silent, goes on, and cuts', async () => {
    await using registry = await started();
    await using proxy = await TcpProxy.start(registry.port);
    const url = `http://${proxy.host}/v2/app/blobs/${layer}`;
    assert.equal((await ask(url)).body.length, 50_000);
    assert.equal(proxy.accepted, 1);

    registry.log.clear();
    const gate = Promise.withResolvers<void>();
    registry.fault({ match: { kind: 'blob' }, times: 1, do: faults.hold(gate.promise) });
    const asked = ask(url);
    await registry.waitFor({ kind: 'blob' });
    proxy.pause();
    gate.resolve();
    await registry.waitFor({ kind: 'blob' }, { state: 'ended' });
    const first = await Promise.race([asked, new Promise((resolve) => void setTimeout(resolve, 50, 'silence'))]);
    assert.equal(first, 'silence');
    proxy.resume();
    assert.equal((await asked).body.length, 50_000);

    registry.log.clear();
    registry.fault({ match: { kind: 'blob' }, times: 1, do: faults.stallHeaders });
    const lost = failure(url);
    await registry.waitFor({ kind: 'blob' });
    proxy.cut();
    assert.equal(await lost, 'ECONNRESET');
    proxy.refuse(true);
    assert.equal(await failure(url), 'ECONNRESET');
  });
});
