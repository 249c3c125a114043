import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type ConnectionUse, openRedis, redisError, type RedisSettings } from '../../src/queue/connection.ts';
import { failureOf, MARKER } from '../support/clients.ts';
import { closed, listen } from '../support/listen.ts';
import { TestRedis } from '../support/redis.ts';
import { tempDir } from '../support/temp.ts';
import { certificates } from '../support/tls.ts';

/** Everybody's user and password here: no message may show them, which failureOf checks. */
const SECRET = encodeURIComponent(MARKER);
const never = new AbortController().signal;

type Opened = Disposable & { readonly redis: Redis };

async function opened(settings: RedisSettings, use: ConnectionUse = 'command'): Promise<Opened> {
  const redis = await openRedis(settings, use, { signal: never });
  return { redis, [Symbol.dispose]: () => redis.disconnect() };
}

/** For servers that will not do: gives up after a second, and leaves nothing open. */
async function opening(settings: RedisSettings, signal: AbortSignal = never): Promise<void> {
  const redis = await openRedis({ connectTimeoutMs: 1000, ...settings }, 'command', { signal });
  redis.disconnect();
}

async function refused(settings: RedisSettings, message: RegExp, hint: RegExp): Promise<void> {
  const err = await failureOf(opening(settings), 'USAGE');
  assert.match(err.message, message);
  assert.match(err.hint ?? '', hint);
  assert.equal(err.origin, 'user');
}

/** The end of the socket; events.once would reject at the error that comes before it. */
const closing = (redis: Redis): Promise<void> =>
  new Promise((resolve) => {
    redis.once('close', () => resolve());
  });

/** Within 10 s; for what has no event. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `not in time: ${condition.toString()}`);
    await sleep(10);
  }
}

interface Fake extends AsyncDisposable {
  readonly url: string;
  readonly connections: ReadonlySet<Socket>;
}

/** A server as old as Redis 5 (no HELLO), that says whatever `info` gives; undefined: that never answers. */
async function fake(info?: () => string): Promise<Fake> {
  const connections = new Set<Socket>();
  const answer = (name: string): string => {
    if (name === 'INFO') return `$${info?.().length}\r\n${info?.()}\r\n`;
    return name === 'HELLO' ? "-ERR unknown command 'HELLO'\r\n" : '+OK\r\n';
  };
  const server = createServer((socket) => {
    connections.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => connections.delete(socket));
    socket.on('data', (chunk) => {
      if (info === undefined) return;
      // Of each command its name; ioredis writes whole commands.
      const names = chunk.toString().matchAll(/\*\d+\r\n\$\d+\r\n(?<name>\w+)/g);
      for (const { groups } of names) socket.write(answer(groups?.['name']?.toUpperCase() ?? ''));
    });
  });
  const port = await listen(server);
  return {
    url: `redis://127.0.0.1:${port}`,
    connections,
    async [Symbol.asyncDispose]() {
      const over = closed(server);
      for (const socket of connections) socket.destroy();
      await over;
    },
  };
}

const INFO = {
  redis_version: '7.0.15',
  role: 'master',
  maxmemory_policy: 'noeviction',
  loading: '0',
  loading_eta_seconds: '60',
};
const infoOf = (fields: Partial<typeof INFO>): string =>
  Object.entries({ ...INFO, ...fields })
    .map(([name, value]) => `${name}:${value}\r\n`)
    .join('');

describe('opening', () => {
  it('takes user, password and database from the URL, escaped where they must be', async () => {
    const password = `${MARKER}:/?#[]@%`;
    await using server = await TestRedis.start({ password });
    using byDefault = await opened({ url: server.url });
    assert.equal(await byDefault.redis.acl('WHOAMI'), 'default');
    await server.command('acl', 'setuser', 'b@b', 'on', `>${MARKER}`, '+@all', '~*', '&*');
    using named = await opened({ url: `redis://b%40b:${SECRET}@${server.host}/3` });
    assert.equal(await named.redis.acl('WHOAMI'), 'b@b');
    assert.match(await named.redis.client('INFO'), / db=3 /);
  });

  it('trusts the CA that it is given, and none that it does not know', async () => {
    const { selfSigned } = await certificates();
    await using server = await TestRedis.start({ tls: true, password: MARKER });
    assert.ok(server.ca);
    using known = await opened({ url: server.url, caFile: server.ca });
    assert.equal(await known.redis.ping(), 'PONG');
    for (const settings of [{ url: server.url }, { url: server.url, caFile: selfSigned.certFile }]) {
      const err = await failureOf(opening(settings), 'TLS');
      assert.match(err.message, /certificate is not trusted/);
      assert.match(err.hint ?? '', /CA/);
    }
  });

  it('waits for a server that loads its data, and no longer than it may', async () => {
    let asked = 0;
    await using server = await fake(() => infoOf({ loading: (asked += 1) < 7 ? '1' : '0' }));
    using connection = await opened({ url: server.url });
    assert.equal(connection.redis.status, 'ready');
    await using endless = await fake(() => infoOf({ loading: '1' }));
    const err = await failureOf(opening({ url: endless.url, connectTimeoutMs: 300 }), 'NETWORK');
    assert.match(err.message, /loading/);
  });

  it('a caller that gives up gets its reason, and no connection stays', async () => {
    await using server = await fake();
    const controller = new AbortController();
    const reason = new Error('enough');
    let over = false;
    const failed = opening({ url: server.url, connectTimeoutMs: 60_000 }, controller.signal).finally(
      () => (over = true),
    );
    await until(() => server.connections.size === 1);
    controller.abort(reason);
    await Promise.all([assert.rejects(failed, reason), until(() => over)]);
    await assert.rejects(opening({ url: server.url }, controller.signal), reason);
    await until(() => server.connections.size === 0);
  });
});

describe('a Redis that cannot carry the queue is refused', () => {
  it('wrong and missing password', async () => {
    await using server = await TestRedis.start({ password: 'another' });
    const { host } = server;
    await refused({ url: `redis://:${SECRET}@${host}` }, /does not accept the password/, /URL/);
    await refused({ url: `redis://${SECRET}:${SECRET}@${host}` }, /does not accept the password/, /URL/);
    await refused({ url: `redis://${host}` }, /wants a password/, /URL/);
  });

  it('a user who may not do what it takes', async () => {
    await using server = await TestRedis.start();
    await server.command('acl', 'setuser', MARKER, 'on', 'nopass', '+@all', '-ping');
    await refused({ url: `redis://${SECRET}:x@${server.host}` }, /denies this user a command/, /allow/);
  });

  it('an evicting policy', async () => {
    await using server = await TestRedis.start({ maxmemoryPolicy: 'allkeys-lru' });
    await refused({ url: server.url }, /allkeys-lru/, /set maxmemory-policy noeviction/);
  });

  it('a replica', async () => {
    await using server = await TestRedis.start();
    await server.command('replicaof', '127.0.0.1', '1');
    await refused({ url: server.url }, /not a master/, /master/);
  });

  it('a database that is not there, in place of using another', async () => {
    await using server = await TestRedis.start();
    await refused({ url: `${server.url}/99` }, /no database/, /db/);
  });

  for (const version of ['5.0.14', '6.0.16', 'x'])
    it(`version ${version}`, async () => {
      await using server = await fake(() => infoOf({ redis_version: version }));
      await refused({ url: server.url }, /too old/, /6\.2/);
    });

  for (const version of ['6.2.0', '7.2.4', '10.0'])
    it(`but not version ${version}`, async () => {
      await using server = await fake(() => infoOf({ redis_version: version }));
      using connection = await opened({ url: server.url });
      assert.equal(connection.redis.status, 'ready');
    });

  it('a server that does not tell what it is', async () => {
    await using server = await fake(() => 'redis_version:7.0.0\r\nrole:master\r\n');
    await refused({ url: server.url }, /not told/, /noeviction/);
  });

  for (const url of [
    `http://u:${SECRET}@host`,
    `redis://u:${SECRET}/x@host`,
    `redis://u:12/${SECRET}@host`,
    `redis://u:12#${SECRET}@host`,
    `redis://u:${SECRET}@host/0?family=4`,
    `redis://u:${SECRET}@host/zero`,
    `redis://u:${SECRET}%@host`,
    `redis:///0`,
    `${SECRET}@host`,
    '',
  ]) {
    it(`URL ${url.replace(SECRET, '...')}`, () => refused({ url }, /URL of Redis/, /redis:\/\/\[user:password@\]host/));
  }

  it('CA files that are missing, no certificate, or not wanted', async () => {
    await using dir = await tempDir();
    const url = `rediss://:${SECRET}@127.0.0.1:1`;
    await refused({ url, caFile: dir.join('none') }, /cannot read the CA file/, /PEM/);
    await refused({ url, caFile: import.meta.filename }, /no certificate/, /PEM/);
    const { caFile } = await certificates();
    await refused({ url: `redis://:${SECRET}@127.0.0.1:1`, caFile }, /without TLS/, /rediss/);
  });
});

describe('no connection', () => {
  it('closed ports and unknown names', async () => {
    for (const [place, message] of [
      ['127.0.0.1:1', /redis at 127\.0\.0\.1:1: ECONNREFUSED/],
      ['localhost:1', /redis at localhost:1: ECONNREFUSED/],
      ['[::1]:1', /redis at \[::1\]:1: E(?:CONNREFUSED|ADDRNOTAVAIL|AFNOSUPPORT)/],
      ['nobody.invalid', /redis at nobody\.invalid:6379: no such host/],
    ] as const) {
      const err = await failureOf(opening({ url: `redis://${SECRET}:${SECRET}@${place}` }), 'NETWORK');
      assert.match(err.message, message);
    }
  });

  it('a server that accepts and never answers, with and without TLS', async () => {
    await using server = await fake();
    const port = new URL(server.url).port;
    for (const scheme of ['redis', 'rediss']) {
      const url = `${scheme}://:${SECRET}@127.0.0.1:${port}`;
      const err = await failureOf(opening({ url, connectTimeoutMs: 200 }), 'NETWORK');
      assert.match(err.message, /no answer/);
      await until(() => server.connections.size === 0);
    }
  });

  it('a server that speaks something else', async () => {
    await using server = await fake(() => infoOf({}));
    const secure = server.url.replace('redis:', 'rediss:');
    await failureOf(opening({ url: secure, connectTimeoutMs: 200 }), 'NETWORK', 'TLS');
    await using web = await TestRedis.start({ tls: true, password: MARKER });
    await failureOf(opening({ url: web.url.replace('rediss:', 'redis:') }), 'NETWORK');
  });
});

describe('a worker connection', () => {
  it('goes on where it was when the server was killed and comes back', async () => {
    await using server = await TestRedis.start();
    using connection = await opened({ url: server.url }, 'worker');
    using listening = await opened({ url: server.url }, 'worker');
    await listening.redis.subscribe('news');
    const lost = closing(connection.redis);
    await server.kill();
    await lost;
    let attempts = 0;
    connection.redis.on('reconnecting', () => (attempts += 1));
    const answer = connection.redis.set('a', '1');
    await until(() => attempts === 4);
    const heard = once(listening.redis, 'message');
    const again = once(listening.redis, 'ready');
    await server.start();
    assert.equal(await answer, 'OK');
    await again;
    await until(async () => (await connection.redis.publish('news', 'here')) === 1);
    assert.deepEqual(await heard, ['news', 'here']);
  });

  it('lives through a server that stands still, and leaves one that does so for too long', async () => {
    await using server = await TestRedis.start();
    using patient = await opened({ url: server.url }, 'worker');
    using hasty = await opened({ url: server.url, silenceMs: 500 }, 'worker');
    let losses = 0;
    patient.redis.on('close', () => (losses += 1));
    const lost = closing(hasty.redis);
    server.pauseProcess();
    const answers = Promise.all([patient.redis.set('a', '1'), hasty.redis.set('b', '2')]);
    await Promise.all([lost, sleep(3000)]);
    server.resumeProcess();
    assert.deepEqual(await answers, ['OK', 'OK']);
    assert.equal(losses, 0);
    assert.equal(await hasty.redis.get('b'), '2');
  });
});

describe('a command connection', () => {
  it('fails in time when the server stands still, and works again', async () => {
    await using server = await TestRedis.start();
    using connection = await opened({ url: server.url, connectTimeoutMs: 300 });
    const lost = closing(connection.redis); // the network may be silent on this one only
    server.pauseProcess();
    const answer = connection.redis.set('a', '1');
    const err = redisError(await answer.catch((err: unknown) => err), server.host);
    assert.equal(err.code, 'NETWORK');
    await lost;
    server.resumeProcess();
    await until(() =>
      connection.redis.ping().then(
        () => true,
        () => false,
      ),
    );
  });

  it('a command that failed because the server is gone is not sent when it is back', async () => {
    await using server = await TestRedis.start();
    using connection = await opened({ url: server.url });
    const lost = closing(connection.redis);
    await server.kill();
    await lost;
    const err = redisError(await connection.redis.incr('a').catch((err: unknown) => err), server.host);
    assert.equal(err.code, 'NETWORK');
    const ready = once(connection.redis, 'ready');
    await server.start();
    await ready;
    assert.equal(await connection.redis.get('a'), null);
  });
});

describe('order', () => {
  for (const use of ['command', 'worker'] as const) {
    it(`commands of a '${use}' connection reach the server as they were issued`, async () => {
      await using server = await TestRedis.start();
      using connection = await opened({ url: server.url }, use);
      using watching = await opened({ url: server.url }, 'worker');
      const { redis } = connection;
      redis.defineCommand('mark', { numberOfKeys: 1, lua: `return redis.call('sadd', KEYS[1], ARGV[1])` });
      const mark: (key: string, value: string) => Promise<unknown> = Reflect.get(redis, 'mark');
      const seen: string[] = [];
      const monitor = await watching.redis.monitor();
      monitor.on('monitor', (_time: string, args: readonly string[], source: string) => {
        const text = /\bn\d+\b/.exec(args.join(' '))?.[0];
        if (source !== 'lua' && text !== undefined) seen.push(text);
      });
      const send = (name: string, i: number): Promise<unknown> => {
        if (i % 4 === 0) return redis.publish('channel', name);
        if (i % 4 === 1) return mark.call(redis, 'key', name);
        return i % 4 === 2 ? redis.set(name, '') : redis.multi().set(name, '').exec();
      };
      const names = Array.from({ length: 200 }, (_, i) => `n${i}`);
      await Promise.all(names.map(send));
      await until(() => seen.length === names.length);
      monitor.disconnect();
      assert.deepEqual(seen, names);
    });
  }
});

describe('errors of commands', () => {
  const caught = async (work: Promise<unknown>): Promise<[string, string, string]> => {
    const { code, origin, message } = redisError(await work.catch((err: unknown) => err), 'h:1');
    return [code, origin, message];
  };

  it('a full memory, also in a script', async () => {
    await using server = await TestRedis.start({ maxmemory: '1mb' });
    using connection = await opened({ url: server.url });
    const full = ['NO_SPACE', 'gantry', 'redis at h:1 is out of memory'];
    assert.deepEqual(await caught(connection.redis.set('a', 'x'.repeat(1_000_000))), full);
    const script = `return redis.call('set', KEYS[1], string.rep('x', 1000000))`;
    assert.deepEqual(await caught(connection.redis.eval(script, 1, 'a')), full);
  });

  it('a master that became a replica', async () => {
    await using server = await TestRedis.start();
    using connection = await opened({ url: server.url });
    await server.command('replicaof', '127.0.0.1', '1');
    assert.deepEqual(await caught(connection.redis.set('a', '')), ['USAGE', 'user', 'redis at h:1 is a replica']);
  });

  for (const [reply, code] of [
    ['LOADING Redis is loading the dataset in memory', 'UPSTREAM'],
    ['MISCONF Redis is configured to save RDB snapshots', 'UPSTREAM'],
    ['ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed', 'NO_SPACE'],
    ['ERR Error running script (call to f_1): @user_script: 1: -READONLY You can', 'USAGE'],
    ['ERR value is not an integer', 'INTERNAL'],
  ] as const) {
    it(reply, async () => {
      const err = Object.assign(new Error(reply), { name: 'ReplyError', command: { name: 'auth', args: [MARKER] } });
      await failureOf(Promise.reject(redisError(err, 'h:1')), code);
    });
  }

  it('a connection that is over, and a call that was cancelled', async () => {
    await using server = await TestRedis.start();
    const { redis } = await opened({ url: server.url });
    redis.disconnect();
    assert.equal((await caught(redis.ping()))[0], 'NETWORK');
    assert.equal(redisError(AbortSignal.abort().reason, 'h:1').code, 'CANCELLED');
    assert.equal(redisError(new TypeError('a defect'), 'h:1').code, 'INTERNAL');
  });
});

describe('the server of these tests', () => {
  it('keeps its data and its port, and waits for the port', async () => {
    await using server = await TestRedis.start({ appendonly: true });
    await server.command('set', 'a', 'b c');
    const { pid } = server;
    await server.restart();
    assert.notEqual(server.pid, pid);
    assert.equal(await server.command('get', 'a'), 'b c');
    await server.kill();
    const squatter = createServer();
    await listen(squatter, server.port);
    const started = server.start();
    await sleep(150);
    await closed(squatter);
    await started;
    await assert.rejects(server.command('incr', 'a'), /not an integer/);
  });
});
