/** How many time series real processes make: as many for a thousand repositories as for ten, and never more than the caps allow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageNode } from '../../src/handlers/pull.ts';
import { MAX_NAMES } from '../../src/metrics/label-cap.ts';
import { MAX_ACTIVE_RUNS } from '../../src/metrics/run-gauges.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { Farm } from '../../src/queue/farm.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { newUser, type User } from '../support/cli.ts';
import { never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image } from '../support/images.ts';
import type { Gantry } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { TestRegistry } from '../support/registry.ts';
import { samplesOf } from '../unit/metrics/support.ts';

const opts = { signal: never };

interface Service extends Gantry {
  readonly url: string;
}

async function start(user: User, redis: TestRedis, ...args: readonly string[]): Promise<Service> {
  const started = await user.spawn([...args, '--redis', redis.url]);
  const [, url = ''] = await started.process.waitForOutput(/(?:metrics|listens) on (http:\/\/[^/\s]+)/);
  return { ...started, url };
}

/** Its own; what Node tells of itself has as many as it has kinds of handles open. */
async function seriesOf({ url }: Service): Promise<string[]> {
  const { status, body } = await ask(`${url}/metrics`);
  assert.equal(status, 200);
  return [...samplesOf(body.toString()).keys()].filter((name) => name.startsWith('gantry_')).toSorted();
}

const valuesOf = (series: readonly string[], label: string): Set<string> =>
  new Set(series.flatMap((name) => new RegExp(`[{,]${label}="([^"]*)"`).exec(name)?.[1] ?? []));

test('a worker tells as many time series of 1,000 repositories as of 10', async () => {
  await using redis = await TestRedis.start();
  await using registry = await TestRegistry.start();
  const only = image({ seed: 'series', layers: [1_000] });
  for (let i = 0; i < 1_000; i += 1) registry.add(`repository-${i}`, `tag-${i}`, only);
  await using user = await newUser();
  await using worker = await start(user, redis, 'worker', '--metrics-host', '127.0.0.1', '--metrics-port', '0');
  await using farm = await Farm.open({ url: redis.url }, opts);
  const target = await new ContentStore({ root: user.store }).id();
  const pull = async (repositories: number): Promise<void> => {
    const refs = Array.from({ length: repositories }, (_, i) => registry.ref(`repository-${i}`, `tag-${i}`));
    const roots = refs.map((ref) => imageNode(parseReference(ref), target, ''));
    const { images } = await farm.dispatcher({ submit: { isNew: true } }).dispatch({ id: '', roots }, opts);
    assert.ok(images.length === repositories && images.every(({ state }) => state === 'done'));
  };
  await pull(10);
  await pull(10); // of which all is there
  const before = await seriesOf(worker);
  await pull(1_000);
  assert.deepEqual(await seriesOf(worker), before);
  assert.ok(before.length > 30 && !before.some((name) => /repository-|tag-|sha256/.test(name)));
});

test('a server tells of 300 runs and 300 lanes no more than its caps allow', async () => {
  await using redis = await TestRedis.start();
  await using user = await newUser();
  await using server = await start(user, redis, 'server', '--port', '0');
  await using farm = await Farm.open({ url: redis.url }, opts);
  const target = await new ContentStore({ root: user.store }).id();
  const submit = (i: number): Promise<string> =>
    farm.submit([imageNode(parseReference(`r${i}.example/app:1`), target, '')]);
  const first = await submit(0);
  const told = async (run: string): Promise<boolean> => valuesOf(await seriesOf(server), 'run').has(run);
  await until('the first run', () => told(first));
  let newest = first;
  for (let i = 1; i < 300; i += 1) {
    newest = await submit(i);
    await farm.settings.set(`r${i}.example`, { quota: { requests: 10, periodMs: 1_000 } });
  }
  await until('the newest run', () => told(newest));
  const series = await seriesOf(server);
  const runs = valuesOf(series, 'run');
  assert.equal(runs.size, MAX_ACTIVE_RUNS);
  assert.ok(!runs.has(first));
  const lanes = valuesOf(series, 'lane');
  assert.ok(lanes.size === MAX_NAMES + 1 && lanes.has('other'), `${lanes.size} lanes`);
  await farm.cancel(newest);
  await until('a run that has ended is gone', async () => !(await told(newest)));
});
