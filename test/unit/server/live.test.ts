import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { Live } from '../../../src/server/api/live.ts';
import { until } from '../../support/farm.ts';
import { closed, listen } from '../../support/listen.ts';

const FAST = { everyMs: 5, heartbeatMs: 1000 };

/** What a listener has got: event and data. */
interface Heard extends AsyncDisposable {
  readonly events: readonly (readonly [event: string, data: string])[];
  readonly socket: Socket;
  readonly out: ServerResponse;
  readonly hasEnded: () => boolean;
}

/** Answers of a real server, each handed to `live` when its head was written. */
async function hear(live: Live, ...keys: readonly string[]): Promise<Heard> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', connection: 'close' });
    response.flushHeaders();
    live.add(response, keys);
    resolve(response);
  });
  const port = await listen(server);
  const socket = connect(port, '127.0.0.1');
  socket.write('GET / HTTP/1.0\r\n\r\n');
  const out = await promise;
  let text = '';
  let hasEnded = false;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    hasEnded = true;
  });
  return {
    socket,
    out,
    hasEnded: () => hasEnded,
    get events() {
      return [...text.matchAll(/^event: (.*)\ndata: (.*)\n$/gm)].map(([, event = '', data = '']): [string, string] => [
        event,
        data,
      ]);
    },
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await closed(server);
    },
  };
}

test('a listener gets a snapshot at once, then what has changed and nothing else', async () => {
  const stop = new AbortController();
  const state = { a: 1, b: 1 };
  let reads = 0;
  const live = new Live({
    ...FAST,
    signal: stop.signal,
    read: async (key) => {
      reads += 1;
      return { [key]: key === 'a' ? state.a : state.b };
    },
  });
  await using heard = await hear(live, 'a', 'b');
  await until('a snapshot', () => heard.events.length === 2);
  state.b = 2;
  await until('the change', () => heard.events.length === 3);
  const before = reads;
  await until('more readings', () => reads > before + 10);
  assert.deepEqual(heard.events, [
    ['a', '{"a":1}'],
    ['b', '{"b":1}'],
    ['b', '{"b":2}'],
  ]);
  stop.abort();
  await until('the end of the stream', heard.hasEnded);
});

test('all listeners share one reading, and without a listener nothing is read', async () => {
  const stop = new AbortController();
  let reads = 0;
  const live = new Live({ ...FAST, signal: stop.signal, read: async () => ({ reads: (reads += 1) }) });
  {
    await using stack = new AsyncDisposableStack();
    const all: Heard[] = [];
    for (let i = 0; i < 50; i += 1) all.push(stack.use(await hear(live, 'a')));
    await until('everybody has news', () => all.every(({ events }) => events.length > 20));
    const frames = all.flatMap(({ events }) => events.map(([, data]) => data));
    // With a reading for each of them no two frames would be the same.
    const different = new Set(frames).size;
    assert.ok(different < frames.length / 10, `${different} of ${frames.length} frames are different`);
    assert.equal(live.listeners, 50);
  }
  await until('all are gone', () => live.listeners === 0);
  const after = reads;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(reads <= after + 1);
  stop.abort();
});

test('who does not read has no queue, and gets the newest when he does', async () => {
  const stop = new AbortController();
  const padding = 'x'.repeat(100_000);
  let version = 0;
  const live = new Live({ ...FAST, signal: stop.signal, read: async () => ({ padding, version: (version += 1) }) });
  await using heard = await hear(live, 'a');
  heard.socket.pause();
  await until('the sockets are full', () => heard.out.writableLength > 256 << 10);
  const atFull = version;
  await until('it was read on', () => version > atFull + 100);
  assert.ok(heard.out.writableLength < (256 << 10) + 2 * 100_100, `${heard.out.writableLength} bytes are waiting`);
  heard.socket.resume();
  const newest = version;
  const versions = (): number[] => heard.events.map(([, data]) => Number(/"version":(\d+)/.exec(data)?.[1]));
  await until('it has caught up', () => (versions().at(-1) ?? 0) > newest);
  assert.ok(versions().length < newest, 'most were dropped');
  assert.deepEqual(
    versions(),
    versions().toSorted((a, b) => a - b),
  );
  stop.abort();
});

test('an outage is told once, and when it is over everything is sent again', async () => {
  const stop = new AbortController();
  let isAway = false;
  let reads = 0;
  const read = async (): Promise<unknown> => {
    reads += 1;
    if (isAway) throw new GantryError('NETWORK', 'no answer');
    return { same: true };
  };
  const live = new Live({ ...FAST, signal: stop.signal, read });
  await using heard = await hear(live, 'a');
  await until('a snapshot', () => heard.events.length === 1);
  isAway = true;
  await until('it is told', () => heard.events.length === 2);
  const during = reads;
  await until('it tries on', () => reads > during + 5);
  await using late = await hear(live, 'a');
  await until('who comes now is told as well', () => late.events.some(([event]) => event === 'away'));
  isAway = false;
  await until('it is back', () => heard.events.length === 3);
  assert.deepEqual(
    heard.events.map(([event, data]) => [event, data]),
    [
      ['a', '{"same":true}'],
      ['away', '{"message":"no answer"}'],
      ['a', '{"same":true}'],
    ],
  );
  stop.abort();
});

test('what cannot be read, though the farm answers, keeps nothing else from being sent', async () => {
  const stop = new AbortController();
  const read = async (key: string): Promise<unknown> => {
    if (key === 'gone') throw new GantryError('NOT_FOUND', 'there is no such run');
    return { key };
  };
  const live = new Live({ ...FAST, signal: stop.signal, read });
  await using heard = await hear(live, 'gone', 'a');
  await until('the other', () => heard.events.length === 2);
  assert.deepEqual(
    heard.events.toSorted(([a], [b]) => (a < b ? -1 : 1)),
    [
      ['a', '{"key":"a"}'],
      ['gone', '{"message":"there is no such run"}'],
    ],
  );
  stop.abort();
});

test('what is gone while somebody listens is told once', async () => {
  const stop = new AbortController();
  let reads = 0;
  const read = async (): Promise<unknown> => {
    reads += 1;
    if (reads > 1) throw new GantryError('NOT_FOUND', 'there is no such run');
    return { id: 'r1' };
  };
  const live = new Live({ ...FAST, signal: stop.signal, read });
  await using heard = await hear(live, 'run r1');
  await until('it is looked for again and again', () => reads > 5);
  assert.deepEqual(heard.events, [
    ['run', '{"id":"r1"}'],
    ['gone', '{"message":"there is no such run"}'],
  ]);
  stop.abort();
});

test('silence is broken by heartbeats, and who comes after the end is sent home', async () => {
  const stop = new AbortController();
  const live = new Live({ everyMs: 60_000, heartbeatMs: 5, signal: stop.signal, read: async () => ({}) });
  await using heard = await hear(live, 'a');
  let beats = 0;
  heard.socket.on('data', (chunk: Buffer) => {
    beats += chunk
      .toString()
      .split('\n')
      .filter((line) => line === ':').length;
  });
  await until('heartbeats', () => beats >= 3);
  stop.abort();
  await until('the end', heard.hasEnded);
  await using late = await hear(live, 'a');
  await until('the end at once', late.hasEnded);
  assert.equal(live.listeners, 0);
});
