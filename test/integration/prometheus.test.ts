/**
 * A farm of real processes under load, scraped by a real Prometheus: every query of a dashboard has an answer, every rule can be
 * evaluated, and every process tells its metrics as promtool wants them.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { Farm } from '../../src/queue/farm.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { newUser, type User } from '../support/cli.ts';
import { never } from '../support/clients.ts';
import { dashboards, queriesOf, resolved } from '../support/dashboards.ts';
import { until } from '../support/farm.ts';
import { fill } from '../support/farm-images.ts';
import { image } from '../support/images.ts';
import { run } from '../support/process.ts';
import { Prometheus, type Series } from '../support/prometheus.ts';
import { closed, listen } from '../support/listen.ts';
import { TestRedis } from '../support/redis.ts';
import { type Effect, faults, TestRegistry } from '../support/registry.ts';

const opts = { signal: never };
const RULES = join(import.meta.dirname, '../../prometheus/rules.yml');
const LOCAL = ['--metrics-host', '127.0.0.1', '--metrics-port', '0'];
const FAST = { GANTRY_LOCK_MS: '5000', GANTRY_STALLED_MS: '1000' };
/** As Grafana would make it: four scrapes. */
const RATE = '4s';
/** What is looked at. */
const SECONDS = 20;

const everyNth = (n: number, effect: Effect): Effect => {
  let seen = 0;
  return (answer, asked) => {
    seen += 1;
    if (seen % n === 0) effect(answer, asked);
  };
};

interface World extends AsyncDisposable {
  readonly farm: Farm;
  /** `host:port` of where each process tells its metrics, by the job that scrapes it. */
  readonly told: Readonly<Record<string, readonly string[]>>;
}

/** Two workers, the server and a served mirror; nothing runs yet. */
async function startWorld(stack: AsyncDisposableStack, user: User, registry: TestRegistry): Promise<World> {
  const redis = stack.use(await TestRedis.start());
  const target = stack.use(await TestRegistry.start());
  const farm = stack.use(await Farm.open({ url: redis.url }, opts));
  const mirror = join(user.home, 'mirror.yml');
  const rule = { source: `${registry.host}/mirrored`, target: `${target.host}/mirrored`, type: 'repository' };
  await writeFile(mirror, JSON.stringify({ version: 1, sync: [{ ...rule, interval: '1s' }] }));
  const listens = async (args: readonly string[]): Promise<string> => {
    const started = stack.use(await user.spawn([...args, '--redis', redis.url], FAST));
    const [, host = ''] = await started.process.waitForOutput(/(?:metrics|listens) on http:\/\/([^/\s]+)/);
    return host;
  };
  const [one, two, server, serving] = await Promise.all([
    listens(['worker', ...LOCAL, '--concurrency', '4']),
    listens(['worker', ...LOCAL, '--concurrency', '4']),
    listens(['server', '--port', '0']),
    listens(['mirror', 'serve', '-f', mirror, ...LOCAL]),
  ]);
  const told = { 'gantry-worker': [one, two], 'gantry-server': [server], 'gantry-mirror': [serving] };
  return { farm, told, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** What a one-shot run leaves in a file, told as node_exporter would tell it. */
async function textfile(stack: AsyncDisposableStack, user: User, ref: string): Promise<string> {
  const file = join(user.home, 'gantry.prom');
  assert.equal((await user.gantry(['pull', '-q', ref, '--metrics-textfile', file])).code, 0);
  const body = await readFile(file);
  const server = createServer((_, response) => void response.setHeader('content-type', 'text/plain').end(body));
  const port = await listen(server);
  stack.defer(() => {
    server.closeAllConnections();
    return closed(server);
  });
  return `127.0.0.1:${port}`;
}

/** A run that lasts; two that want the same slow thing, so that one waits for the other; and all that goes wrong at registries. The first is answered. */
async function load({ farm }: World, { store }: User, registry: TestRegistry, slow: TestRegistry): Promise<string> {
  registry.fault({ do: faults.headers({ 'ratelimit-limit': '1000;w=60', 'ratelimit-remaining': '700;w=60' }) });
  registry.fault({ match: { kind: 'blob' }, do: everyNth(40, faults.status(503)) });
  registry.fault({ match: { kind: 'manifest' }, do: everyNth(60, faults.retryAfter('1')) });
  await farm.settings.set(registry.host, { quota: { requests: 100_000, periodMs: 60_000 } });
  const { refs } = fill(registry, { images: 3000, blobs: 3000 });
  const target = await new ContentStore({ root: store }).id();
  const missing = Array.from({ length: 10 }, (_, i) => registry.ref('missing', `${i}`));
  const submit = (wanted: readonly string[]): Promise<string> => {
    const roots = wanted.map((ref) => imageNode(parseReference(ref), target, ''));
    return farm.submit(roots, { isNew: true });
  };
  await Promise.all([submit([slow.ref('app', '1')]), submit([slow.ref('app', '1')])]);
  return submit([...missing, ...refs]);
}

const isShown = ({ values }: Series): boolean => values.some(([, value]) => Number.isFinite(Number(value)));

test('dashboards, rules and processes fit together', async (t) => {
  await using stack = new AsyncDisposableStack();
  const user = stack.use(await newUser());
  const registry = stack.use(await TestRegistry.start({ latencyMs: 20 }));
  const slow = stack.use(await TestRegistry.start({ bytesPerSecond: 200_000 }));
  slow.add('app', '1', image({ seed: 'slow', layers: [400_000] }));
  registry.add('mirrored', '1', image({ seed: 'mirrored', layers: [2_000] }));
  const world = await startWorld(stack, user, registry);
  const told = { ...world.told, 'gantry-batch': [await textfile(stack, user, registry.ref('mirrored', '1'))] };
  const jobs = Object.entries(told).map(([job, targets]) => ({ job, targets }));
  const prometheus = stack.use(await Prometheus.start({ jobs, rules: [RULES] }));
  const all = await dashboards();

  await t.test('each process is scraped', async () => {
    const wanted = jobs.flatMap(({ targets }) => targets).length;
    const up = async (): Promise<number> => (await prometheus.targets()).filter(({ health }) => health === 'up').length;
    await until(`${wanted} targets`, async () => (await up()) === wanted);
  });

  // Not before: a count that was there at the first scrape has no rate.
  const running = await load(world, user, registry, slow);
  await t.test('each variable has values', async () => {
    for (const [file, { templating }] of all) {
      for (const { name, definition = '' } of templating.list.filter(({ type }) => type === 'query')) {
        const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? [];
        const isThere = async (): Promise<boolean> => {
          const values = await prometheus.labelValues(label, metric);
          return name === 'run' ? values.includes(running) : values.length > 0;
        };
        await until(`${file}: a value of ${name}`, isThere);
      }
    }
  });

  await t.test('each panel shows something', async () => {
    const left = new Map(queriesOf(all).map(({ where, expr }) => [`${where}\n${expr}`, expr]));
    assert.ok(left.size > 70, `${left.size} queries`);
    const [server = ''] = world.told['gantry-server'] ?? [];
    assert.equal((await ask(`http://${server}/v2/nobody/manifests/latest`)).status, 404);
    // Some need what takes a while: a run that has ended an image, a rate over several scrapes, a lease that was waited for.
    const answered = async (): Promise<boolean> => {
      for (const [name, expr] of left) {
        const series = await prometheus.range(resolved(expr, RATE, { run: running }), SECONDS);
        if (series.some(isShown)) left.delete(name);
      }
      return left.size === 0;
    };
    await until('all', answered, 25_000).catch(() => assert.fail(`no data:\n${[...left.keys()].join('\n')}`));
  });

  // A panel that falls back to 0 would be content with nothing.
  await t.test('what was provoked is seen', async () => {
    for (const query of [
      'gantry_active_run_failed_images{code="NOT_FOUND"} == 10',
      'farm:gantry_failures:ratio_rate10m > 0',
      `registry:gantry_http_requests_declined:ratio_rate5m{registry="${registry.host}"} > 0`,
      'sum by (reason) (gantry_retries_total{reason="UPSTREAM"}) > 0',
      'sum(gantry_lease_wait_seconds_count) > 0',
      'gantry_serve_requests_total{cache="unknown"} > 0',
    ]) {
      await until(query, async () => (await prometheus.count(query)) > 0, 10_000);
    }
  });

  await t.test('each rule can be evaluated, and each metric in it is there', async () => {
    const rules = await prometheus.rules();
    const text = await readFile(RULES, 'utf8');
    assert.equal(rules.length, [...text.matchAll(/^ *- (?:record|alert): /gm)].length);
    for (const { name, type, query, health, lastError } of rules) {
      assert.deepEqual([health, lastError], ['ok', undefined], name);
      if (type === 'recording') assert.ok((await prometheus.count(name)) > 0, `${name} has no value`);
      for (const metric of query.match(/\b\w*:?gantry_\w+(?::\w+)?/g) ?? []) {
        assert.ok((await prometheus.count(metric)) > 0, `${name}: ${metric}`);
      }
    }
  });

  await t.test('promtool has nothing to say about what each process tells', async () => {
    for (const host of Object.values(told).flat()) {
      const { body } = await ask(`http://${host}/metrics`);
      const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], { input: body });
      assert.deepEqual([code, stdout, stderr], [0, '', ''], host);
    }
  });
});
