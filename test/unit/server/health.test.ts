import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { addHealth, type HealthOptions, readiness } from '../../../src/server/health.ts';
import { createApp, startServer } from '../../../src/server/http.ts';
import { ask } from '../../support/ask.ts';

const healthy: HealthOptions = {
  metrics: async () => ({ type: 'text/plain; version=0.0.4', body: 'up 1\n' }),
  ready: async () => ({ redis: 'ok', store: 'ok' }),
};

const serve = (options: Partial<HealthOptions> = {}) =>
  startServer({ port: 0, host: '127.0.0.1' }, addHealth(createApp(), { ...healthy, ...options }));

async function readyz(ready: HealthOptions['ready']): Promise<{ status: number; told: unknown }> {
  await using server = await serve({ ready });
  const { status, headers, body } = await ask(`${server.url}/readyz`);
  assert.equal(headers['content-type'], 'application/json');
  const told: unknown = JSON.parse(body.toString());
  return { status, told };
}

test('a process that lives says so, though it cannot work', async () => {
  await using server = await serve({ ready: async () => ({ redis: 'gone' }) });
  const { status, body } = await ask(`${server.url}/healthz`);
  assert.deepEqual([status, body.toString()], [200, 'ok\n']);
});

test('metrics are sent as they are', async () => {
  await using server = await serve();
  const { status, headers, body } = await ask(`${server.url}/metrics`);
  assert.deepEqual([status, headers['content-type'], body.toString()], [200, 'text/plain; version=0.0.4', 'up 1\n']);
});

test('metrics that cannot be read in time are a 503', async () => {
  const metrics = () => Promise.reject(new GantryError('TIMEOUT', 'the farm did not answer'));
  await using server = await serve({ metrics });
  assert.equal((await ask(`${server.url}/metrics`)).status, 503);
});

test('ready when every check is ok', async () => {
  assert.deepEqual(await readyz(healthy.ready), {
    status: 200,
    told: { ready: true, checks: { redis: 'ok', store: 'ok' } },
  });
});

test('one check that is not makes it 503, with the reason', async () => {
  const checks = { redis: 'unreachable since 14:05:00', store: 'ok' };
  assert.deepEqual(await readyz(async () => checks), { status: 503, told: { ready: false, checks } });
});

test('checks that fail are a reason', async () => {
  const told = { ready: false, checks: { checks: 'no such thing' } };
  assert.deepEqual(await readyz(() => Promise.reject(new Error('no such thing'))), { status: 503, told });
  const throws = (): never => {
    throw new Error('no such thing');
  };
  assert.deepEqual(await readyz(throws), { status: 503, told });
});

test('checks that hang are a reason after two seconds, and are told to stop', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let told: AbortSignal | undefined;
  const ready: HealthOptions['ready'] = ({ signal }) => {
    told = signal;
    return new Promise(() => {});
  };
  const answer = readiness(ready, { signal: new AbortController().signal });
  t.mock.timers.tick(1999);
  assert.equal(told?.aborted, false);
  t.mock.timers.tick(1);
  assert.deepEqual(await answer, { ready: false, checks: { checks: 'no answer in 2 s' } });
  assert.equal(told?.aborted, true);
});
