/** `gantry up`: a farm of real processes that starts with one command, mends itself, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseMatcher } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { Farm } from '../../src/queue/farm.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask } from '../support/ask.ts';
import { newUser, type User } from '../support/cli.ts';
import { never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image } from '../support/images.ts';
import { closed, listen } from '../support/listen.ts';
import { type Gantry, runOk } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';

const opts = { signal: never };
const small = image({ seed: 'up', layers: [20_000] });

interface Up extends Gantry {
  readonly redis: string;
  readonly server: string;
  readonly farm: Farm;
}

/** Resolves when it says what to type next. */
async function startUp(user: User, ...args: readonly string[]): Promise<Up> {
  const started = await user.spawn(['up', '--workers', '2', '--port', '0', ...args]);
  const [, server = ''] = await started.process.waitForOutput(/^up: page on (http:\S+)\/ .*metrics$/m);
  const [, redis = ''] = await started.process.waitForOutput(/gantry pull --redis (redis:\S+) /);
  const farm = await Farm.open({ url: redis }, opts);
  const dispose = async (): Promise<void> => {
    await farm[Symbol.asyncDispose]();
    await started[Symbol.asyncDispose]();
  };
  return { ...started, redis, server, farm, [Symbol.asyncDispose]: dispose };
}

async function workerPids({ farm }: Up, count = 2): Promise<number[]> {
  let pids: number[] = [];
  await until(`${count} workers`, async () => {
    pids = (await farm.workers(opts)).map(({ pid }) => pid).filter(isAlive);
    return pids.length === count;
  });
  return pids;
}

async function redisPid({ redis }: Up): Promise<number> {
  const { stdout } = await runOk('redis-cli', ['-u', redis, 'info', 'server']);
  return Number(/^process_id:(\d+)/m.exec(stdout)?.[1]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const allPids = async (up: Up): Promise<number[]> => [await redisPid(up), ...(await workerPids(up))];

async function pull(up: Up, { store }: User, ref: string): Promise<string[]> {
  const target = await new ContentStore({ root: store }).id();
  const root = imageNode(parseReference(ref), target, parseMatcher('linux/amd64').text);
  const { images } = await up.farm.dispatcher().dispatch({ id: '', roots: [root] }, opts);
  return images.map(({ state, error }) => error?.message ?? state);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`a farm starts, pulls, and after ${signal} nothing is left but what it knew`, async () => {
    await using registry = await TestRegistry.start();
    registry.add('app', 'v1', small);
    await using user = await newUser();
    const ref = registry.ref('app', 'v1');
    let before = '';
    let [file, token] = ['', ''];
    {
      await using up = await startUp(user);
      before = up.redis;
      assert.deepEqual(await pull(up, user, ref), ['done']);
      const pids = await allPids(up);
      assert.equal(new Set(pids).size, 3);
      assert.match((await ask(`${up.server}/metrics`)).body.toString(), /^gantry_workers 2$/m);

      [, file = ''] = await up.process.waitForOutput(/for changes it asks for the token in (\S+)\)/m);
      token = await readFile(file, 'utf8');
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      assert.match(token, /^[0-9a-f]{64}\n$/);
      const pause = `${up.server}/api/v1/lanes/${registry.host}/pause`;
      assert.equal((await ask(pause, { method: 'POST' })).status, 401);
      const headers = { authorization: `Bearer ${token.trim()}` };
      assert.equal((await ask(pause, { method: 'POST', headers })).status, 200);

      const second = await user.gantry(['up']);
      assert.equal(second.code, 2);
      assert.match(second.stderr, /^gantry: a farm runs in \S+ already \(stop it first, or .+\)\n$/);

      up.process.kill(signal);
      const { code, stdout, stderr } = await up.process.done;
      assert.deepEqual([code, stdout], [0, '']);
      assert.ok(!stderr.includes(token.trim()));
      assert.equal(stderr.match(/gantry worker: stopping, gave 0 tickets back/g)?.length, 2);
      assert.deepEqual(pids.filter(isAlive), []);
    }
    assert.equal((await user.gantry(['images', '-q'])).stdout, `${ref}\n`);
    await using again = await startUp(user);
    assert.equal(again.redis, before);
    assert.equal(await readFile(file, 'utf8'), token, 'programs may have been given it');
    assert.equal((await again.farm.runs(opts)).length, 1, 'what Redis knew is kept');
    again.process.kill(signal);
    await again.process.done;
  });
}

test('a worker that dies is started again, and takes tickets', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', 'v1', small);
  await using user = await newUser();
  await using up = await startUp(user, '--workers', '1');
  const [first = -1] = await workerPids(up, 1);
  process.kill(first, 'SIGKILL');
  await up.process.waitForOutput(/^up: worker 1 ended with SIGKILL: starting it again in 0\.25 s$/m);
  const [second] = await workerPids(up, 1);
  assert.notEqual(second, first);
  assert.deepEqual(await pull(up, user, registry.ref('app', 'v1')), ['done']);
  up.process.kill('SIGINT');
  assert.equal((await up.process.done).code, 0);
});

test('without its Redis the farm ends, and says so', async () => {
  await using user = await newUser();
  await using up = await startUp(user);
  const [redis = -1, ...workers] = await allPids(up);
  process.kill(redis, 'SIGKILL');
  const { code, stderr } = await up.process.done;
  assert.equal(code, 1);
  assert.match(stderr, /^gantry: redis-server has ended: .+ \(what it knew is kept; start `gantry up` again\)$/m);
  assert.deepEqual(workers.filter(isAlive), []);
});

test('when it is killed itself, the rest follows', async () => {
  await using user = await newUser();
  await using up = await startUp(user);
  const pids = await allPids(up);
  up.process.kill('SIGKILL');
  await until('nothing is left', () => pids.every((pid) => !isAlive(pid)), 10_000);
  await using again = await startUp(user); // what it has left behind does not lock anybody out
  again.process.kill('SIGINT');
  assert.equal((await again.process.done).code, 0);
});

test('what keeps it from starting is told in a line, and nothing is left', async () => {
  await using user = await newUser();
  const node = join(user.home, '../bin');
  const absent = await user.gantry(['up'], { PATH: node });
  assert.equal(absent.code, 2);
  assert.match(absent.stderr, /^gantry: there is no redis-server on the PATH \(install it: .*redis-server.*\)\n$/);

  const taken = createServer();
  const port = await listen(taken);
  const inUse = await user.gantry(['up', '--port', String(port)]);
  await closed(taken);
  assert.equal(inUse.code, 2);
  assert.match(inUse.stderr, /^gantry: cannot listen on 127\.0\.0\.1:\d+: the port is in use \(.+\)\n$/m);

  const misled = await user.gantry(['up', '--port', '0', '--ca-file', '/nowhere']);
  assert.equal(misled.code, 2);
  assert.match(misled.stderr, /^gantry: cannot read the CA file \/nowhere\n/m);
  assert.match(misled.stderr, /^gantry: up: worker \d cannot run; it says why above\n$/m);
});
