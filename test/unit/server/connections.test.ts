import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { callOptions, createApp, type RunningServer, startServer } from '../../../src/server/http.ts';

/** Reads whatever comes, so that the end of the connection is seen. */
async function socketTo(port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket.resume();
}

/** However it comes about. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => resolve());
  });

const requests = (path: string, count: number): string =>
  `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`.repeat(count);

/** A server whose `/never` is never answered. */
async function serveNever(): Promise<{ server: RunningServer; asked: AbortSignal[]; more: () => Promise<void> }> {
  const asked: AbortSignal[] = [];
  let next = Promise.withResolvers<void>();
  const app = createApp();
  app.get('/never', (c) => {
    asked.push(callOptions(c).signal);
    next.resolve();
    return new Promise(() => {});
  });
  app.get('/hello', (c) => c.text('hello\n'));
  const more = async (): Promise<void> => {
    await next.promise;
    next = Promise.withResolvers();
  };
  return { server: await startServer({ port: 0, host: '127.0.0.1' }, app), asked, more };
}

test(
  'a connection that sends ever more requests before the first is answered is ended',
  { timeout: 20_000 },
  async () => {
    const { server, asked } = await serveNever();
    await using _ = server;
    const socket = await socketTo(server.port);
    const ended = closed(socket);
    socket.write(requests('/never', 5000));
    await ended;
    assert.equal(asked.length, 32);
    assert.ok(asked.every((signal) => signal.aborted));
  },
);

test('thirty requests that are sent at once are answered, again and again', { timeout: 20_000 }, async () => {
  const { server } = await serveNever();
  await using _ = server;
  const socket = await socketTo(server.port);
  for (let round = 0; round < 4; round += 1) {
    socket.write(requests('/hello', 30));
    for (let text = ''; text.split('hello\n').length <= 30;) {
      const [chunk]: Buffer[] = await once(socket, 'data');
      text += String(chunk);
    }
  }
  socket.destroy();
});

test(
  'whoever works for a request whose turn has not come is told, too, that the client is gone',
  { timeout: 20_000 },
  async () => {
    const { server, asked, more } = await serveNever();
    await using _ = server;
    const socket = await socketTo(server.port);
    socket.write(requests('/never', 3));
    while (asked.length < 3) await more();
    const told = Promise.all(asked.map((signal) => once(signal, 'abort')));
    socket.destroy();
    await told;
  },
);

test('one address gets half of the connections, and gets them back', { timeout: 20_000 }, async () => {
  const app = createApp().get('/hello', (c) => c.text('hello\n'));
  await using server = await startServer({ port: 0, host: '127.0.0.1', maxConnections: 4 }, app);
  const mine = [await socketTo(server.port), await socketTo(server.port)];
  await closed(await socketTo(server.port));
  const answered = async (socket: Socket): Promise<boolean> => {
    const first = Promise.race([once(socket, 'data').catch(() => []), closed(socket).then(() => [])]);
    socket.write(requests('/hello', 1));
    const [chunk]: unknown[] = await first;
    return String(chunk).startsWith('HTTP/1.1 200 ');
  };
  const other = await socketTo(server.port, '127.0.0.2');
  assert.ok(await answered(other), 'another address is served');
  for (const socket of mine) assert.ok(await answered(socket));
  for (const socket of mine) socket.end();
  await Promise.all(mine.map(closed));
  // The server sees an end a moment after its client.
  for (let isServed = false; !isServed;) {
    const again = await socketTo(server.port);
    isServed = await answered(again);
    again.destroy();
  }
  other.destroy();
});
