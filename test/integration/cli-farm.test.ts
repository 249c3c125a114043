/** The commands with which people use a farm, as real processes; the workers are processes, too. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/app/config.ts';
import { withFarm } from '../../src/app/farm.ts';
import { openTeller } from '../../src/cli/farm-teller.ts';
import { openRedis } from '../../src/queue/connection.ts';
import { isCode } from '../../src/errors.ts';
import { newUser, type User } from '../support/cli.ts';
import { leaks, MARKER, never } from '../support/clients.ts';
import { TestFarm, until } from '../support/farm.ts';
import { image } from '../support/images.ts';
import type { RunResult } from '../support/process.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: never };
const large = image({ layers: [{ raw: randomBytesOf('large', 5_000_000) }] });
const [layer] = large.layers;
assert.ok(layer);

interface Scene extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly farm: TestFarm;
  readonly user: User;
  /** Runs gantry with GANTRY_REDIS. */
  gantry(...args: readonly string[]): Promise<RunResult>;
  spawn(...args: readonly string[]): ReturnType<User['spawn']>;
}

async function scene(workers = 1): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start());
  const farm = stack.use(await TestFarm.start({ workers }));
  const user = stack.use(await newUser());
  const env = { GANTRY_REDIS: farm.redis.url };
  const kept = stack.move();
  return {
    registry,
    farm,
    user,
    gantry: (...args) => user.gantry(args, env),
    spawn: (...args) => user.spawn(args, env),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function add(registry: TestRegistry, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    registry.add(`app${i}`, 'v1', image({ seed: i }));
    return registry.ref(`app${i}`, 'v1');
  });
}

/** A transfer of the large image that stands still until the gate is opened. */
function holding(registry: TestRegistry): { readonly ref: string; readonly open: () => void } {
  registry.add('large', 'v1', large);
  const gate = Promise.withResolvers<void>();
  const held = registry.fault({ match: { object: layer?.digest ?? '' }, do: faults.holdBody(3_000_000, gate.promise) });
  const open = (): void => {
    held.remove();
    gate.resolve();
  };
  return { ref: registry.ref('large', 'v1'), open };
}

const runOf = async ({ process }: Awaited<ReturnType<User['spawn']>>): Promise<string> =>
  (await process.waitForOutput(/^run (r\w+)$/m))[1] ?? '';

test('a pull by a farm prints and exits as one of its own', async () => {
  await using it = await scene();
  const refs = add(it.registry, 3);
  const gone = it.registry.ref('gone', 'v1');
  for (const [args, code] of [
    [refs, 0],
    [[refs[0] ?? '', gone], 3],
    [[gone], 4],
  ] as const) {
    for (const format of [['-q'], ['-q', '--format', 'json'], ['-q', '--format', 'jsonl']]) {
      const [here, there] = [
        await it.user.gantry(['pull', ...format, ...args]),
        await it.gantry('pull', ...format, ...args, '--redis'),
      ];
      assert.deepEqual([there.code, there.stdout, there.stderr], [code, here.stdout, here.stderr]);
      assert.equal(here.code, code);
    }
  }
  const images = await it.farm.store.names.list(opts);
  assert.deepEqual(images.map(({ name }) => name).toSorted(), refs.toSorted());
});

test('progress comes from the workers: what they transfer and where they are', async () => {
  await using it = await scene(2);
  const [small = ''] = add(it.registry, 1);
  const { ref, open } = holding(it.registry);
  await using pulling = await it.spawn('pull', '--progress', 'json', ref, small, '--redis');
  await pulling.process.waitForOutput(/"kind":"image"/);
  open();
  const { code, stderr } = await pulling.process.done;
  const lines = stderr.trim().split('\n');
  const events: { kind: string; bytes?: Record<string, number> }[] = lines.map((line) => JSON.parse(line));
  assert.equal(code, 0);
  const kinds = [...new Set(events.map(({ kind }) => kind))];
  assert.deepEqual(kinds.toSorted(), ['image', 'resolved', 'run', 'summary', 'totals']);
  const { here = 0, known = 0, transferred = 0 } = events.findLast(({ kind }) => kind === 'totals')?.bytes ?? {};
  assert.ok(here > 5_000_000);
  assert.deepEqual([known, transferred], [here, here]);
});

test('images come from a file or stdin: comments, blank lines and repetitions count for nothing', async () => {
  await using registry = await TestRegistry.start();
  await using user = await newUser();
  const [a = '', b = ''] = add(registry, 2);
  const list = `\ufeff# what we need\r\n\r\n${a}\r\n  ${b} # twice\n${a}\n`;
  const file = join(user.home, 'images.txt');
  await writeFile(file, list);
  const named = /^(\S+)@sha256:/gm;
  for (const [args, input] of [
    [['-f', file], undefined],
    [['-f', '-'], list],
  ] as const) {
    const { code, stdout } = await user.gantry(['pull', '-q', ...args, b], {}, input);
    assert.equal(code, 0);
    assert.deepEqual(
      [...stdout.matchAll(named)].map(([, repository]) => repository),
      [b, a].map((ref) => ref.replace(/:v1$/, '')),
    );
  }
  await writeFile(file, `${a}\n# no\nexample.com/UPPER\n`);
  const bad = await user.gantry(['pull', '-f', file]);
  assert.equal(bad.code, 2);
  assert.ok(bad.stderr.startsWith(`gantry: ${file}:3: invalid reference: repository name must be lowercase\n  `));
  assert.match(bad.stderr, /^ +\^$/m);
  assert.match(
    (await user.gantry(['pull', '-f', '-'], {}, '# nothing\n')).stderr,
    /^gantry: the list - names no image$/m,
  );
  assert.equal((await user.gantry(['pull', '-f', join(user.home, 'absent')])).code, 2);
});

test('a producer that is killed as soon as it has asked is not needed any more', async () => {
  await using it = await scene(0);
  const bundles = Array.from({ length: 10 }, (_, seed) => image({ seed, layers: [500] }));
  const refs = Array.from({ length: 1500 }, (_, i) => {
    const bundle = bundles[i % bundles.length];
    if (bundle !== undefined) it.registry.add('app', `t${i}`, bundle);
    return it.registry.ref('app', `t${i}`);
  });
  const file = join(it.user.home, 'images.txt');
  await writeFile(file, refs.join('\n'));
  await using pulling = await it.spawn('pull', '-f', file, '--target', await it.farm.store.id(), '--redis');
  const run = await runOf(pulling);
  pulling.process.kill('SIGKILL');
  await pulling.process.done;
  await it.farm.startWorker({ concurrency: 16 });
  await it.farm.done(run, refs, 90_000);
});

test('the same request twice is one run, unless it is said to be new', async () => {
  await using it = await scene(0);
  const refs = add(it.registry, 2);
  const target = ['--target', await it.farm.store.id(), '--detach', '--redis'];
  const ask = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await it.gantry('pull', ...args, ...target);
    assert.deepEqual([code, stderr], [0, '']);
    return stdout;
  };
  const first = await ask(...refs);
  assert.match(first, /^r[0-9a-f]{10}\n$/);
  assert.equal(await ask(...refs), first);
  assert.notEqual(await ask('--new', ...refs), first);
  assert.notEqual(await ask(...refs.slice(1)), first);
  assert.deepEqual(JSON.parse(await ask('--format', 'json', ...refs)), { run: first.trim() });
});

test('where images go: a store that is named, else that of all workers', async () => {
  await using it = await scene(0);
  const [ref = ''] = add(it.registry, 1);
  const none = await it.gantry('pull', ref, '--redis');
  assert.equal(none.code, 2);
  assert.match(none.stderr, /^gantry: no worker is connected that could say which store is meant \(.*--target/);
  await it.farm.startWorker();
  assert.equal((await it.gantry('pull', '-q', ref, '--redis')).code, 0);
  assert.equal((await it.gantry('pull', '--target', 'a b', ref, '--redis')).code, 2);
  const elsewhere = await it.gantry('pull', '--store', it.user.store, '--detach', ref, '--redis');
  const status = await it.farm.client.run(elsewhere.stdout.trim());
  assert.notEqual(status.labels['target'], await it.farm.store.id());
  const shown = await it.gantry('runs', 'show', status.id);
  assert.match(shown.stdout, new RegExp(`^waits +no worker has the store ${status.labels['target']}`, 'm'));

  await using other = await tempDir();
  const redis = await openRedis(it.farm.settings, 'command', opts);
  using _redis = { [Symbol.dispose]: () => redis.disconnect() };
  const [worker] = await it.farm.client.workers(opts);
  assert.ok(worker);
  const stranger = { ...worker, id: 'stranger', store: 'another-store', host: other.path };
  await redis.sadd('{gantry}:workers', 'stranger');
  await redis.set('{gantry}:worker:stranger', JSON.stringify(stranger));
  const several = await it.gantry('pull', ref, '--redis');
  assert.equal(several.code, 2);
  assert.match(several.stderr, /^gantry: the workers have 2 stores: .*another-store.* \(give --target/);
});

test('what does not go together is told before anything is asked', async () => {
  await using user = await newUser();
  const env = { GANTRY_REDIS: 'redis://127.0.0.1:1' };
  for (const [args, expected] of [
    [['--concurrency', '3', 'a', '--redis'], /^gantry: --concurrency does not go with --redis: .*`gantry worker`/],
    [['--plain-http', 'a', '--redis'], /^gantry: --plain-http does not go with --redis/],
    [['--limit-rate', '1M', 'a', '--redis'], /^gantry: --limit-rate does not go with --redis/],
    [['--detach', 'a'], /^gantry: --detach goes with --redis only/],
    [['--store', 'b', '--target', 'c', 'a', '--redis'], /^gantry: option '--target <id>' cannot be used with/],
    [['--redis', 'docker.io/library/redis:7'], /^gantry: what follows --redis is not the URL of a Redis/],
    [[], /^gantry: missing required argument 'ref' \(.*-f FILE\)/],
  ] as const) {
    const { code, stderr } = await user.gantry(['pull', ...args], env);
    assert.equal(code, 2, stderr);
    assert.match(stderr, expected);
    assert.equal(stderr.split('\n').length, 2, 'one line');
  }
  for (const args of [['runs'], ['lanes'], ['active', '--redis'], ['pull', 'a', '--redis']]) {
    const { code, stderr } = await user.gantry(args, {});
    assert.deepEqual([code, stderr.startsWith('gantry: no Redis is named (')], [2, true], stderr);
    const away = await user.gantry(args, env);
    assert.deepEqual([away.code, away.stderr.startsWith('gantry: cannot reach redis at 127.0.0.1:1')], [1, true]);
  }
});

test('Ctrl-C cancels the run: its transfers stop, and the producer says so', async () => {
  await using it = await scene();
  const { ref, open } = holding(it.registry);
  await using pulling = await it.spawn('pull', ref, '--redis');
  const run = await runOf(pulling);
  await it.farm.writerWith(1_000_000);
  pulling.process.kill('SIGINT');
  const { outcome } = await it.registry.waitFor({ object: layer.digest, method: 'GET' }, { state: 'ended' });
  assert.equal(outcome, 'gone');
  const { code, stdout, stderr } = await pulling.process.done;
  assert.deepEqual([code, stdout], [130, '']);
  assert.match(stderr, new RegExp(`^gantry: run ${run} cancelled `, 'm'));
  assert.equal((await it.farm.client.run(run)).state, 'cancelled');
  open();
});

test('somebody else cancels the run: its transfers stop within a second, and its producer ends', async (t) => {
  await using it = await scene();
  const { ref, open } = holding(it.registry);
  await using pulling = await it.spawn('pull', ref, '--redis');
  const run = await runOf(pulling);
  await it.farm.writerWith(1_000_000);
  const startedAt = performance.now();
  assert.equal(await it.farm.client.cancel(run), true);
  const toldMs = performance.now() - startedAt;
  const { outcome, endedAt = 0 } = await it.registry.waitFor(
    { object: layer.digest, method: 'GET' },
    { state: 'ended' },
  );
  t.diagnostic(`cancelled after ${toldMs} ms, the transfer stopped after ${endedAt - startedAt} ms`);
  assert.equal(outcome, 'gone');
  assert.ok(endedAt - startedAt < 1_000, 'promised to those who cancel');
  const { code, stderr } = await pulling.process.done;
  assert.equal(code, 130);
  assert.match(stderr, /^gantry: 1 of 1 images were cancelled$/m);
  open();
});

test('watching: as the pull itself, and Ctrl-C leaves the run alone', async () => {
  await using it = await scene();
  const [small = ''] = add(it.registry, 1);
  const { ref, open } = holding(it.registry);
  const gone = it.registry.ref('gone', 'v1');
  const { stdout } = await it.gantry('pull', ref, small, gone, '--detach', '--redis');
  const run = stdout.trim();
  await using watching = await it.spawn('runs', 'watch', '--progress', 'json', run);
  await watching.process.waitForOutput(/"name":"[^"]*app0/);
  watching.process.kill('SIGINT');
  const left = await watching.process.done;
  assert.equal(left.code, 130);
  assert.doesNotMatch(left.stderr, /cancelled/);
  assert.equal((await it.farm.client.run(run)).state, 'running');
  await using again = await it.spawn('runs', 'watch', run, '-q', '--format', 'jsonl');
  open();
  const ended = await again.process.done;
  assert.equal(ended.code, 3);
  const states = ended.stdout.trim().split('\n');
  assert.deepEqual(
    states.map((line): unknown => JSON.parse(line)).map((each) => Object(each).state),
    ['done', 'done', 'failed'],
  );
  assert.deepEqual((await it.gantry('runs', 'watch', run, '-q', '--format', 'jsonl')).stdout, ended.stdout);
});

test('runs are listed, shown, cancelled and retried', async () => {
  await using it = await scene();
  const [ref = ''] = add(it.registry, 1);
  const gone = Array.from({ length: 7 }, (_, i) => it.registry.ref('gone', `t${i}`));
  const { stdout } = await it.gantry('pull', ref, ...gone, '--detach', '--redis');
  const run = stdout.trim();
  await it.farm.ended(run);

  const [listed] = JSON.parse((await it.gantry('runs', '--format', 'json')).stdout);
  const { labels, images, createdAt, endedAt } = listed;
  assert.deepEqual(labels, { target: await it.farm.store.id(), platforms: labels.platforms });
  assert.deepEqual(images, { total: 8, fed: 8, open: 0, done: 1, failed: 7, cancelled: 0 });
  assert.ok(new Date(endedAt).toISOString() === endedAt && new Date(createdAt).toISOString() === createdAt);
  assert.match((await it.gantry('runs', 'list')).stdout, new RegExp(`^${run} +done +1 +7 +8 +\\d.* s +\\d.* s$`, 'm'));

  const shown = JSON.parse((await it.gantry('runs', 'show', run, '--format', 'json')).stdout);
  const [group] = shown.failures;
  assert.deepEqual(
    [shown.failures.length, group.code, group.origin, group.count, group.examples.length],
    [1, 'NOT_FOUND', 'source', 7, 5],
  );
  const text = (await it.gantry('runs', 'show', run)).stdout;
  assert.match(text, /^images +1 of 8 done, 7 failed$/m);
  assert.match(text, /^7 NOT_FOUND \(source\)\n( {2}\S+\/gone:t\d: .* answered 404 .*\n){5} {2}and 2 more$/m);
  const failed = (await it.gantry('runs', 'show', '--failed', run, '--format', 'jsonl')).stdout.trim().split('\n');
  const names = failed.map((line) => {
    const { name }: { name: string } = JSON.parse(line);
    return name;
  });
  assert.deepEqual(names.toSorted(), gone);

  const late = await it.gantry('runs', 'cancel', run);
  assert.deepEqual([late.code, late.stdout], [0, `run ${run} had ended before: done\n`]);
  const nothing = await it.gantry('runs', 'retry', run, '--error', 'DENIED');
  assert.deepEqual([nothing.code, nothing.stdout, nothing.stderr], [0, '', `nothing to retry in run ${run}\n`]);
  for (const each of gone) it.registry.add('gone', each.replace(/.*:/, ''), image({ seed: each }));
  const again = (await it.gantry('runs', 'retry', run, '--error', 'NOT_FOUND')).stdout.trim();
  await it.farm.done(again, gone);
  for (const verb of ['show', 'watch', 'cancel', 'retry']) {
    const unknown = await it.gantry('runs', verb, 'r0');
    assert.deepEqual([unknown.code, unknown.stdout], [4, '']);
    assert.match(unknown.stderr, /^gantry: there is no run r0 \(.*\)\n$/);
  }
});

test('lanes are limited, paused and resumed; a run tells that it waits for one', async () => {
  await using it = await scene();
  const lane = it.registry.host;
  const [ref = ''] = add(it.registry, 1);
  const absent = await it.gantry('lanes', 'pause', lane);
  assert.deepEqual([absent.code, absent.stderr], [4, `gantry: there is no lane ${lane} (there are none yet)\n`]);
  const set = await it.gantry('lanes', 'set', lane, '--concurrency', '3', '--quota', '100/6h', '--format', 'json');
  const [{ concurrency, quota, paused }] = JSON.parse(set.stdout);
  assert.deepEqual([concurrency, quota, paused], [3, { requests: 100, periodMs: 21_600_000 }, false]);
  assert.match((await it.gantry('lanes', 'pause', lane)).stdout, / 3 +100\/6h +1 +paused$/m);
  const run = (await it.gantry('pull', ref, '--detach', '--redis')).stdout.trim();
  const waits = async (): Promise<boolean> => (await it.farm.client.lanes(opts))[0]?.tickets.waiting === 1;
  await until('the ticket', waits);
  const shown = await it.gantry('runs', 'show', run);
  assert.match(
    shown.stdout,
    new RegExp(`^waits +${lane}: paused; resume it with \`gantry lanes resume ${lane}\`$`, 'm'),
  );
  assert.equal((await it.gantry('lanes', 'resume', lane)).code, 0);
  await it.farm.done(run, [ref]);
  const unset = await it.gantry('lanes', 'set', lane, '--concurrency', 'none', '--quota', 'none');
  assert.match(unset.stdout, / 0 +0 +0 +- +- +(?:-|\d+ of \d+) +1 +open$/m);
  for (const bad of [
    ['set', lane],
    ['set', lane, '--quota', '5'],
    ['set', 'a/b', '--quota', '5/1h'],
    ['pause', 'a b'],
  ]) {
    assert.equal((await it.gantry('lanes', ...bad)).code, 2, bad.join(' '));
  }
});

test('active shows what all workers transfer', async () => {
  await using it = await scene();
  const { ref, open } = holding(it.registry);
  const run = (await it.gantry('pull', ref, '--detach', '--redis')).stdout.trim();
  await it.farm.writerWith(1_000_000);
  const [worker] = await it.farm.client.workers(opts);
  const [transfer] = JSON.parse((await it.gantry('active', '--redis', '--format', 'json')).stdout);
  assert.deepEqual(
    [transfer.ref, transfer.worker, transfer.run, transfer.lane, transfer.total],
    [`layer-${layer.digest}`, worker?.id, run, it.registry.host, layer.size],
  );
  assert.ok(transfer.offset >= 1_000_000 && transfer.offset < layer.size);
  const table = (await it.gantry('active', '--redis')).stdout;
  assert.match(
    table,
    new RegExp(`^layer-${layer.digest} +${worker?.id} +\\d.*B +4\\.8 MiB +\\S+ \\w+/s +\\d.*s$`, 'm'),
  );
  assert.equal((await it.user.gantry(['active'])).stdout.split('\n').length, 2, 'nothing here');
  open();
  await it.farm.done(run, [ref]);
});

test('without a worker that is said at once', async () => {
  await using it = await scene(0);
  const [ref = ''] = add(it.registry, 1);
  await using pulling = await it.spawn('pull', '-q', '--target', await it.farm.store.id(), ref, '--redis');
  await pulling.process.waitForOutput(/^gantry: waiting: no worker is connected: start one with `gantry worker`\n/);
  await it.farm.startWorker();
  const { code, stderr } = await pulling.process.done;
  assert.equal(code, 0);
  assert.equal(stderr.match(/no worker/g)?.length, 1);
});

test('why a run does not move is told every ten seconds in which nothing has happened', async (t) => {
  await using it = await scene();
  const [ref = ''] = add(it.registry, 1);
  const { client } = it.farm;
  await client.settings.set(it.registry.host, {});
  await client.settings.pause(it.registry.host);
  const run = await it.farm.submit([ref]);
  const said: string[] = [];
  const { stdin, stdout, stderr } = process;
  const log = (line: string): void => void said.push(line);
  const cli = { ...opts, env: {}, stdin, stdout, stderr, exitCode: 0, isService: false, verbose: false, log };
  t.mock.timers.enable({ apis: ['setInterval'] });
  using teller = openTeller(cli, client, 'plain');
  teller.submitted(run);
  const next = async (count: number): Promise<void> => {
    t.mock.timers.tick(10_000);
    await until(`line ${count}`, () => said.length >= count);
  };
  await next(2);
  const [node] = await client.rootsOf(run);
  assert.ok(node);
  teller.onEvent({ kind: 'started', node });
  t.mock.timers.tick(10_000);
  await next(3);
  const { host } = it.registry;
  const reason = `gantry: waiting: ${host}: paused; resume it with \`gantry lanes resume ${host}\``;
  assert.deepEqual(said, [`run ${run}`, reason, reason]);
});

test('Redis comes back: the pull goes on and has said so once', async () => {
  await using it = await scene();
  const { ref, open } = holding(it.registry);
  await using pulling = await it.spawn('pull', '-q', ref, '--redis');
  const run = await firstRun(it.farm);
  await it.farm.writerWith(1_000_000);
  await it.farm.redis.kill();
  await pulling.process.waitForOutput(/^gantry: waiting: redis at 127\.0\.0\.1:\d+ does not answer\n/);
  await it.farm.redis.start();
  open();
  const { code, stderr } = await pulling.process.done;
  assert.deepEqual([code, stderr.match(/does not answer/g)?.length], [0, 1], stderr);
  assert.equal((await it.farm.client.run(run)).state, 'done');
});

test('Redis has lost the run: one line, exit code 1', async () => {
  await using it = await scene(0);
  const target = await it.farm.store.id();
  await using pulling = await it.spawn('pull', '-q', '--target', target, it.registry.ref('a', 'b'), '--redis');
  const run = await firstRun(it.farm);
  await it.farm.redis.command('flushall');
  const { code, stderr } = await pulling.process.done;
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^gantry: the queue knows nothing of run ${run} any more`, 'm'));
});

test('Redis stays away: that is told, and an abort does not wait for it', async () => {
  await using it = await scene(0);
  const roots = await it.farm.roots([it.registry.ref('a', 'b')]);
  const run = await it.farm.client.submit(roots);
  const away = Promise.withResolvers<void>();
  let told = 0;
  const onAway = (): void => {
    told += 1;
    away.resolve();
  };
  const following = it.farm.client.dispatcher({ awayMs: 800, onAway }).follow(run, roots, { signal: never });
  const abort = new AbortController();
  const patient = it.farm.client.dispatcher().follow(run, roots, { signal: abort.signal });
  const asking = withFarm(readConfig({}), { redis: it.farm.redis.url }, opts, async (farm) => {
    await it.farm.redis.kill();
    await farm.runs(opts);
  });
  await assert.rejects(asking, (err) => isCode(err, 'NETWORK') && err.message.includes(it.farm.redis.host));
  await away.promise;
  await assert.rejects(following, (err) => isCode(err, 'NETWORK') && err.message.includes('too long'));
  assert.equal(told, 1);
  abort.abort();
  assert.equal((await patient).images[0]?.state, 'cancelled');
});

/** Once somebody has submitted one. */
async function firstRun({ client }: TestFarm): Promise<string> {
  await until('a run', async () => (await client.runs(opts)).length > 0);
  return (await client.runs(opts))[0]?.id ?? '';
}

/** All keys and values, as Redis itself writes them. */
async function wholeRedis(url: string): Promise<string> {
  const redis = await openRedis({ url }, 'command', opts);
  using _redis = { [Symbol.dispose]: () => redis.disconnect() };
  await redis.config('SET', 'rdbcompression', 'no');
  const keys = await redis.keys('*');
  const values = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
  return [...keys, ...values.map((value) => value?.toString('latin1') ?? '')].join('\n');
}

test('the password of Redis is nowhere: not in what is printed, not in the queue', async () => {
  await using registry = await TestRegistry.start();
  await using farm = await TestFarm.start({ workers: 1, redis: { password: MARKER } });
  await using user = await newUser();
  const [ref = ''] = add(registry, 1);
  const { url, port } = farm.redis;
  const clean = async (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<RunResult> => {
    const result = await user.gantry(args, env);
    assert.ok(!leaks(result.stdout) && !leaks(result.stderr), args.join(' '));
    return result;
  };
  const env = { GANTRY_REDIS: url };
  for (const args of [
    ['pull', '-v', '--progress', 'json', ref, registry.ref('gone', 'v1')],
    ['pull', '--detach', '--new', '--target', 'elsewhere', ref],
    ['active', '--format', 'json'],
  ]) {
    assert.ok([0, 3].includes((await clean([...args, '--redis'], env)).code ?? -1), args.join(' '));
  }
  const run = await firstRun(farm);
  for (const args of [['runs', 'show', run, '--format', 'json'], ['lanes'], ['runs', 'show', 'r0', '-v']]) {
    await clean([...args, '--redis', url]);
  }
  for (const wrong of [
    url.replace(MARKER, `${MARKER}x`),
    url.replace(String(port), '1'),
    url.replace('//', '/'),
    url.slice('redis://'.length),
    `${url}/x`,
  ]) {
    assert.notEqual((await clean(['runs', '-v', '--redis', wrong])).code, 0);
    assert.notEqual((await clean(['pull', '-v', ref, '--redis', wrong])).code, 0);
  }
  const all = await wholeRedis(url);
  assert.ok(all.includes(ref), 'this would find it');
  assert.ok(!leaks(all));
  assert.ok(!leaks(farm.problems));
});
