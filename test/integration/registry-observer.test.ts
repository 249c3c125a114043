import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../src/errors.ts';
import type { RegistryObserver } from '../../src/remote/observer.ts';
import { failureOf, fetchAll, fetchWhole, firstLayer, MARKER, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestOrigin, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const SIZE = 100_000;
const app = image({ seed: 'observer', layers: [{ raw: randomBytesOf('observer', SIZE) }] });
const layer = firstLayer(app);

/** Notes what it hears, without the times. */
class Observer implements RegistryObserver {
  readonly requests: string[] = [];
  readonly seconds: number[] = [];
  readonly retries: ErrorCode[] = [];
  readonly limits: (readonly [string, number, number])[] = [];
  readonly registries = new Set<string>();
  bytesIn = 0;
  stalls = 0;

  request(registry: string, method: string, status: number | 'error', seconds: number): void {
    this.registries.add(registry);
    this.requests.push(`${method} ${status}`);
    this.seconds.push(seconds);
  }

  bytes(registry: string, direction: 'in' | 'out', count: number): void {
    this.registries.add(registry);
    assert.equal(direction, 'in');
    this.bytesIn += count;
  }

  retry(registry: string, reason: ErrorCode): void {
    this.registries.add(registry);
    this.retries.push(reason);
  }

  rateLimit(registry: string, limit: number, remaining: number): void {
    this.limits.push([registry, limit, remaining]);
  }

  stall(registry: string): void {
    this.registries.add(registry);
    this.stalls += 1;
  }
}

describe('an observer', () => {
  let registry: TestRegistry;
  let client: TestClient;
  let observer: Observer;

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

  const start = (options: ConstructorParameters<typeof TestClient>[0] = {}): void => {
    observer = new Observer();
    client = new TestClient({ observer, ...options });
  };

  it('hears of requests with their status and time, and of the bytes of bodies', async () => {
    start();
    await resolve(client, registry.ref('app', 'v1'));
    registry.fault({ match: { kind: 'blob' }, do: faults.delay(50) });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(observer.requests, ['HEAD 200', 'GET 200']);
    const [, slow = 0] = observer.seconds;
    assert.ok(slow >= 0.045 && slow < 5, `${slow}`);
    assert.equal(observer.bytesIn, SIZE);
    assert.deepEqual([...observer.registries], [registry.host]);
    assert.deepEqual([observer.retries, observer.limits, observer.stalls], [[], [], 0]);
  });

  it('hears why something is tried again, before the headers and within a body', async () => {
    start({ headersTimeoutMs: 200 });
    registry.fault({ match: { kind: 'blob', nth: 1 }, do: faults.status(503, { body: 'x'.repeat(100) }) });
    registry.fault({ match: { kind: 'blob', nth: 2 }, do: faults.stallHeaders });
    registry.fault({ match: { kind: 'blob', nth: 3 }, do: faults.cut(40_000, 'FIN') });
    registry.fault({ match: { kind: 'blob', nth: 4 }, do: faults.retryAfter('0') });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(observer.requests, ['GET 503', 'GET error', 'GET 200', 'GET 429', 'GET 206']);
    assert.deepEqual(observer.retries, ['UPSTREAM', 'TIMEOUT', 'NETWORK', 'RATE_LIMITED']);
    const sent = registry.log.bytesSent();
    assert.ok(sent > SIZE);
    assert.equal(observer.bytesIn, sent);
  });

  it('hears of bodies that stall or trickle', async () => {
    start({ stall: { stallMs: 100, minRate: 10_000, rateWindowMs: 200 }, retry: { attempts: 2 } });
    registry.fault({ times: 1, do: faults.stallBody(20_000) });
    await fetchWhole(client, registry, layer);
    assert.equal(observer.stalls, 1);
    assert.equal(observer.bytesIn, SIZE);
    registry.fault({ do: faults.trickle(5, 10) });
    await failureOf(fetchAll(client, registry, layer), 'TIMEOUT');
    assert.equal(observer.stalls, 3);
    assert.deepEqual(observer.retries, ['TIMEOUT', 'TIMEOUT']);
  });

  it('hears of limits, without a budget', async () => {
    start();
    registry.fault({ do: faults.headers({ 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '3;w=21600' }) });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(observer.limits, [[registry.host, 100, 3]]);
  });

  it('hears of the hosts of the registry, and of bytes from wherever they come', async () => {
    start();
    await using cdn = await TestOrigin.start({ blobs: registry.blobs });
    const limits = { 'ratelimit-limit': '9', 'ratelimit-remaining': '9' };
    cdn.fault({ do: faults.headers(limits) });
    registry.fault({ match: { kind: 'blob' }, do: cdn.redirectHere() });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(observer.requests, ['GET 307']);
    assert.equal(observer.bytesIn, SIZE + registry.log.bytesSent());
    assert.deepEqual([...observer.registries], [registry.host]);
    assert.deepEqual(observer.limits, []);
  });

  it('hears of a 401, and not of the token server', async () => {
    await using own = await TestRegistry.start({ auth: { scheme: 'bearer', anonymous: true, users: { a: MARKER } } });
    own.add('app', 'v1', app);
    start();
    await fetchWhole(client, own, layer);
    assert.deepEqual(observer.requests, ['GET 401', 'GET 200']);
    assert.ok(own.count({ kind: 'token' }) === 1);
  });

  it('knows what a mirror does by the name of the registry, but its limit by its own', async () => {
    await using dir = await tempDir();
    await using mirror = await TestRegistry.start();
    await mkdir(dir.join(registry.host));
    await writeFile(dir.join(registry.host, 'hosts.toml'), `[host."${mirror.url}"]\n`);
    mirror.fault({ do: faults.headers({ 'ratelimit-limit': '9', 'ratelimit-remaining': '4' }) });
    start({ hosts: { dirs: [dir.path], plainHttp: false, insecure: false } });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(observer.requests, ['GET 404', 'GET 200']);
    assert.deepEqual([...observer.registries], [registry.host]);
    assert.deepEqual(observer.limits, [[mirror.host, 9, 4]]);
  });
});
