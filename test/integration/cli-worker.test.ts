/** `gantry worker` and `gantry server` as processes: what they do, how they end, what they tell. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyRoots } from '../../src/app/copy.ts';
import { Protection } from '../../src/app/protection.ts';
import type { RunResult } from '../../src/flow/dispatcher.ts';
import { imageNode } from '../../src/handlers/pull.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseMatcher } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { Farm } from '../../src/queue/farm.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { keptBytes, newUser, type User } from '../support/cli.ts';
import { firstLayer, never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { type Image, image } from '../support/images.ts';
import { type Gantry, run, runOk } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: never };
const small = image({ seed: 'worker', layers: [20_000, 30_000] });
const large = image({ seed: 'slow', layers: [{ raw: randomBytesOf('slow', 5_000_000) }] });
const FAST = { GANTRY_LOCK_MS: '2000', GANTRY_STALLED_MS: '1000' };
const LOCAL = ['--metrics-host', '127.0.0.1', '--metrics-port', '0'];

interface Worker extends Gantry {
  /** Of its health server. */
  readonly url: string;
}

/** Resolves when it takes tickets. */
async function startWorker(user: User, redis: TestRedis, ...args: readonly string[]): Promise<Worker> {
  const started = await user.spawn(['worker', '--redis', redis.url, ...LOCAL, ...args], FAST);
  const [, url = ''] = await started.process.waitForOutput(/^worker .* metrics on (http:\S+)\/metrics$/m);
  return { ...started, url };
}

/** Asks for images as a producer does. */
async function submit(farm: Farm, { store }: User, ...refs: readonly string[]): Promise<RunResult> {
  const target = await new ContentStore({ root: store }).id();
  const selection = parseMatcher('linux/amd64').text;
  const roots = refs.map((ref) => imageNode(parseReference(ref), target, selection));
  return farm.dispatcher().dispatch({ id: '', roots }, opts);
}

const openFarm = ({ url }: TestRedis): Promise<Farm> => Farm.open({ url }, opts);

const states = ({ images }: RunResult): string[] => images.map(({ state, error }) => error?.message ?? state);

const readiness = async (url: string): Promise<{ status: number; body: string }> => {
  const { status, body } = await ask(`${url}/readyz`);
  return { status, body: body.toString() };
};

const isNamed = async ({ store }: User, name: string): Promise<boolean> =>
  (await readFile(join(store, 'index.json'), 'utf8')).includes(JSON.stringify(name));

test('a worker pulls what is asked for, and skopeo reads it while the worker goes on', async () => {
  await using redis = await TestRedis.start();
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', small);
  await using user = await newUser();
  await using worker = await startWorker(user, redis, '--name', 'alpha');
  await using farm = await openFarm(redis);
  const ref = registry.ref('app', 'v1');
  assert.deepEqual(states(await submit(farm, user, ref)), ['done']);
  // When the run has ended, not at the next tick of a clock.
  await until('index.json has the image', () => isNamed(user, ref), 3_000);
  const { stdout } = await runOk('skopeo', ['inspect', '--raw', `oci:${user.store}:${ref}`]);
  assert.equal(digestOf(Buffer.from(stdout)), small.desc.digest);
  const [status] = await farm.workers(opts);
  assert.match(status?.id ?? '', /^alpha-/);
  const id = await new ContentStore({ root: user.store }).id();
  const line = `^worker alpha-\\S+: store ${id} at ${user.store}, redis ${redis.host}, metrics on http://127.0.0.1:\\d+/metrics$`;
  assert.match(worker.process.stderr, new RegExp(line, 'm'));
  worker.process.kill('SIGTERM');
  const { code, stdout: out, stderr } = await worker.process.done;
  assert.deepEqual([code, out], [0, '']);
  assert.match(stderr, /^gantry worker: stopping, gave 0 tickets back\n$/m);
  assert.equal((await user.gantry(['verify'])).code, 0);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} in the middle of a blob: it goes back at once, and another worker goes on where it was`, async () => {
    await using redis = await TestRedis.start();
    await using registry = await TestRegistry.start();
    registry.add('app', 'v1', large);
    const layer = firstLayer(large);
    const gate = Promise.withResolvers<void>();
    const held = registry.fault({ match: { object: layer.digest }, do: faults.holdBody(3_000_000, gate.promise) });
    await using user = await newUser();
    await using first = await startWorker(user, redis);
    await using farm = await openFarm(redis);
    const done = submit(farm, user, registry.ref('app', 'v1'));
    await registry.waitFor({ object: layer.digest, method: 'GET' });
    await keptBytes(user);
    const store = new ContentStore({ root: user.store });
    await until('the config is there', async () => (await store.stat(large.config.digest, opts)) !== undefined);
    const since = Date.now(); // what was said before may be of a moment at which the blobs had not begun
    await until('nothing else goes on', async () => {
      const [said] = await farm.workers(opts);
      return said !== undefined && said.seenAt > since && said.running === 1;
    });
    held.remove();
    const stoppedAt = performance.now();
    first.process.kill(signal);
    const ended = await first.process.done;
    assert.ok(performance.now() - stoppedAt < 3_000, 'within seconds');
    assert.deepEqual([ended.code, ended.stdout], [0, '']);
    assert.match(ended.stderr, /^gantry worker: stopping, gave 1 tickets back\n$/m);
    const [lane] = await farm.lanes(opts);
    assert.deepEqual(lane?.tickets, { waiting: 1, active: 0, delayed: 0 }, 'nobody has to wait for a lock to end');
    gate.resolve();
    await using _second = await startWorker(user, redis);
    assert.deepEqual(states(await done), ['done']);
    assert.equal(registry.count({ object: layer.digest, method: 'GET', ranged: true }), 1);
    assert.equal((await user.gantry(['verify'])).code, 0);
  });
}

test('a second signal ends a worker at once that cannot give back what it has', async () => {
  await using redis = await TestRedis.start();
  await using user = await newUser();
  await using worker = await startWorker(user, redis);
  redis.pauseProcess();
  worker.process.kill('SIGTERM');
  await until('it is stopping', async () => (await readiness(worker.url)).body.includes('stopping'));
  worker.process.kill('SIGTERM');
  const { code, stderr } = await worker.process.done;
  assert.equal(code, 143);
  assert.doesNotMatch(stderr, /stopping/);
});

test('a worker that is told to stop while there is no Redis ends nevertheless, and says what becomes of its tickets', async () => {
  await using redis = await TestRedis.start();
  await using user = await newUser();
  await using worker = await startWorker(user, redis);
  await redis.command('sadd', '{gantry}:lanes', 'docker.io'); // so that there are more connections that wait
  await until('it takes the lane', async () => (await redis.command('client', 'list')).includes('bzpopmin'));
  await redis.kill();
  await worker.process.waitForOutput(/lost the connection to redis/);
  worker.process.kill('SIGTERM');
  const { code, stderr } = await worker.process.done;
  assert.equal(code, 0);
  assert.match(stderr, /stopping, redis does not answer: 0 tickets go to others when their locks end\n$/);
});

test('metrics and probes of a live worker; not ready while Redis is away, and ready again by itself', async () => {
  await using redis = await TestRedis.start({ appendonly: true });
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', small);
  registry.add('late', 'v1', small);
  await using user = await newUser();
  await using worker = await startWorker(user, redis);
  {
    await using farm = await openFarm(redis);
    await submit(farm, user, registry.ref('app', 'v1'));
  }
  const metrics = (await ask(`${worker.url}/metrics`)).body.toString();
  const told = await run('promtool', ['check', 'metrics'], { input: metrics });
  assert.deepEqual([told.code, told.stdout, told.stderr], [0, '', '']);
  const [lane] = [registry.host];
  assert.match(metrics, new RegExp(`^gantry_tickets_total\\{lane="${lane}",phase="visit",outcome="done"\\} 5$`, 'm'));
  assert.match(metrics, new RegExp(`^gantry_transfers_total\\{registry="${lane}"\\} 4$`, 'm'));
  assert.equal((await ask(`${worker.url}/healthz`)).status, 200);
  const ok = { ready: true, checks: { worker: 'ok', store: 'ok', redis: 'ok' } };
  assert.deepEqual(await readiness(worker.url), { status: 200, body: `${JSON.stringify(ok)}\n` });

  await redis.kill();
  await until('not ready', async () => (await readiness(worker.url)).status === 503);
  assert.match((await readiness(worker.url)).body, /"redis":"no connection since 20\d\d-\d\d-\d\dT[\d:.]+Z"/);
  assert.equal((await ask(`${worker.url}/healthz`)).status, 200, 'a restart would not help');
  await redis.start();
  await until('ready again', async () => (await readiness(worker.url)).status === 200);
  await using farm = await openFarm(redis);
  assert.deepEqual(states(await submit(farm, user, registry.ref('late', 'v1'))), ['done']);
  const lines = worker.process.stderr.split('\n').filter((line) => line.includes('lost the connection'));
  assert.equal(lines.length, 1);
});

test('two workers share one store, and each blob comes once', async () => {
  await using redis = await TestRedis.start();
  await using registry = await TestRegistry.start();
  const refs = Array.from({ length: 12 }, (_, i) => {
    const one: Image = image({ seed: i % 4, layers: [10_000, 20_000, 30_000] });
    registry.add(`app-${i}`, 'v1', one);
    return registry.ref(`app-${i}`, 'v1');
  });
  await using user = await newUser();
  await using _one = await startWorker(user, redis, '--concurrency', '3');
  await using _two = await startWorker(user, redis, '--concurrency', '3');
  await using farm = await openFarm(redis);
  assert.deepEqual(
    states(await submit(farm, user, ...refs)),
    refs.map(() => 'done'),
  );
  await until('index.json has all', async () =>
    (await Promise.all(refs.map((ref) => isNamed(user, ref)))).every(Boolean),
  );
  assert.equal(registry.count({ kind: 'blob', method: 'GET' }), 4 * 4, 'three layers and a config of four images');
  assert.equal((await user.gantry(['verify'])).code, 0);
});

test('garbage collection spares what an open run has fetched, and a worker lets go of it afterwards', async () => {
  await using redis = await TestRedis.start();
  await using registry = await TestRegistry.start();
  const two = image({ seed: 'gc', layers: [50_000, { raw: randomBytesOf('gc', 3_000_000) }] });
  registry.add('app', 'v1', two);
  const [first, second] = two.layers;
  assert.ok(first !== undefined && second !== undefined);
  const gate = Promise.withResolvers<void>();
  registry.fault({ match: { object: second.digest }, do: faults.holdBody(1_000_000, gate.promise) });
  await using user = await newUser();
  await using _worker = await startWorker(user, redis);
  await using farm = await openFarm(redis);
  const done = submit(farm, user, registry.ref('app', 'v1'));
  const blob = join(user.store, 'blobs', first.digest.replace(':', '/'));
  await until('the first layer is there', () => existsSync(blob));
  assert.equal((await user.gantry(['gc'])).code, 0);
  assert.ok(existsSync(blob));
  gate.resolve();
  assert.deepEqual(states(await done), ['done']);
  assert.equal((await user.gantry(['verify'])).code, 0);
});

test('what a session claimed is let go when no run is open, and not before', async () => {
  await using dir = await tempDir();
  const store = new ContentStore({ root: dir.join('store') });
  const other = new ContentStore({ root: dir.join('store') });
  const bytes = Buffer.from('claimed');
  const digest = digestOf(bytes);
  const ingest = await store.ingestWaiting({ ref: 'any', digest, size: bytes.length }, opts);
  assert.equal(ingest.state, 'open');
  if (ingest.state === 'open') {
    await using writer = ingest.writer;
    await writer.write(bytes);
    await writer.commit(opts);
  }
  let asked = 0;
  let isAllDone = false;
  const isIdle = async (): Promise<boolean> => {
    asked += 1;
    return isAllDone || asked % 2 === 1; // a run begins between the two looks
  };
  await using protection = await Protection.start({
    store,
    isIdle,
    everyMs: 10,
    onError: (err) => assert.fail(String(err)),
  });
  await store.stat(digest, opts);
  protection.used();
  const collect = async (): Promise<number> =>
    (await other.collect(async () => new Set(), { ...opts, dryRun: true, ingestsOlderThanMs: 1e9 })).blobs.length;
  await until('it was asked', () => asked > 5);
  assert.equal(await collect(), 0);
  isAllDone = true;
  await until('it lets go', async () => (await collect()) === 1);
  const before = asked;
  protection.used();
  await until('it can do so again', () => asked > before);
});

test('a Redis that cannot be used is told in a line, at the start', async () => {
  await using evicting = await TestRedis.start({ maxmemoryPolicy: 'allkeys-lru' });
  await using user = await newUser();
  const refused = await user.gantry(['worker', '--redis', evicting.url, ...LOCAL]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /^gantry: redis at \S+ may evict keys \(maxmemory-policy: allkeys-lru\) \(.+\)\n$/);
  await evicting.kill();
  const absent = await user.gantry(['worker', '--redis', evicting.url, ...LOCAL]);
  assert.equal(absent.code, 1);
  assert.match(absent.stderr, /^gantry: cannot reach redis at \S+: ECONNREFUSED \(.+\)\n$/);
  const misnamed = await user.gantry(['worker', '--lanes', 'docker.io,https://ghcr.io']);
  assert.equal(misnamed.code, 2);
  assert.match(misnamed.stderr, /Say registries as references name them, such as docker\.io,ghcr\.io/);
  const mistimed = await user.gantry(['worker'], { GANTRY_LOCK_MS: 'soon' });
  assert.equal(mistimed.code, 2);
  assert.match(mistimed.stderr, /^gantry: GANTRY_LOCK_MS must be a positive number of milliseconds, not "soon"\n$/);
  const unnamed = await user.gantry(['worker']);
  assert.equal(unnamed.code, 2);
  assert.match(unnamed.stderr, /^gantry: no Redis is named/);
});

test('the server tells the state of the farm, and ends as it is told', async () => {
  await using redis = await TestRedis.start();
  await using user = await newUser();
  await using worker = await startWorker(user, redis, '--concurrency', '5');
  const args = ['server', '--redis', redis.url, '--host', '127.0.0.1', '--port', '0'];
  await using server = await user.spawn(args);
  const [, url = ''] = await server.process.waitForOutput(/^server: redis \S+, store \S+, listens on (http:\S+)$/m);
  const metrics = (await ask(`${url}/metrics`)).body.toString();
  assert.match(metrics, /^gantry_worker_slots 5$/m);
  assert.match(metrics, /^process_cpu_seconds_total /m);
  assert.deepEqual(await readiness(url), {
    status: 200,
    body: '{"ready":true,"checks":{"redis":"ok","store":"ok"}}\n',
  });
  await redis.kill();
  await until('not ready', async () => (await readiness(url)).status === 503);
  await until('no metrics', async () => (await ask(`${url}/metrics`)).status === 503);
  await redis.start();
  await until('ready again', async () => (await readiness(url)).status === 200);
  server.process.kill('SIGTERM');
  const { code, stdout } = await server.process.done;
  assert.deepEqual([code, stdout], [0, '']);
  worker.process.kill('SIGTERM');
  await worker.process.done;
});

test('what only a farm needs is not loaded for a pull', async () => {
  await using user = await newUser();
  const hook = join(user.home, 'hook.mjs');
  const script = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(to, context, next) {
      if (/^(bullmq|ioredis|prom-client)/.test(to)) console.error('loads', to);
      return next(to, context);
    } });`;
  await user.sh(`cat > '${hook}' <<'EOF'\n${script}\nEOF`);
  const env = { NODE_OPTIONS: `--import=${hook}` };
  assert.doesNotMatch((await user.gantry(['pull', 'localhost:1/none:v1'], env)).stderr, /loads/);
  assert.match((await user.gantry(['worker'], env)).stderr, /loads ioredis/);
});

test('a worker copies from registry to registry, whatever its store, which stays empty', async () => {
  await using user = await newUser();
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start();
  for (const repository of ['a', 'b']) source.add(repository, 'v1', small);
  await using redis = await TestRedis.start();
  await using farm = await openFarm(redis);
  await using _worker = await startWorker(user, redis);
  const pairs = ['a', 'b'].map((repository) => ({
    source: parseReference(source.ref(repository, 'v1')),
    target: parseReference(target.ref(`mirror/${repository}`, 'v1')),
  }));
  const result = await farm.dispatcher().dispatch({ id: '', roots: copyRoots({ pairs, selection: '' }) }, opts);
  assert.deepEqual(states(result), ['done', 'done']);
  assert.deepEqual(target.violations, []);
  for (const repository of ['a', 'b']) {
    assert.equal(target.stored.get(`mirror/${repository}`)?.tags.get('v1'), small.desc.digest);
  }
  assert.equal(target.count({ kind: 'mount', status: 201 }), 3, 'the second repository takes its blobs from the first');
  assert.deepEqual(await new ContentStore({ root: user.store }).names.list(opts), []);
});
