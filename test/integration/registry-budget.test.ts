import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import { readConfig } from '../../src/app/config.ts';
import { openRegistries } from '../../src/app/wiring.ts';
import { GantryError } from '../../src/errors.ts';
import type { RateLimitHeaders, RequestBudget } from '../../src/remote/budget.ts';
import {
  basicCredentials,
  failureOf,
  fetchWhole,
  firstLayer,
  inlineCredentials,
  MARKER,
  resolve,
  TestClient,
} from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const app = image({ seed: 'budget', layers: [{ raw: randomBytesOf('budget', 10_000) }] });
const layer = firstLayer(app);
const hub = { 'RateLimit-Limit': '100;w=21600', 'RateLimit-Remaining': '76;w=21600' };

/** Notes what it is asked, and has leave for so many requests. */
class Budget implements RequestBudget {
  readonly charged: string[] = [];
  readonly corrected: (RateLimitHeaders & { of: string })[] = [];
  left: number;
  readonly #retryAfterMs: number;

  constructor(left = Infinity, retryAfterMs = 90_000) {
    this.left = left;
    this.#retryAfterMs = retryAfterMs;
  }

  async charge(registry: string, identity: string): Promise<void> {
    this.charged.push(`${identity}@${registry}`);
    this.left -= 1;
    if (this.left >= 0) return;
    const details = { origin: 'source', host: registry, retryAfterMs: this.#retryAfterMs } as const;
    throw new GantryError('RATE_LIMITED', `the budget for ${registry} is used up`, details);
  }

  correct(registry: string, identity: string, headers: RateLimitHeaders): void {
    this.corrected.push({ of: `${identity}@${registry}`, ...headers });
  }
}

describe('a budget of requests', () => {
  let registry: TestRegistry;
  let client: TestClient;
  let budget: Budget;

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

  const start = (options: ConstructorParameters<typeof TestClient>[0] = {}, made = new Budget()): void => {
    budget = made;
    client = new TestClient({ budget, ...options });
  };
  const manifest = (): Promise<Buffer> => fetchWhole(client, registry, app.desc, { kind: 'manifest' });

  it('is charged for the GET of a manifest, not for HEAD, blobs, tags or a manifest that is kept', async () => {
    start();
    await resolve(client, registry.ref('app', 'v1'));
    await fetchWhole(client, registry, layer);
    for await (const page of client.tags(`${registry.host}/app`, { signal: new AbortController().signal }))
      assert.deepEqual(page, ['v1']);
    assert.deepEqual(budget.charged, []);
    await manifest();
    assert.deepEqual(budget.charged, [`anonymous@${registry.host}`]);
    await resolve(client, registry.ref('app', app.desc.digest));
    await manifest();
    assert.equal(budget.charged.length, 2);
    assert.equal(registry.count({ kind: 'manifest', method: 'GET' }), 2);
  });

  it('is charged for every try', async () => {
    start();
    registry.fault({ match: { kind: 'manifest' }, times: 2, do: faults.status(503) });
    await manifest();
    assert.equal(budget.charged.length, 3);
    assert.equal(registry.count({ kind: 'manifest' }), 3);
  });

  it('that is used up ends the request before it is sent, and says when to come back', async () => {
    start({}, new Budget(0));
    const err = await failureOf(manifest(), 'RATE_LIMITED');
    assert.equal(err.retryAfterMs, 90_000);
    assert.equal(err.digest, app.desc.digest);
    assert.equal(registry.count(), 0);
    assert.equal(budget.charged.length, 1);
    await fetchWhole(client, registry, layer); // what is not counted goes on
  });

  it('that has leave again soon is waited for, unless that is for others to do', async () => {
    start({}, new Budget(0, 50));
    await failureOf(manifest(), 'RATE_LIMITED');
    assert.equal(budget.charged.length, 3);
    await client[Symbol.asyncDispose]();
    start({ retry: { waitOnRateLimit: false } }, new Budget(0, 50));
    const err = await failureOf(manifest(), 'RATE_LIMITED');
    assert.equal(err.retryAfterMs, 50);
    assert.equal(budget.charged.length, 1);
    assert.equal(registry.count(), 0);
  });

  it('gives its place back when it refuses', async () => {
    start({ maxPerRegistry: 1, retry: { waitOnRateLimit: false } }, new Budget(1));
    await manifest();
    for (let i = 0; i < 3; i += 1) await failureOf(manifest(), 'RATE_LIMITED');
    await fetchWhole(client, registry, layer);
  });

  it('hears what the registry says about its limit, of every answer that says it well', async () => {
    start();
    registry.fault({ match: { kind: 'manifest', nth: 1 }, do: faults.headers(hub) });
    registry.fault({ match: { kind: 'manifest', nth: 2 }, do: faults.status(429, { headers: hub }) });
    registry.fault({ match: { kind: 'manifest', nth: 3 }, do: faults.headers({ 'ratelimit-limit': 'many' }) });
    await resolve(client, registry.ref('app', 'v1'));
    await manifest();
    const said = { of: `anonymous@${registry.host}`, limit: 100, remaining: 76, periodMs: 21_600_000 };
    assert.deepEqual(budget.corrected, [said, said]);
    assert.equal(registry.count({ kind: 'manifest' }), 3);
  });

  it('knows the user by name, and hears nothing of a 401', async () => {
    for (const auth of [
      { scheme: 'basic', users: { alice: MARKER } },
      { scheme: 'bearer', users: { alice: MARKER } },
    ] as const) {
      await using own = await TestRegistry.start({ auth });
      own.add('app', 'v1', app);
      own.fault({ match: { beforeAuth: true }, do: faults.headers(hub) });
      start({ credentials: basicCredentials(own.host) });
      await using _ = client;
      await fetchWhole(client, own, app.desc, { kind: 'manifest' });
      assert.equal(own.count({ status: 401 }), 1);
      assert.deepEqual(budget.charged, [`alice@${own.host}`]);
      assert.deepEqual(
        budget.corrected.map(({ of }) => of),
        [`alice@${own.host}`],
      );
    }
  });

  it('gets no token for a name', async () => {
    await using own = await TestRegistry.start({ auth: { scheme: 'bearer', identityTokens: [MARKER] } });
    own.add('app', 'v1', app);
    start({ credentials: inlineCredentials(own.host, { identitytoken: MARKER }) });
    await fetchWhole(client, own, app.desc, { kind: 'manifest' });
    assert.deepEqual(budget.charged, [`token@${own.host}`]);
  });

  it('keeps a mirror on an account of its own', async () => {
    await using dir = await tempDir();
    await using mirror = await TestRegistry.start();
    await mkdir(dir.join(registry.host));
    await writeFile(dir.join(registry.host, 'hosts.toml'), `[host."${mirror.url}"]\n`);
    mirror.fault({ do: faults.status(404, { headers: hub }) });
    start({
      hosts: { dirs: [dir.path], plainHttp: false, insecure: false },
      credentials: basicCredentials(registry.host),
    });
    await manifest();
    assert.deepEqual(budget.charged, [`anonymous@${mirror.host}`, `alice@${registry.host}`]);
    assert.deepEqual(
      budget.corrected.map(({ of }) => of),
      [`anonymous@${mirror.host}`],
    );
  });
});

describe('a client that waits for no limit', () => {
  let registry: TestRegistry;
  let client: TestClient;

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

  const start = (): void => {
    client = new TestClient({ retry: { waitOnRateLimit: false, maxRetryAfterMs: 60_000 } });
  };

  for (const value of [undefined, '0', '1', '3600']) {
    it(`throws a 429 with Retry-After ${value} at once`, async () => {
      start();
      registry.fault({ do: faults.retryAfter(value) });
      const err = await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
      assert.equal(err.retryAfterMs, value === undefined ? undefined : Number(value) * 1000);
      assert.equal(err.status, 429);
      assert.equal(registry.count(), 1);
      assert.deepEqual(client.retried, []);
    });
  }

  it('throws what others heard, and asks again when that is over', async () => {
    start();
    registry.fault({ times: 1, do: faults.retryAfter('1') });
    await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
    const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'RATE_LIMITED');
    const leftMs = err.retryAfterMs ?? Infinity;
    assert.ok(leftMs > 0 && leftMs <= 1000, `${leftMs}`);
    assert.equal(registry.count(), 1);
    const deadline = performance.now() + 5000;
    for (;;) {
      const [outcome] = await Promise.allSettled([fetchWhole(client, registry, layer)]);
      if (outcome.status === 'fulfilled') break;
      assert.ok(performance.now() < deadline, String(outcome.reason));
      await new Promise((done) => setImmediate(done));
    }
    assert.equal(registry.count(), 2);
  });

  it('is made by the settings of an application, which keep the number of tries', async () => {
    start();
    const budget = new Budget();
    const observed: string[] = [];
    const ignore = (): void => undefined;
    const observer = {
      request: (_: string, method: string, status: number | 'error'): void => void observed.push(`${method} ${status}`),
      bytes: ignore,
      retry: ignore,
      rateLimit: ignore,
      stall: ignore,
    };
    await using dir = await tempDir();
    const config = readConfig({ HOME: dir.path, GANTRY_HOSTS_DIR: dir.path });
    await using client = openRegistries(config, { waitOnRateLimit: false, retries: 1, budget, observer });
    registry.fault({ match: { nth: 1 }, do: faults.status(503) });
    registry.fault({ match: { nth: 2 }, do: faults.status(503) });
    registry.fault({ match: { nth: 3 }, do: faults.retryAfter('0') });
    const manifest = (): Promise<Buffer> => fetchWhole(client, registry, app.desc, { kind: 'manifest' });
    await failureOf(manifest(), 'UPSTREAM');
    await failureOf(manifest(), 'RATE_LIMITED');
    assert.deepEqual(observed, ['GET 503', 'GET 503', 'GET 429']);
    assert.equal(budget.charged.length, 3);
  });

  it('throws a 429 in the midst of a blob', async () => {
    start();
    registry.fault({ match: { nth: 1 }, do: faults.cut(5000, 'FIN') });
    registry.fault({ match: { nth: 2 }, do: faults.retryAfter('1') });
    await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED');
    assert.equal(registry.count(), 2);
  });

  it('throws an outage of more than five seconds, and waits out a short one', async () => {
    start();
    registry.fault({ match: { nth: 1 }, do: faults.retryAfter('1', 503) });
    await fetchWhole(client, registry, layer);
    assert.equal(client.retried[0]?.retryAfterMs, 1000);
    registry.log.clear();
    registry.clearFaults();
    registry.fault({ do: faults.retryAfter('6', 503) });
    const err = await failureOf(fetchWhole(client, registry, layer), 'UPSTREAM');
    assert.equal(err.retryAfterMs, 6000);
    await failureOf(fetchWhole(client, registry, layer), 'RATE_LIMITED'); // the gate
    assert.equal(registry.count(), 1);
  });
});
