import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from '../../../src/secret.ts';
import { addAccess } from '../../../src/server/access.ts';
import { createApp, type RunningServer, startServer } from '../../../src/server/http.ts';
import { ask } from '../../support/ask.ts';

function serve(host: string, protectReads = false): Promise<RunningServer> {
  const token = () => Promise.resolve(new Secret('0123456789abcdef'));
  const app = addAccess(createApp(), { token, protectReads, host });
  app.get('/v2/', (c) => c.text('hello\n'));
  return startServer({ port: 0, host }, app);
}

const statusAs = async (url: string, host: string): Promise<number> =>
  (await ask(`${url}/v2/`, { headers: { host } })).status;

/** What each is bound to is asked of the system, whatever it is called. */
const LOOPBACK = [
  ['127.0.0.1', '127.0.0.1'],
  ['127.1', '127.0.0.1'],
  ['0x7f.1', '127.0.0.1'],
  ['localhost', 'localhost'],
  ['::1', '[::1]'],
  ['0:0:0:0:0:0:0:1', '[::1]'],
  ['::ffff:127.0.0.1', '127.0.0.1'],
] as const;

test('a server that is bound to this machine alone is not reached by names of others, however its address is written', async () => {
  for (const [host, at] of LOOPBACK) {
    await using server = await serve(host);
    const url = `http://${at}:${server.port}`;
    for (const evil of ['evil.example', `evil.example:${server.port}`, '127.0.0.1.evil.example', '192.0.2.1', '[::]']) {
      assert.equal(await statusAs(url, evil), 403, `${host}: ${evil}`);
    }
    for (const name of ['localhost', 'LOCALHOST:80', '127.0.0.1', '127.5.6.7', '[::1]:9465', at]) {
      assert.equal(await statusAs(url, name), 200, `${host}: ${name}`);
    }
  }
});

test('a server may be asked by the name that it was told to bind to', async () => {
  await using server = await serve('127.1');
  assert.equal(await statusAs(`http://127.0.0.1:${server.port}`, '127.1'), 200);
});

test('a server for others takes any name, over the loopback device, too', async () => {
  await using server = await serve('0.0.0.0');
  assert.equal(await statusAs(`http://127.0.0.1:${server.port}`, 'images.example'), 200);
});

test('whoever is refused by the registry is told that it is one', async () => {
  await using server = await serve('127.0.0.1', true);
  const { status, headers } = await ask(`${server.url}/v2/`);
  assert.deepEqual([status, headers['docker-distribution-api-version']], [401, 'registry/2.0']);
});
