/** Metrics of a run that is over, handed to a Pushgateway: a real one, and such as do not take them. */
import assert from 'node:assert/strict';
import * as http from 'node:http';
import { test } from 'node:test';
import { type Pushgateway, pushgatewayOf, pushMetrics } from '../../src/app/batch/pushgateway.ts';
import { newUser, type User } from '../support/cli.ts';
import { failureOf, leaks, lookOver, MARKER } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { closed, listen } from '../support/listen.ts';
import { run } from '../support/process.ts';
import { TestProxy } from '../support/proxy.ts';
import { TestPushgateway } from '../support/pushgateway.ts';
import { TestRegistry } from '../support/registry.ts';
import { samplesOf } from '../unit/metrics/support.ts';

const NO_PROXIES = { http: undefined, https: undefined, none: undefined };
const BODY = { type: 'text/plain; version=0.0.4; charset=utf-8', body: 'gantry_batch_bytes 1\n' };

/** A server in the place of a Pushgateway. */
interface Fake extends AsyncDisposable {
  readonly url: string;
  readonly log: readonly { method: string; path: string; authorization: string | undefined }[];
}

async function fake(answer: (res: http.ServerResponse, count: number) => void): Promise<Fake> {
  const log: Fake['log'][number][] = [];
  const server = http.createServer((req, res) => {
    log.push({ method: req.method ?? '', path: req.url ?? '', authorization: req.headers.authorization });
    req.resume().on('end', () => answer(res, log.length));
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    log,
    [Symbol.asyncDispose]: async () => {
      const over = closed(server);
      server.closeAllConnections();
      await over;
    },
  };
}

const at = ({ url }: Pick<Fake, 'url'>): Pushgateway => pushgatewayOf(url, { pushgateway: undefined });

interface Scene extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly user: User;
  readonly good: string;
  readonly gone: string;
}

async function scene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start());
  const user = stack.use(await newUser());
  registry.add('app', 'v1', image({ seed: 'pushgateway' }));
  const kept = stack.move();
  const [good, gone] = [registry.ref('app', 'v1'), registry.ref('app', 'gone')];
  return { registry, user, good, gone, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

test('a real Pushgateway has the last run of each job, and keeps the time of its last success', async () => {
  await using gateway = await TestPushgateway.start();
  await using it = await scene();
  const pull = (job: string, ...args: string[]) =>
    it.user.gantry(['pull', '-q', ...args, '--job', job, '--pushgateway', gateway.url]);
  /** A Pushgateway sorts labels, and adds those of the group. */
  const of = (metric: string, job: string, more: Readonly<Record<string, string>> = {}): string => {
    const labels = Object.entries({ batch: job, command: 'pull', instance: '', job, ...more });
    const sorted = labels.map(([name, value]) => `${name}="${value}"`).toSorted();
    return `gantry_batch_${metric}{${sorted.join(',')}}`;
  };
  assert.equal((await pull('nightly', it.gone)).code, 4);
  const failed = samplesOf(await gateway.metrics());
  assert.equal(failed.get(of('failures', 'nightly', { code: 'NOT_FOUND' })), 1);
  assert.equal(failed.has(of('last_success_timestamp_seconds', 'nightly')), false);

  assert.equal((await pull('nightly', it.good)).code, 0);
  assert.equal((await pull('a:b', it.good)).code, 0, 'what a path would want escaped');
  const text = await gateway.metrics();
  const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], { input: text });
  assert.equal(code, 0, stdout + stderr);
  const well = samplesOf(text);
  const success = well.get(of('last_success_timestamp_seconds', 'nightly'));
  assert.ok(success !== undefined && success > 1_700_000_000, text);
  assert.equal(well.get(of('failures', 'nightly', { code: 'NOT_FOUND' })), 0, 'that of before does not stay');
  assert.equal(well.get(of('images', 'a:b', { outcome: 'done' })), 1);

  assert.equal((await pull('nightly', it.good, it.gone)).code, 3);
  const again = samplesOf(await gateway.metrics());
  assert.equal(again.get(of('last_success_timestamp_seconds', 'nightly')), success);
  assert.equal(again.get(of('exit_code', 'nightly')), 3);
});

test('one that declines is told in a line, and the run exits as it would', async () => {
  await using it = await scene();
  for (const [status, tries, expected] of [
    [401, 1, /it answered 401 \(GANTRY_PUSHGATEWAY=/],
    [500, 3, /it answered 500\n/],
  ] as const) {
    await using gateway = await fake((res) => res.writeHead(status).end(MARKER));
    const [ref, exit] = status === 500 ? [it.gone, 4] : [it.good, 0];
    const { code, stderr } = await it.user.gantry(['pull', '-q', ref, '--pushgateway', `${gateway.url}/prefix/`]);
    assert.equal(code, exit, stderr);
    assert.match(stderr, expected);
    assert.ok(stderr.includes(`gantry: warning: the metrics were not pushed to ${gateway.url}: `), stderr);
    assert.ok(!leaks(stderr));
    const wanted = { method: 'POST', path: '/prefix/metrics/job/pull', authorization: undefined };
    assert.deepEqual(
      gateway.log,
      Array.from({ length: tries }, () => wanted),
    );
  }
});

test('what would be declined again is not tried again, and a redirect leads nowhere', async () => {
  for (const [status, code, hint] of [
    [302, 'UNSUPPORTED', /redirects are not followed/],
    [400, 'UNSUPPORTED', /is it the URL of a Pushgateway/],
    [403, 'DENIED', /^$/],
  ] as const) {
    await using gateway = await fake((res) => res.writeHead(status, { location: '/elsewhere' }).end());
    const err = await failureOf(pushMetrics(at(gateway), 'x', BODY, { proxies: NO_PROXIES }), code);
    assert.match(err.hint ?? '', hint);
    assert.deepEqual(
      gateway.log.map(({ path }) => path),
      ['/metrics/job/x'],
    );
  }
});

test('one that recovers gets them, and one that is down or hangs holds nothing up for long', async () => {
  await using it = await scene();
  await using flaky = await fake((res, count) => res.writeHead(count < 2 ? 503 : 202).end());
  const recovered = await it.user.gantry(['pull', '-q', it.good, '--pushgateway', flaky.url]);
  assert.deepEqual([recovered.code, recovered.stderr, flaky.log.length], [0, '', 2]);

  const gone = await fake(() => undefined);
  await gone[Symbol.asyncDispose]();
  const down = await it.user.gantry(['pull', '-q', it.good, '--pushgateway', gone.url]);
  assert.equal(down.code, 0);
  assert.match(down.stderr, /not pushed to \S+: it cannot be reached \(ECONNREFUSED\)\n$/);

  await using hanging = await fake(() => undefined);
  const push = pushMetrics(at(hanging), 'x', BODY, { proxies: NO_PROXIES, timeoutMs: 200 });
  assert.match((await failureOf(push, 'TIMEOUT')).message, /did not answer in time/);
  // An answer that never ends is one, all the same.
  const cut = Promise.withResolvers<void>();
  await using endless = await fake((res) => void res.once('close', cut.resolve).writeHead(200).write('x'));
  await pushMetrics(at(endless), 'x', BODY, { proxies: NO_PROXIES, timeoutMs: 3_600_000 });
  await cut.promise;
});

test('a password comes by the environment alone, and is shown nowhere', async () => {
  await using it = await scene();
  await using gateway = await fake((res, count) => res.writeHead(count === 1 ? 200 : 401).end());
  const host = gateway.url.slice('http://'.length);
  const secret = `http://me:${encodeURIComponent(`${MARKER}/`)}@${host}`;
  const env = { GANTRY_PUSHGATEWAY: secret };
  const good = await it.user.gantry(['pull', '-q', it.good, '--pushgateway'], env);
  assert.deepEqual([good.code, good.stderr], [0, '']);
  const [sent] = gateway.log;
  assert.equal(sent?.authorization, `Basic ${Buffer.from(`me:${MARKER}/`).toString('base64')}`);
  const declined = await it.user.gantry(['pull', '-q', '-v', it.good, '--pushgateway'], env);
  assert.equal(declined.code, 0);
  assert.ok(declined.stderr.includes(`not pushed to ${gateway.url}: it answered 401`), declined.stderr);
  const typed = await it.user.gantry(['pull', it.good, '--pushgateway', secret]);
  assert.equal(typed.code, 2);
  assert.match(typed.stderr, /^gantry: the URL behind --pushgateway has a password .*set GANTRY_PUSHGATEWAY.*\n$/);
  for (const { stdout, stderr } of [good, declined, typed]) assert.ok(!leaks(stdout + stderr), stderr);
  assert.equal(gateway.log.length, 2);
});

test('what is no URL of a Pushgateway is refused, and not repeated', () => {
  for (const [given, pushgateway] of [
    ['docker.io/library/redis:7', undefined],
    [`me:${MARKER}@host:9091`, undefined],
    [`http://host:9091?token=${MARKER}`, undefined],
    [`http://${MARKER}@host:9091`, undefined],
    [true, undefined],
    [true, `ftp://me:${MARKER}@host`],
    [true, `http://me:%${MARKER}@host`],
  ] as const) {
    const refused = (): unknown => pushgatewayOf(given, { pushgateway });
    assert.throws(refused, (err) => {
      lookOver(err);
      assert.equal(err.code, 'USAGE');
      assert.match(err.message, /--pushgateway|Pushgateway|GANTRY_PUSHGATEWAY/);
      return true;
    });
  }
});

test('proxies are used as for registries', async () => {
  await using gateway = await TestPushgateway.start();
  await using proxy = await TestProxy.start({
    credentials: `proxy:${MARKER}`,
    hosts: { 'pushgateway.test:9091': gateway.host },
  });
  await using it = await scene();
  const url = 'http://pushgateway.test:9091';
  const through = (credentials: string) => ({ http_proxy: proxy.url.replace('://', `://${credentials}@`) });
  const push = (env: NodeJS.ProcessEnv) => it.user.gantry(['pull', '-q', it.good, '--pushgateway', url], env);
  const pushed = await push(through(`proxy:${MARKER}`));
  assert.deepEqual([pushed.code, pushed.stderr], [0, '']);
  assert.deepEqual(
    proxy.log.map(({ target }) => target),
    [`${url}/metrics/job/pull`],
  );
  assert.match(await gateway.metrics(), /^gantry_batch_bytes\{.*job="pull"\}/m);
  const refused = await push(through(`other:${MARKER}`));
  assert.equal(refused.code, 0);
  assert.match(refused.stderr, /it answered 407/);
  assert.ok(!leaks(refused.stderr));
});
