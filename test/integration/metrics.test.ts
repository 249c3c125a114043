/** The real promtool, and a real process that must end by itself. */
import assert from 'node:assert/strict';
import { readFile, statfs, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { storeSpace } from '../../src/app/store-space.ts';
import { joined } from '../../src/metrics/exposition.ts';
import { farmMetrics } from '../../src/metrics/farm-metrics.ts';
import { Farm } from '../../src/queue/farm.ts';
import { addHealth } from '../../src/server/health.ts';
import { createApp, startServer } from '../../src/server/http.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { run } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { tempDir } from '../support/temp.ts';
import { busyFarm, busyWorker, never, samplesOf } from '../unit/metrics/support.ts';

/** What promtool finds wrong; an error of the format and a bad name end alike in a line of it. */
async function complaints(body: string): Promise<string> {
  const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], { input: body });
  return code === 0 ? `${stdout}${stderr}` : `exit ${code}: ${stdout}${stderr}`;
}

test('promtool has nothing to say about the metrics of a worker', async () => {
  assert.equal(await complaints((await busyWorker().text()).body), '');
});

test('promtool has nothing to say about the metrics of the farm', async () => {
  assert.equal(await complaints((await farmMetrics(busyFarm(), { signal: never })).body), '');
});

test('promtool has nothing to say about both together, as they are served', async () => {
  const worker = busyWorker();
  const view = busyFarm();
  const metrics = async () => joined(await worker.text(), await farmMetrics(view, { signal: never }));
  await using server = await startServer(
    { port: 0, host: '127.0.0.1' },
    addHealth(createApp(), { metrics, ready: async () => ({}) }),
  );
  const { status, headers, body } = await ask(`${server.url}/metrics`);
  assert.equal(status, 200);
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/);
  assert.match(body.toString(), /^gantry_workers 2$/m);
  assert.match(body.toString(), /^gantry_tickets_in_flight/m);
  assert.equal(await complaints(body.toString()), '');
});

test('promtool complains about what is wrong', async () => {
  assert.match(await complaints('# TYPE jobs_total gauge\njobs_total 1\n'), /jobs_total/);
});

test('promtool takes every query of docs/metrics.md', async () => {
  const text = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const queries = [...text.matchAll(/```promql\n(.*?)\n```/gs)].map(([, query = '']) => query);
  const rules = queries.map((expr, i) => ({ record: `query:${i}`, expr }));
  await using dir = await tempDir();
  const file = dir.join('rules.json'); // JSON is YAML
  await writeFile(file, JSON.stringify({ groups: [{ name: 'docs', rules }] }));
  const { code, stdout, stderr } = await run('promtool', ['check', 'rules', file]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, new RegExp(`SUCCESS: ${queries.length} rules found`));
});

test('metrics do not keep a process alive', async () => {
  const module = new URL('../../src/metrics/worker-metrics.ts', import.meta.url).href;
  const script = `
    const { WorkerMetrics } = await import(${JSON.stringify(module)});
    const { body } = await new WorkerMetrics({ version: '1' }).text();
    console.log(body.includes('nodejs_eventloop_lag'));`;
  const ended = await run(process.execPath, ['--input-type=module', '-e', script], { timeoutMs: 20_000 });
  assert.deepEqual({ ...ended, stderr: '' }, { code: 0, signal: null, stdout: 'true\n', stderr: '' });
});

test('the memory of Redis, with a limit and without', async () => {
  for (const [limit, options] of [
    [0, {}],
    [104_857_600, { maxmemory: '100mb' }],
  ] as const) {
    await using redis = await TestRedis.start(options);
    await using farm = await Farm.open({ url: redis.url }, { signal: never });
    const samples = samplesOf((await farmMetrics(farm, { signal: never })).body);
    assert.equal(samples.get('gantry_redis_memory_limit_bytes'), limit);
    const [used, machine] = ['used', 'machine'].map((name) => samples.get(`gantry_redis_memory_${name}_bytes`) ?? 0);
    assert.ok(used !== undefined && machine !== undefined && used > 100_000 && machine > used, `${used} of ${machine}`);
  }
});

test('the disk of a store, and nothing of one that is not there', async () => {
  await using dir = await tempDir();
  const store = new ContentStore({ root: dir.join('store') });
  const read = storeSpace(store);
  assert.doesNotMatch((await read()).body, /^gantry_store/m);
  const label = `{store="${await store.id()}"}`;
  const samples = samplesOf((await read()).body);
  const { bsize, blocks } = await statfs(dir.path);
  assert.equal(samples.get(`gantry_store_size_bytes${label}`), bsize * blocks);
  const free = samples.get(`gantry_store_free_bytes${label}`) ?? 0;
  assert.ok(free > 0 && free < bsize * blocks);
});
