/** `gantry mirror serve` as a process, with workers, at a real Redis: what is due runs, and nothing else. */
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { Farm } from '../../src/queue/farm.ts';
import { samplesOf } from '../unit/metrics/support.ts';
import { ask } from '../support/ask.ts';
import { newUser, type User } from '../support/cli.ts';
import { leaks, MARKER, never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image } from '../support/images.ts';
import type { Gantry, RunResult } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { faults, TestRegistry } from '../support/registry.ts';

const opts = { signal: never };
const [one, two] = [image({ seed: 'one', layers: [2_000] }), image({ seed: 'two', layers: [2_000] })];
const FAST = { GANTRY_LOCK_MS: '2000', GANTRY_STALLED_MS: '1000' };

class World implements AsyncDisposable {
  readonly redis: TestRedis;
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  readonly user: User;
  readonly farm: Farm;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<World, 'redis' | 'source' | 'target' | 'user' | 'farm'>,
    stack: AsyncDisposableStack,
  ) {
    this.redis = parts.redis;
    this.source = parts.source;
    this.target = parts.target;
    this.user = parts.user;
    this.farm = parts.farm;
    this.#stack = stack;
  }

  static async start(): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await TestRedis.start());
    const source = stack.use(await TestRegistry.start());
    const target = stack.use(await TestRegistry.start());
    const user = stack.use(await newUser());
    const farm = stack.use(await Farm.open({ url: redis.url }, opts));
    source.add('app', '1', one);
    return new World({ redis, source, target, user, farm }, stack.move());
  }

  get path(): string {
    return join(this.user.home, 'mirror.yml');
  }

  /** Replaces the file as a whole. */
  async write(rules: string, more = ''): Promise<void> {
    await writeFile(`${this.path}.new`, `version: 1\n${more}sync:\n${rules}`);
    await rename(`${this.path}.new`, this.path);
  }

  rule(repo: string, more: string): string {
    const [from, to] = [`${this.source.host}/${repo}`, `${this.target.host}/${repo}`];
    return `  - {source: "${from}", target: "${to}", type: repository, ${more}}\n`;
  }

  async worker(): Promise<Gantry> {
    const where = ['--metrics-host', '127.0.0.1', '--metrics-port', '0'];
    const worker = this.#stack.use(await this.user.spawn(['worker', '--redis', this.redis.url, ...where], FAST));
    await worker.process.waitForOutput(/^worker .* metrics on/m);
    return worker;
  }

  async serve(): Promise<Serving> {
    const args = ['mirror', 'serve', '-f', this.path, '--redis', this.redis.url];
    const where = ['--metrics-host', '127.0.0.1', '--metrics-port', '0'];
    const serving = this.#stack.use(await this.user.spawn([...args, ...where], FAST));
    const [, url = ''] = await serving.process.waitForOutput(/metrics on (http:\S+)\/metrics$/m);
    return new Serving(serving, url);
  }

  /** What Redis holds of schedules. */
  async schedules(): Promise<string[]> {
    const redis = new Redis(this.redis.url, { maxRetriesPerRequest: null });
    try {
      const [meta = ''] = await this.#keys('mirror_*:meta');
      const name = meta.split(':')[1];
      if (name === undefined) return [];
      const queue = new Queue(name, { connection: redis, prefix: '{gantry}' });
      const all = await queue.getJobSchedulers(0, -1);
      await queue.close();
      return all.map(({ pattern, every }) => pattern ?? String(every)).toSorted();
    } finally {
      redis.disconnect();
    }
  }

  /** Of the only rule. */
  async lastRun(): Promise<string | undefined> {
    const [key] = await this.#keys('last-runs:*');
    return key === undefined ? undefined : this.redis.command('HVALS', key);
  }

  async loseActiveTick(): Promise<void> {
    const [active = ''] = await this.#keys('mirror_*:active');
    await this.redis.command('DEL', active);
  }

  async #keys(pattern: string): Promise<string[]> {
    const found = await this.redis.command('KEYS', `{gantry}:${pattern}`);
    return found.split('\n').filter((key) => key !== '');
  }

  tags(repo = 'app'): string[] {
    return [...(this.target.stored.get(repo)?.tags.keys() ?? [])].toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

class Serving {
  readonly #running: Gantry;
  readonly url: string;

  constructor(running: Gantry, url: string) {
    this.#running = running;
    this.url = url;
  }

  get log(): string {
    return this.#running.process.stderr;
  }

  /** One of its own samples; undefined when there is none. */
  async metric(name: string): Promise<number | undefined> {
    const { body } = await ask(`${this.url}/metrics`);
    const samples = samplesOf(body.toString());
    return [...samples].find(([each]) => each.replaceAll(/mirror="mirror.yml",?/g, '') === name)?.[1];
  }

  waitFor(wanted: RegExp): Promise<RegExpExecArray> {
    return this.#running.process.waitForOutput(wanted);
  }

  hangUp(): void {
    this.#running.process.kill('SIGHUP');
  }

  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<RunResult> {
    this.#running.process.kill(signal);
    return this.#running.process.done;
  }
}

test('a rule runs whenever it is due, on the farm, and its process ends in good order', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'interval: 1s') + world.rule('idle', 'referrers: false'));
  await world.worker();
  const serving = await world.serve();
  await until('the first image', () => world.tags().includes('1'));
  world.source.add('app', '2', two);
  await until('what came later', () => world.tags().includes('2'));
  await until(
    'a run without news',
    async () => (await serving.metric('gantry_mirror_images{rule="sync.0",outcome="done"}')) === 2,
  );
  const started = await serving.metric('gantry_mirror_ticks_total{rule="sync.0",outcome="started"}');
  assert.ok(started !== undefined && started >= 2);
  const at = await serving.metric('gantry_mirror_last_success_timestamp_seconds{rule="sync.0"}');
  assert.ok(at !== undefined && at > 1_700_000_000);
  assert.equal(await serving.metric('gantry_mirror_rules{}'), 1);
  assert.equal((await ask(`${serving.url}/readyz`)).status, 200);
  assert.match(serving.log, /1 of 2 rules have neither schedule nor interval/);
  assert.match(serving.log, /^mirror: sync\.0: run r\w+ started, 1 images$/m);
  const [run] = await world.farm.runs(opts);
  assert.deepEqual(run?.labels, { mirror: 'mirror.yml', rule: 'sync.0' });
  const { code, stdout, stderr } = await serving.end();
  assert.deepEqual([code, stdout], [0, '']);
  assert.match(stderr, /^mirror: stopping; runs go on$/m);
});

test('schedules follow the file, and a file that cannot be read leaves them', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'schedule: "0 3 * * *"') + world.rule('b', 'schedule: "@daily"'));
  const serving = await world.serve();
  assert.deepEqual(await world.schedules(), ['0 3 * * *', '@daily']);

  await world.write(world.rule('new', 'interval: 24h') + world.rule('app', 'schedule: "5 3 * * *"'));
  serving.hangUp();
  await serving.waitFor(/read the file again: 2 schedules new or changed, 1 gone/);
  assert.deepEqual(await world.schedules(), ['5 3 * * *', '86400000']);

  await world.write(world.rule('app', 'schedule: "5 3 * *"'));
  serving.hangUp();
  await serving.waitFor(/the file is not taken, and the old rules stay: .*mirror\.yml:3:\d+: sync\.0\.schedule/);
  assert.deepEqual(await world.schedules(), ['5 3 * * *', '86400000']);
  assert.equal(await serving.metric('gantry_mirror_file_valid{}'), 0);

  await world.write(world.rule('app', 'schedule: "5 3 * * *"'));
  serving.hangUp();
  await serving.waitFor(/read the file again: 0 schedules new or changed, 1 gone/);
  assert.deepEqual(await world.schedules(), ['5 3 * * *']);
  assert.equal(await serving.metric('gantry_mirror_file_valid{}'), 1);
  await serving.end();
  assert.deepEqual(await world.schedules(), ['5 3 * * *'], 'they stay for the next process');
});

const skipped = 'gantry_mirror_ticks_total{rule="sync.0",outcome="skipped"}';

test('a tick during an open run is skipped and counted', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'interval: 1s'));
  const serving = await world.serve(); // and no worker: the run stays open
  await until('two skipped ticks', async () => ((await serving.metric(skipped)) ?? 0) >= 2);
  assert.equal(await serving.metric('gantry_mirror_ticks_total{rule="sync.0",outcome="started"}'), 1);
  assert.equal((await world.farm.runs(opts)).length, 1);
  assert.match(serving.log, /^mirror: sync\.0: due, and skipped: the run before is not over$/m);
  await world.worker();
  await serving.waitFor(/^mirror: sync\.0: run r\w+ ended after .*: 1 done$/m);
  assert.deepEqual(world.tags(), ['1']);
});

for (const [signal, isLost, what] of [
  ['SIGTERM', false, 'is taken up by the next one'],
  ['SIGKILL', false, 'is taken up by the next one, when the lock on its tick ends'],
  ['SIGKILL', true, 'is open all the same when its tick is lost'],
] as const) {
  test(`a run whose process ended by ${signal} ${what}`, async () => {
    await using world = await World.start();
    await world.write(world.rule('app', 'interval: 1s'));
    const first = await world.serve();
    const [, run = ''] = await first.waitFor(/run (r\w+) started/);
    await until('its id is kept', async () => (await world.lastRun()) === run);
    await first.end(signal);
    if (isLost) await world.loseActiveTick();
    const second = await world.serve();
    await until('a skipped tick', async () => ((await second.metric(skipped)) ?? 0) >= 1);
    assert.equal(await second.metric('gantry_mirror_ticks_total{rule="sync.0",outcome="started"}'), undefined);
    assert.equal((await world.farm.runs(opts)).length, 1);
    await world.worker();
    // Without its tick nobody follows it, and the next run begins when it is over.
    const wanted = isLost ? 'run r\\w+ ended' : `run ${run} ended`;
    await second.waitFor(new RegExp(`^mirror: sync\\.0: ${wanted} after .*: 1 done$`, 'm'));
    assert.deepEqual(world.tags(), ['1']);
  });
}

test('it ends in time when Redis does not answer', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'interval: 1s'));
  const serving = await world.serve();
  await serving.waitFor(/run r\w+ started/);
  world.redis.pauseProcess();
  try {
    const { code, stderr } = await serving.end();
    assert.equal(code, 0);
    assert.match(stderr, /^mirror: stopping; redis does not answer: what was due goes on when its locks end$/m);
  } finally {
    world.redis.resumeProcess();
  }
});

test('of two processes with one file one takes each tick', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'schedule: "* * * * * *"'));
  await world.worker();
  const both = [await world.serve(), await world.serve()];
  const of = async (outcome: string): Promise<number> => {
    const name = `gantry_mirror_ticks_total{rule="sync.0",outcome="${outcome}"}`;
    const counts = await Promise.all(both.map(async (each) => (await each.metric(name)) ?? 0));
    return counts.reduce((sum, count) => sum + count, 0);
  };
  const beganMs = Date.now();
  await until('some runs', async () => (await of('started')) >= 3);
  const ticks = (await of('started')) + (await of('skipped'));
  assert.ok(ticks <= (Date.now() - beganMs) / 1_000 + 2, `${ticks} ticks`);
});

test('what left the source is pruned after its run, when it was gone long enough, as Redis remembers', async () => {
  await using world = await World.start();
  await world.write(world.rule('app', 'interval: 1s, prune: {mode: delete, graceDays: 1}'));
  world.source.add('app', '2', two);
  await world.worker();
  const serving = await world.serve();
  await until('both', () => world.tags().length === 2);
  world.source.stored.get('app')?.tags.delete('2');
  await serving.waitFor(/prune: .*\/app: 1 tag left the source: 2 \(gone less than 1 h, kept for another/);
  const repository = `${world.target.host}/app`;
  const remembered = new Map([['2', { digest: two.desc.digest, since: Date.now() - 2 * 86_400_000 }]]);
  await world.farm.goneTags.write(repository, remembered, opts);
  await serving.waitFor(/prune: .*\/app: 1 tag left the source: 2 \(gone 2 d, deleted\)/);
  assert.deepEqual(world.tags(), ['1']);
  assert.equal(await serving.metric('gantry_mirror_pruned_tags_total{rule="sync.0"}'), 1);
  // One run without its image at the target, and nothing is pruned.
  world.target.add('app', '3', two);
  world.source.add('app', '4', two);
  world.target.fault({ match: { method: 'PUT', object: '4' }, do: faults.status(403), unserved: true });
  await serving.waitFor(/prune: .*: nothing is deleted: not all of its images were copied/);
  assert.ok(((await serving.metric('gantry_mirror_ticks_total{rule="sync.0",outcome="failed"}')) ?? 0) >= 1);
});

test('a source that cannot be listed is told and counted, and no secret of the file is anywhere', async () => {
  await using world = await World.start();
  const creds = `creds:\n  - {registry: "${world.source.host}", user: alice, pass: "${MARKER}"}\n`;
  await world.write(world.rule('gone', 'interval: 1s'), creds);
  const serving = await world.serve();
  await serving.waitFor(/^mirror: sync\.0: .* answered 404 for the tags of/m);
  assert.ok(((await serving.metric('gantry_mirror_ticks_total{rule="sync.0",outcome="failed"}')) ?? 0) >= 1);
  const { stderr } = await serving.end();
  assert.ok(!leaks(stderr));
  const dump = await world.redis.command('EVAL', DUMP, '0');
  assert.match(dump, /mirror_/);
  assert.ok(!leaks(dump), 'Redis holds no credential');
});

/** Names and values of all keys that are hashes or texts. */
const DUMP = `local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key)['ok']
  all[#all + 1] = key
  if kind == 'hash' then for _, each in ipairs(redis.call('HGETALL', key)) do all[#all + 1] = each end end
  if kind == 'string' then all[#all + 1] = redis.call('GET', key) end
end
return all`;

test('what cannot be served is told at once', async () => {
  await using world = await World.start();
  const { user, redis } = world;
  const serve = (...args: readonly string[]): Promise<RunResult> => user.gantry(['mirror', 'serve', ...args]);
  await world.write(world.rule('app', 'schedule: "61 * * * *"'));
  const bad = await serve('-f', world.path, '--redis', redis.url);
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /mirror\.yml:3:\d+: sync\.0\.schedule: /);
  const none = await serve('-f', join(user.home, 'none.yml'), '--redis', redis.url);
  assert.deepEqual([none.code, none.stderr.includes('there is no file')], [4, true]);
  const stdin = await serve('-f', '-', '--redis', redis.url);
  assert.deepEqual([stdin.code, stdin.stderr.includes('cannot come from stdin')], [2, true]);
  const noRedis = await serve('-f', world.path);
  assert.match(noRedis.stderr, /no Redis is named/);
  const named = await serve('-f', world.path, '--redis', redis.url, '--name', 'a:b');
  assert.equal(named.code, 2);
});
