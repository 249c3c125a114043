/** The faults that can be ordered for requests that bring something. */
import assert from 'node:assert/strict';
import { afterEach, before, after, describe, it } from 'node:test';
import { connect, type Socket } from 'node:net';
import { digestOf } from '../../../src/oci/digest.ts';
import { failure } from '../../support/ask.ts';
import { image } from '../../support/images.ts';
import { errorsOf, RawPush } from '../../support/raw-push.ts';
import { faults, TestRegistry } from '../../support/registry.ts';

const HELLO = digestOf('hello');
/** More than what sockets take up by themselves. */
const LARGE = 64 * 1024 * 1024;

const soon = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** A PATCH of `LARGE` bytes by a client that goes on sending after it was answered. */
class Client implements Disposable {
  /** The first bytes of the answer. */
  readonly heard: Promise<string>;
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  constructor(to: string, port: number) {
    const { pathname, search } = new URL(to);
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('error', () => {}); // a reset is one way to close
    this.heard = new Promise((resolve) => this.#socket.once('data', (bytes: Buffer) => resolve(bytes.toString())));
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.write(`PATCH ${pathname}${search} HTTP/1.1\r\nhost: x\r\ncontent-length: ${LARGE}\r\n\r\n`);
  }

  write(bytes: number): void {
    this.#socket.write(Buffer.alloc(bytes));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

describe('faults on the push side', () => {
  let registry: TestRegistry;
  let push: RawPush;

  before(async () => {
    registry = await TestRegistry.start();
    push = new RawPush(registry.url, 'app');
  });
  after(() => registry[Symbol.asyncDispose]());
  afterEach(() => {
    registry.clearFaults();
    registry.log.clear();
    registry.stored.removeBlob('app', HELLO);
  });
  const isThere = (): boolean => registry.stored.get('app')?.blobs.has(HELLO) === true;

  it('leave a request unserved, or serve it and answer something else', async () => {
    const to = await push.location();
    registry.fault({ match: { kind: 'upload-end' }, times: 1, unserved: true, do: faults.status(503) });
    registry.fault({ match: { kind: 'upload-end' }, times: 1, do: [] });
    assert.equal((await push.end(to, HELLO, { body: 'hello' })).status, 503);
    assert.equal(isThere(), false);
    assert.equal((await push.end(to, HELLO, { body: 'hello' })).status, 201);
    registry.stored.removeBlob('app', HELLO);
    registry.fault({ match: { kind: 'upload-end' }, times: 1, do: faults.status(500) });
    assert.equal((await push.blob('hello')).status, 500);
    assert.equal(isThere(), true);
  });

  it('take the bytes and lose the answer', async () => {
    const to = await push.location();
    registry.fault({ match: { kind: 'chunk' }, times: 1, do: faults.drop() });
    assert.equal(await failure(to, { method: 'PATCH', body: 'he' }), 'ECONNRESET');
    assert.equal((await push.send('GET', to)).headers.range, '0-1');
    registry.fault({ match: { kind: 'upload-end' }, times: 1, do: faults.drop('FIN') });
    assert.equal(await failure(`${to}&digest=${HELLO}`, { method: 'PUT', body: 'llo' }), 'ECONNRESET');
    assert.equal(isThere(), true);
    assert.equal((await push.send('GET', to)).status, 404);
  });

  it('lose the upload, before or after the blob is there', async () => {
    const to = await push.location();
    registry.fault({ match: { kind: 'chunk' }, times: 1, first: () => registry.uploads.forget(), do: [] });
    const lost = await push.chunk(to, 'he');
    assert.equal(lost.status, 404);
    assert.equal(errorsOf(lost)[0]?.code, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal((await push.send('GET', to)).status, 404);
    registry.fault({ match: { kind: 'upload-end' }, times: 1, do: faults.status(404) });
    assert.equal(errorsOf(await push.blob('hello'))[0]?.code, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal(isThere(), true);
  });

  it('answer late what has happened', async () => {
    const to = await push.location();
    const gate = Promise.withResolvers<void>();
    registry.fault({ match: { kind: 'upload-end' }, do: faults.hold(gate.promise) });
    const ended = push.end(to, HELLO, { body: 'hello' });
    while (!isThere()) await soon();
    gate.resolve();
    assert.equal((await ended).status, 201);
  });

  it('name an error of their own', async () => {
    const app = image({ seed: 'refused', layers: [10] });
    registry.add('app', undefined, app);
    const match = { kind: 'put-tag' } as const;
    const detail = app.config.digest;
    registry.fault({ match, times: 1, unserved: true, do: faults.error(400, 'MANIFEST_BLOB_UNKNOWN', detail) });
    assert.deepEqual(errorsOf(await push.manifest('v1', app))[0]?.detail, detail);
    assert.equal((await push.manifest('v1', app)).status, 201);
    assert.deepEqual(registry.violations, []);
  });

  it('send an upload on to another place', async () => {
    registry.fault({
      match: { kind: 'upload-start' },
      do: faults.location((at) => at.replace('127.0.0.1', 'localhost')),
    });
    assert.match(await push.location(), /^http:\/\/localhost:/);
    registry.clearFaults();
    const to = await push.location();
    registry.fault({ match: { kind: 'chunk' }, unserved: true, do: faults.redirect('http://elsewhere.example/', 307) });
    const sent = await push.chunk(to, 'he');
    assert.deepEqual([sent.status, sent.headers.location], [307, 'http://elsewhere.example/']);
    assert.equal((await push.send('GET', to)).headers.range, '0-0');
  });

  it('answer early, and read the rest or close', async () => {
    for (const rest of ['read', 'unread'] as const) {
      const to = await push.location();
      const reading = { early: { after: 1000, rest } };
      registry.fault({ match: { kind: 'chunk' }, times: 1, reading, do: faults.status(413) });
      using client = new Client(to, registry.port);
      client.write(100_000);
      assert.match(await client.heard, /^HTTP\/1.1 413 /);
      client.write(LARGE - 100_000);
      const entry = await registry.waitFor({ kind: 'chunk' });
      if (rest === 'read') while (entry.bytesReceived < LARGE) await soon();
      else {
        await client.closed;
        assert.ok(entry.bytesReceived < 1_000_000);
      }
      assert.equal((await push.send('GET', to)).headers.range, '0-0');
      registry.log.clear();
    }
  });

  it('stop reading, or read slowly', async () => {
    for (const reading of [{ stopAfter: 1000 }, { bytesPerSecond: 1 }]) {
      const to = await push.location();
      registry.fault({ match: { kind: 'chunk' }, times: 1, reading, do: [] });
      using client = new Client(to, registry.port);
      client.write(LARGE);
      const entry = await registry.waitFor({ kind: 'chunk' });
      while (entry.bytesReceived < 1000) await soon();
      await registry.dropConnections();
      await client.closed;
      assert.ok(entry.bytesReceived < 1_000_000);
      assert.equal(entry.status, 0);
      registry.log.clear();
    }
  });
});
