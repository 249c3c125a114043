/** Clients that go away, at any moment and in any number: the server must be afterwards what it was before. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { type Gantry, spawnGantry } from '../support/process.ts';
import { image } from '../support/images.ts';
import { putImage } from '../support/serving.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const app = image({ seed: 'aborts', layers: [3_000_000, 50_000, { raw: Buffer.from('tiny') }] });
const PATHS = [
  '/v2/redis/manifests/7',
  '/v2/redis/tags/list',
  '/v2/redis/manifests/none',
  ...app.layers.map(({ digest }) => `/v2/redis/blobs/${digest}`),
];

interface Server extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
}

async function startServer(): Promise<Server> {
  await using stack = new AsyncDisposableStack();
  const dir: TempDir = stack.use(await tempDir());
  const store = new ContentStore({ root: dir.join('store') });
  await putImage(store, 'docker.io/library/redis:7', app);
  const gantry: Gantry = stack.use(await spawnGantry(['server', '--store', store.root, '--port', '0']));
  const [, url = '', port = ''] = await gantry.process.waitForOutput(/(http:\/\/127\.0\.0\.1:(\d+))/);
  const owned = stack.move();
  return { url, port: Number(port), pid: gantry.process.pid, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What the process has open: files of the store, and sockets but for the one that listens. */
async function openThings(pid: number): Promise<{ all: number; blobs: number }> {
  const names = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  return { all: targets.length, blobs: targets.filter((target) => target.includes('/blobs/')).length };
}

/** Waits until the server has no more open than it had: nothing tells an outsider when. */
async function assertAsBefore(server: Server, before: number): Promise<void> {
  let now = await openThings(server.pid);
  for (
    const end = performance.now() + 20_000;
    now.all > before && performance.now() < end;
    now = await openThings(server.pid)
  ) {
    await sleep(50);
  }
  assert.ok(now.all <= before && now.blobs === 0, `${now.all} files, ${before} before; ${now.blobs} blobs`);
}

/** After a first answer, so that what is opened once is open. */
async function warm(server: Server): Promise<number> {
  for (const path of PATHS) await ask(`${server.url}${path}`);
  const idle = await openThings(server.pid);
  // The sockets of those answers may still be closing.
  await sleep(200);
  return Math.min(idle.all, (await openThings(server.pid)).all);
}

async function socketTo(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

const requests = (paths: readonly string[], method = 'GET'): string =>
  paths.map((path) => `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`).join('');

const anyPath = (): string => PATHS[randomInt(PATHS.length)] ?? '';

/** Sends some requests at once, reads a random part of what comes, and goes away in one of three ways. */
async function comeAndGo(port: number, count: number): Promise<void> {
  const socket = await socketTo(port);
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  socket.write(requests(Array.from({ length: count }, anyPath)));
  const enough = randomInt(4) === 0 ? 0 : randomInt(1, 400_000);
  let seen = 0;
  const leave = (): void => void (randomInt(2) === 0 ? socket.destroy() : socket.resetAndDestroy());
  if (enough === 0) leave();
  else {
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      if (seen >= enough) leave();
    });
    // What is asked for may be less than that.
    setTimeout(leave, randomInt(5, 60));
  }
  await closed;
}

async function manyTimes(times: number, width: number, work: () => Promise<void>): Promise<void> {
  let left = times;
  const lane = async (): Promise<void> => {
    for (; left > 0;) {
      left -= 1;
      await work();
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

test('a thousand requests that are given up leave nothing open', async () => {
  await using server = await startServer();
  const before = await warm(server);
  await manyTimes(1000, 20, () => comeAndGo(server.port, 1));
  await assertAsBefore(server, before);
  const [layer] = app.layers;
  const { status, body } = await ask(`${server.url}/v2/redis/blobs/${layer?.digest}`);
  assert.deepEqual([status, body.length], [200, layer?.size]);
});

test('nor do requests that were sent before those in front of them were answered', async () => {
  await using server = await startServer();
  const before = await warm(server);
  await manyTimes(200, 10, () => comeAndGo(server.port, 30));
  await assertAsBefore(server, before);
});

test('many requests on one connection are answered in their order, and open one file at a time', async () => {
  await using server = await startServer();
  const [layer] = app.layers;
  const path = `/v2/redis/blobs/${layer?.digest}`;
  const socket = await socketTo(server.port);
  socket.write(requests(Array.from({ length: 30 }, () => path)));
  await once(socket, 'readable');
  const { blobs } = await openThings(server.pid);
  assert.ok(blobs <= 1, `${blobs} files for a client that does not read`);
  socket.destroy();

  const tidy = await socketTo(server.port);
  const parts: Buffer[] = [];
  tidy.on('data', (chunk: Buffer) => parts.push(chunk));
  const last = 'GET /v2/redis/manifests/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n';
  tidy.write(requests(['/v2/', ...PATHS], 'HEAD') + last);
  await once(tidy, 'close');
  const text = Buffer.concat(parts).toString();
  const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+) /gm)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '200', '200', '404', '200', '200', '200', '200']);
  assert.ok(text.endsWith(app.manifest.toString()));
});
