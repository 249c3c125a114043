/** Who may do what through `gantry server`, as somebody tries who may not. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { tokenFile } from '../../src/app/server/token-file.ts';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { isCode } from '../../src/errors.ts';
import { ask } from '../support/ask.ts';
import { TestFarm, until } from '../support/farm.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { tempDir } from '../support/temp.ts';

interface Sent {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** With the path as it is given: a URL would be made tidy first. */
function send(
  url: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<Sent> {
  const { promise, resolve, reject } = Promise.withResolvers<Sent>();
  const { hostname, port } = new URL(url);
  const length = body === '' ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const sent = request(
    { hostname, port, method, path, headers: { ...length, ...headers }, agent: false },
    (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (response.headers['content-type'] === 'text/event-stream') response.destroy();
      });
      response.on('error', () => undefined);
      response.on('close', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    },
  );
  sent.on('error', reject);
  sent.end(body);
  return promise;
}

/** All keys, and a hash of what each holds. */
const FINGERPRINT = `local keys = redis.call('KEYS', '*') table.sort(keys) local out = {}
for _, key in ipairs(keys) do out[#out + 1] = key .. ' ' .. redis.sha1hex(redis.call('DUMP', key)) end
return table.concat(out, '\\n')`;

const JSON_TYPE = { 'content-type': 'application/json' };

describe('access', () => {
  let stack: AsyncDisposableStack;
  let farm: TestFarm;
  let server: TestServer;
  let running: string;
  let ended: string;
  /** Each changes something for those who may. */
  let changes: readonly (readonly [method: string, path: string, body: string])[];

  before(async () => {
    stack = new AsyncDisposableStack();
    farm = stack.use(await TestFarm.start({ workers: 0 }));
    const roots = [imageNode(parseReference('registry.invalid/app:v1'), await farm.store.id(), '')];
    running = await farm.client.submit(roots, { isNew: true });
    ended = await farm.client.submit(roots, { isNew: true });
    await farm.client.cancel(ended);
    await farm.client.settings.set('docker.io', { concurrency: 1 });
    server = stack.use(await startTestServer({ redis: farm.settings, store: farm.store.root }));
    changes = [
      ['POST', '/api/v1/runs', JSON.stringify({ pull: ['registry.invalid/other:v1'], target: 'store' })],
      ['POST', `/api/v1/runs/${running}/cancel`, ''],
      ['POST', `/api/v1/runs/${ended}/retry`, '{}'],
      ['PATCH', '/api/v1/lanes/docker.io', '{"concurrency":7}'],
      ['POST', '/api/v1/lanes/docker.io/pause', ''],
      ['POST', '/api/v1/lanes/docker.io/resume', ''],
    ];
    await server.api('GET', '/lanes'); // the first look at a lane notes how long its events are kept
  });
  after(() => stack.disposeAsync());

  const state = (): Promise<string> => farm.redis.command('EVAL', FINGERPRINT, '0');

  const credentials = (token: string): readonly Record<string, string>[] => [
    {},
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${token.slice(0, -1)}` },
    { authorization: `Bearer ${token}x` },
    { authorization: `Bearer ${token} ${token}` },
    { authorization: token },
    { authorization: `Basic ${Buffer.from(`gantry:${token}`).toString('base64')}` },
    { authorization: `Digest ${token}` },
    { cookie: `token=${token}; authorization=Bearer ${token}` },
    { 'x-authorization': `Bearer ${token}`, 'proxy-authorization': `Bearer ${token}` },
  ];

  it('changes nothing without the token, whatever else is sent', async () => {
    const before = await state();
    for (const [method, path, body] of changes) {
      for (const headers of credentials(server.token)) {
        const got = await send(server.url, method, path, { ...JSON_TYPE, ...headers }, body);
        assert.equal(got.status, 401, `${method} ${path} ${JSON.stringify(headers)}: ${got.body}`);
        assert.equal(got.headers['www-authenticate'], 'Bearer realm="gantry"');
        assert.match(got.body, /^\{"error":\{"code":"UNAUTHORIZED",/);
        assert.ok(!got.body.includes(server.token.slice(0, -1)));
      }
      const query = await send(
        server.url,
        method,
        `${path}?token=${server.token}&access_token=${server.token}`,
        JSON_TYPE,
        body,
      );
      assert.equal(query.status, 401);
    }
    assert.equal(await state(), before);
  });

  it('has no other way to the same place', async () => {
    const before = await state();
    for (const [method, path, body] of changes) {
      const ways = [
        path.replace('/api', '/API'),
        path.replace('/api', '//api'),
        path.replace('/api', '/./api'),
        path.replace('/api', '/%61pi'),
        path.replace('/api', '/%2561pi'),
        path.replace('/api/', '/api%2f'),
        path.replace('/api', '/healthz/../api'),
        path.replace('/api', '/v2/../api'),
        path.replace('/api', '/v2/%2e%2e/api'),
        path.replace('/api', '/assets/..%2fapi'),
        path.replace('/api', '\\api'),
        path.replace('/api/v1', '/api/v1/'),
        `${path}/`,
        `${path};x=1`,
        `${path}#/v2/`,
        `${path}%00`,
        `http://localhost${path}`,
        `http://localhost/v2/../${path}`,
      ];
      for (const way of ways) {
        const got = await send(server.url, method, way, JSON_TYPE, body);
        assert.ok(got.status >= 400 && got.status < 500, `${method} ${way}: ${got.status}`);
      }
      for (const over of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
        for (const read of ['GET', 'HEAD', 'OPTIONS']) {
          await send(server.url, read, `${path}?_method=${method}`, { ...JSON_TYPE, [over]: method });
          const headers = { ...JSON_TYPE, [over]: method, authorization: `Bearer ${server.token}` };
          await send(server.url, read, `${path}?_method=${method}`, headers);
        }
      }
    }
    assert.equal(await state(), before);
  });

  it('reads without changing anything, and refuses every other method on every path', async () => {
    const document: { paths: Record<string, unknown> } = JSON.parse(
      (await server.api('GET', '/openapi.json')).body.toString(),
    );
    const paths = [
      ...Object.keys(document.paths),
      '/',
      '/metrics',
      '/healthz',
      '/readyz',
      '/v2/',
      '/nothing',
      '/api',
    ].map((path) => path.replace('{id}', running).replace('{name}', 'docker.io'));
    const before = await state();
    for (const path of paths) {
      const query = path.endsWith('/events') ? '?topics=runs' : '';
      for (const method of ['GET', 'HEAD']) await send(server.url, method, `${path}${query}`);
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'LOCK']) {
        const { status, headers } = await send(server.url, method, path, JSON_TYPE, '{}');
        assert.ok([401, 405].includes(status), `${method} ${path}: ${status}`);
        assert.equal(headers['access-control-allow-origin'], undefined);
      }
    }
    assert.equal(await state(), before);
  });

  it('does what is asked by whoever has the token', async () => {
    for (const [method, path, body] of changes) {
      const before = await state();
      const headers = { ...JSON_TYPE, authorization: `bearer ${server.token}` };
      const { status, body: said } = await send(server.url, method, path, headers, body);
      assert.ok([200, 201].includes(status), `${method} ${path}: ${status} ${said}`);
      assert.notEqual(await state(), before, `${method} ${path}`);
    }
    assert.ok(!server.log.join('\n').includes(server.token));
  });

  it('refuses pages of other sites, and names that are made to lead here', async () => {
    const { port } = new URL(server.url);
    const own = `localhost:${port}`;
    const bearer = { authorization: `Bearer ${server.token}` };
    const refused: readonly Record<string, string>[] = [
      { host: `evil.example:${port}` },
      { host: `localhost.evil.example:${port}` },
      { host: `127.0.0.1.evil.example:${port}` },
      { host: `[::1].evil.example` },
      { host: ' ' },
      { host: own, origin: 'null' },
      { host: own, origin: 'http://evil.example' },
      { host: own, origin: `http://localhost:${Number(port) + 1}` },
      { host: own, origin: `http://127.0.0.1:${port}` },
      { host: own, 'sec-fetch-site': 'cross-site' },
      { host: own, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' },
      { host: own, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    ];
    for (const headers of refused) {
      for (const path of ['/', '/api/v1/runs', '/metrics', '/v2/', '/healthz']) {
        const { status } = await send(server.url, 'GET', path, { ...headers, ...bearer });
        // The platform itself refuses some of them.
        assert.ok([400, 403].includes(status), `GET ${path} ${JSON.stringify(headers)}: ${status}`);
      }
      const got = await send(
        server.url,
        'POST',
        `/api/v1/runs/${ended}/retry`,
        { ...headers, ...bearer, ...JSON_TYPE },
        '{}',
      );
      assert.ok([400, 403].includes(got.status), `POST ${JSON.stringify(headers)}: ${got.status}`);
    }
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    const form = { host: own, ...link, ...bearer, ...JSON_TYPE };
    assert.equal((await send(server.url, 'POST', `/api/v1/runs/${ended}/retry`, form, '{}')).status, 403);
    const allowed: readonly Record<string, string>[] = [
      {},
      { host: own, origin: `http://${own}` },
      { host: own, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' },
      { host: own, 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' },
      { host: own, ...link },
      { host: `[::1]:${port}` },
    ];
    for (const headers of allowed) {
      const { status, body } = await send(server.url, 'GET', '/api/v1/runs', headers);
      assert.equal(status, 200, `${JSON.stringify(headers)}: ${body}`);
    }
  });

  it('changes nothing at all where it has no token', async () => {
    await using open = await startTestServer({ redis: farm.settings, hasToken: false });
    const before = await state();
    for (const [method, path, body] of changes) {
      for (const headers of credentials(open.token)) {
        const got = await send(open.url, method, path, { ...JSON_TYPE, ...headers }, body);
        assert.equal(got.status, 403, got.body);
        assert.match(got.body, /start it with --token-file/);
      }
    }
    assert.equal(await state(), before);
    const info: { changes: boolean } = JSON.parse((await open.api('GET', '/info', undefined, {})).body.toString());
    assert.equal(info.changes, false);
  });

  it('asks for the token for reading, too, where it is told to, but not of probes and for the page', async () => {
    await using closed = await startTestServer({ redis: farm.settings, store: farm.store.root, protectReads: true });
    for (const path of [
      '/api/v1/runs',
      '/api/v1/info',
      '/api/v1/events?topics=runs',
      '/metrics',
      '/v2/',
      '/api',
      '/v2',
    ]) {
      for (const way of [
        path,
        `/.${path}`,
        path.replace(/^\/(.)/, (_, first: string) => `/%${first.charCodeAt(0).toString(16)}`),
      ]) {
        for (const method of ['GET', 'HEAD']) {
          assert.equal((await send(closed.url, method, way)).status, 401, `${method} ${way}`);
        }
      }
    }
    const bearer = { authorization: `Bearer ${closed.token}` };
    assert.equal((await send(closed.url, 'GET', '/api/v1/runs', bearer)).status, 200);
    assert.equal((await send(closed.url, 'GET', '/metrics', bearer)).status, 200);
    const basic = { authorization: `Basic ${Buffer.from(`anybody:${closed.token}`).toString('base64')}` };
    assert.equal((await send(closed.url, 'GET', '/v2/', basic)).status, 200);
    assert.match((await send(closed.url, 'GET', '/v2/')).headers['www-authenticate'] ?? '', /^Basic /);
    assert.equal((await send(closed.url, 'GET', '/api/v1/runs', basic)).status, 401);
    for (const path of ['/', '/healthz', '/readyz'])
      assert.equal((await send(closed.url, 'GET', path)).status, 200, path);
  });

  it('takes another token as soon as its file has one, and keeps the old one while it has none', async () => {
    await using changing = await startTestServer({ redis: farm.settings });
    const statusWith = async (token: string): Promise<number> =>
      (
        await ask(`${changing.url}/api/v1/runs/${ended}/cancel`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
        })
      ).status;
    const other = 'another-token-of-length';
    await writeFile(changing.tokenFile, `${other}\nsecond line\n`);
    await until('the new one', async () => (await statusWith(other)) === 200);
    assert.equal(await statusWith(changing.token), 401);
    await writeFile(changing.tokenFile, '\n');
    const third = 'a-third-token-of-length';
    assert.equal(await statusWith(''), 401);
    assert.equal(await statusWith(other), 200);
    await writeFile(changing.tokenFile, third);
    await until('the third', async () => (await statusWith(third)) === 200);
  });
});

it('a token that is empty, short, of several words or absent is refused at the start', async () => {
  await using dir = await tempDir();
  const bad = {
    empty: '',
    line: '\nabcdefghijklmnopqrstuvwxyz',
    short: 'abcdefghijklmno',
    words: 'abcdefgh ijklmnopqrst',
    umlaut: 'äbcdefghijklmnopqrst',
  };
  for (const [name, text] of Object.entries(bad)) {
    await writeFile(dir.join(name), text);
    await assert.rejects(tokenFile(dir.join(name)), (err) => {
      assert.ok(isCode(err, 'USAGE'), name);
      assert.ok(text.trim() === '' || !`${err.message} ${err.hint}`.includes(text), 'the token is not told');
      return true;
    });
  }
  await assert.rejects(tokenFile(dir.join('absent')), (err) => isCode(err, 'USAGE'));
});
