import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { GantryError, isCode } from '../../../src/errors.ts';
import {
  callOptions,
  createApp,
  onlyMethods,
  oneLine,
  type RequestContext,
  startServer,
} from '../../../src/server/http.ts';
import { ask, failure } from '../../support/ask.ts';

type Route = (c: RequestContext) => Response | Promise<Response>;

function appOf(routes: Record<string, Route>) {
  const app = createApp();
  for (const [path, route] of Object.entries(routes)) {
    app.get(path, route);
    onlyMethods(app, path, 'GET, HEAD');
  }
  return app;
}

const serve = (routes: Record<string, Route>) => startServer({ port: 0, host: '127.0.0.1' }, appOf(routes));

const hello: Route = (c) => c.text('hällo\n');

async function socketTo(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Fails when it takes longer than the grace that the server gives, and a good deal more. */
async function soon<T>(work: PromiseLike<T>): Promise<T> {
  const late = AbortSignal.timeout(10_000);
  return Promise.race([work, once(late, 'abort').then(() => assert.fail('it took too long'))]);
}

test('a route answers GET and HEAD, whatever the query', async () => {
  await using server = await serve({ '/hello': hello });
  assert.equal(server.url, `http://127.0.0.1:${server.port}`);
  const got = await ask(`${server.url}/hello?a=/other`);
  assert.deepEqual([got.status, got.body.toString()], [200, 'hällo\n']);
  assert.equal(got.headers['content-type'], 'text/plain;charset=UTF-8');
  assert.equal(got.headers['cache-control'], 'no-store');
  const head = await ask(`${server.url}/hello`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.body.length], [200, 0]);
});

test('other paths are not found, in one plain line that tells what is', async () => {
  await using server = await serve({ '/hello': hello });
  for (const path of ['/', '/hello/', '//hello', '/HELLO', '/constructor']) {
    const { status, body } = await ask(`${server.url}${path}`);
    assert.deepEqual([status, body.toString()], [404, 'nothing here; try /hello\n'], path);
  }
});

test('other methods are refused, on every path', async () => {
  await using server = await serve({ '/hello': hello });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await ask(`${server.url}/hello`, {
      method,
      ...(method === 'POST' ? { body: 'x' } : {}),
    });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
});

test('a route that fails is an answer of one line: 503 where trying again may help, else 500', async () => {
  await using server = await serve({
    '/later': () => Promise.reject(new GantryError('TIMEOUT', 'no answer\nfrom Redis')),
    '/broken': () => {
      throw new Error('a defect');
    },
  });
  const later = await ask(`${server.url}/later`);
  assert.deepEqual([later.status, later.body.toString()], [503, 'no answer from Redis\n']);
  const broken = await ask(`${server.url}/broken`);
  assert.deepEqual([broken.status, broken.body.toString()], [500, 'a defect\n']);
});

test('a port in use is an error of the user that says which', async () => {
  await using server = await serve({});
  const again = startServer({ port: server.port, host: '127.0.0.1' }, createApp());
  await assert.rejects(again, (err) => {
    assert.ok(isCode(err, 'USAGE'));
    assert.equal(err.origin, 'user');
    assert.equal(err.message, `cannot listen on 127.0.0.1:${server.port}: the port is in use`);
    assert.match(err.hint ?? '', /another port/);
    return true;
  });
});

test('an address that is not ours, or a port that is none, is an error of the user', async () => {
  for (const where of [
    { host: '192.0.2.1', port: 0 },
    { host: '127.0.0.1', port: 70_000 },
  ]) {
    await assert.rejects(startServer(where, createApp()), (err) => isCode(err, 'USAGE') && err.hint !== undefined);
  }
});

test('IPv6 has brackets in its URL', async () => {
  await using server = await startServer({ port: 0, host: '::1' }, appOf({ '/hello': hello }));
  assert.equal((await ask(`${server.url}/hello`)).status, 200);
});

test('headers beyond the bound are refused', async () => {
  await using server = await serve({ '/hello': hello });
  assert.equal((await ask(`${server.url}/hello`, { headers: { 'x-long': 'x'.repeat(7000) } })).status, 200);
  assert.equal((await ask(`${server.url}/hello`, { headers: { 'x-long': 'x'.repeat(9000) } })).status, 431);
});

test('a request that never ends is cut off', async () => {
  await using server = await serve({ '/hello': hello });
  const socket = await socketTo(server.port);
  socket.write('GET /hello HTTP/1.1\r\nhost: x\r\nx-slow: ');
  const [head]: Buffer[] = await soon(once(socket, 'data'));
  assert.match(String(head), /^HTTP\/1\.1 408 /);
  await soon(once(socket.resume(), 'close'));
});

test('closing ends connections that are idle, and those that never said a word', async () => {
  const agent = new Agent({ keepAlive: true });
  const server = await serve({ '/hello': hello });
  const { headers } = await ask(`${server.url}/hello`, { agent });
  assert.equal(headers.connection, 'keep-alive');
  const [kept] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
  assert.ok(kept !== undefined);
  const silent = await socketTo(server.port);
  const ended = Promise.all([once(kept, 'close'), once(silent.resume(), 'close')]);
  await soon(server[Symbol.asyncDispose]());
  await soon(ended);
  assert.equal(await failure(`${server.url}/hello`), 'ECONNREFUSED');
});

test('closing lets an answer under way finish, and keeps its connection no longer', async () => {
  const { promise: asked, resolve: begin } = Promise.withResolvers<void>();
  const { promise: answer, resolve: reply } = Promise.withResolvers<string>();
  const agent = new Agent({ keepAlive: true });
  const server = await serve({
    '/slow': async (c) => {
      begin();
      return c.text(await answer);
    },
  });
  const got = ask(`${server.url}/slow`, { agent });
  await asked;
  const closed = server[Symbol.asyncDispose]();
  reply(oneLine('at last'));
  const { status, headers, body } = await got;
  assert.deepEqual([status, headers.connection, body.toString()], [200, 'close', 'at last\n']);
  await soon(closed);
});

test('closing does not wait for an answer that never comes, and closing twice is no error', async () => {
  const { promise: asked, resolve: begin } = Promise.withResolvers<AbortSignal>();
  const server = await serve({
    '/never': (c) => {
      begin(callOptions(c).signal);
      return new Promise(() => {});
    },
  });
  const got = failure(`${server.url}/never`);
  const told = once(await asked, 'abort');
  await soon(server[Symbol.asyncDispose]());
  assert.equal(await got, 'ECONNRESET');
  await soon(told);
  await server[Symbol.asyncDispose]();
});

test('a route is told when its client is gone', async () => {
  const { promise: asked, resolve: begin } = Promise.withResolvers<AbortSignal>();
  await using server = await serve({
    '/slow': (c) => {
      const { signal } = callOptions(c);
      begin(signal);
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    },
    '/hello': hello,
  });
  const client = new AbortController();
  const got = failure(`${server.url}/slow`, { signal: client.signal });
  const signal = await asked;
  const told = once(signal, 'abort');
  client.abort();
  await soon(told);
  await got;
  assert.equal((await ask(`${server.url}/hello`)).status, 200);
});
