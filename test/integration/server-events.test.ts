/** Live events of `gantry server` over a real farm: what they tell, what they cost, how they end. */
import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import type { ZodType } from 'zod';
import { ask } from '../support/ask.ts';
import { TestFarm, until } from '../support/farm.ts';
import { fill } from '../support/farm-images.ts';
import { TestRedis } from '../support/redis.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { problemSchema, runDetailSchema, runsSchema } from '../../src/server/api/schema.ts';

interface Listening extends AsyncDisposable {
  readonly events: readonly (readonly [event: string, data: string])[];
  /** The data of the last event of a name. */
  last(event: string): string | undefined;
  /** How the stream has ended; undefined while it goes on. */
  readonly end: () => 'ended' | 'broken' | undefined;
}

async function listen({ url }: Pick<TestServer, 'url'>, query: string): Promise<Listening> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request(`${url}/api/v1/events?${query}`, { agent: false }, resolve);
  sent.on('error', reject);
  sent.end();
  const response = await promise;
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers['content-type'], 'text/event-stream');
  let text = '';
  let end: 'ended' | 'broken' | undefined;
  response.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  response.on('end', () => {
    end = 'ended';
  });
  response.on('error', () => {
    end = 'broken';
  });
  const events = (): [string, string][] =>
    [...text.matchAll(/^event: (.*)\ndata: (.*)\n$/gm)].map(([, event = '', data = '']) => [event, data]);
  return {
    get events() {
      return events();
    },
    last: (event) => events().findLast(([name]) => name === event)?.[1],
    end: () => end,
    [Symbol.asyncDispose]: async () => void response.destroy(),
  };
}

const read = <T>(schema: ZodType<T>, text: string | undefined): T => schema.parse(JSON.parse(text ?? 'null'));

describe('live events of a farm', () => {
  let stack: AsyncDisposableStack;
  let registry: TestRegistry;
  let farm: TestFarm;
  let server: TestServer;

  before(async () => {
    stack = new AsyncDisposableStack();
    registry = stack.use(await TestRegistry.start());
    farm = stack.use(await TestFarm.start({ workers: 1 }));
    server = stack.use(await startTestServer({ redis: farm.settings, store: farm.store.root }));
  });
  after(() => stack.disposeAsync());

  it('show a run from its start to its end, as the GETs do', async () => {
    const corpus = fill(registry, { images: 5, blobs: 5 });
    const gate = Promise.withResolvers<void>();
    registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(10, gate.promise) });
    const id = await farm.submit(corpus.refs);
    await using heard = await listen(server, `topics=run,runs,lanes,workers,ingests&run=${id}`);
    await until('a snapshot of each', () => new Set(heard.events.map(([event]) => event)).size === 5);
    const first = read(runDetailSchema, heard.last('run'));
    assert.deepEqual([first.id, first.state, first.images.done], [id, 'running', 0]);
    gate.resolve();
    registry.clearFaults();
    await farm.ended(id);
    await until('the end is told', () => read(runDetailSchema, heard.last('run')).state === 'done');
    await until('by all', () => read(runsSchema, heard.last('runs')).runs[0]?.state === 'done');
    for (const [topic, path] of [
      ['run', `/runs/${id}`],
      ['runs', '/runs'],
      ['lanes', '/lanes'],
      ['workers', '/workers'],
      ['ingests', '/ingests'],
    ] as const) {
      const got = async (): Promise<string> => (await server.api('GET', path)).body.toString();
      await until(`${topic} is as its GET`, async () => heard.last(topic) === (await got()));
    }
  });

  it('refuse what they cannot show', async () => {
    const statusOf = async (query: string): Promise<number> =>
      (await ask(`${server.url}/api/v1/events?${query}`)).status;
    for (const query of ['', 'topics=', 'topics=runs,images', 'topics=run', 'topics=run&run=x']) {
      assert.equal(await statusOf(query), 400, query);
    }
    assert.equal(await statusOf('topics=run&run=r0123456789'), 404);
    const head = await ask(`${server.url}/api/v1/events?topics=runs`, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['content-type']], [200, 'text/event-stream']);
  });

  it('cost the farm as much for fifty as for one', async () => {
    await using quiet = await TestRedis.start(); // without workers, which ask all the time
    await using own = await startTestServer({ redis: { url: quiet.url } });
    /** What a reading of runs, and one of lanes or workers, begins with. */
    const asked = async (): Promise<readonly number[]> => {
      const told = await quiet.command('INFO', 'commandstats');
      return ['zrevrange', 'smembers'].map((name) =>
        Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(told)?.[1] ?? 0),
      );
    };
    await using all = new AsyncDisposableStack();
    const heard: Listening[] = [];
    for (let i = 0; i < 50; i += 1) heard.push(all.use(await listen(own, 'topics=runs,lanes,workers,ingests')));
    await until('a snapshot for everybody', () => heard.every(({ events }) => events.length === 4));
    const start = performance.now();
    const before = await asked();
    await until('some readings', async () => ((await asked())[0] ?? 0) >= (before[0] ?? 0) + 3);
    const seconds = (performance.now() - start) / 1000;
    const [runs = 0, sets = 0] = (await asked()).map((calls, i) => calls - (before[i] ?? 0));
    // One reading a second, and a sample of the history now and then: a machine that is busy makes fewer of them, never more.
    assert.ok(runs <= 1.5 * seconds + 2, `${runs} readings of runs in ${seconds} s`);
    assert.ok(sets <= 5 * (seconds + 2), `${sets} readings of sets in ${seconds} s`);
  });

  it('tell of an outage once, and of its end by everything', async () => {
    await using redis = await TestRedis.start({ appendonly: true });
    await using own = await startTestServer({ redis: { url: redis.url } });
    await using heard = await listen(own, 'topics=runs,workers');
    await until('a snapshot', () => heard.events.length === 2);
    await redis.kill();
    await until('away', () => heard.last('away') !== undefined);
    assert.match(heard.last('away') ?? '', /^\{"message":"cannot reach redis at 127\.0\.0\.1:\d+: /);
    const refused = async (method: string, path: string): Promise<void> => {
      const { status, body } = await own.api(method, path);
      assert.equal(status, 503, path);
      assert.equal(problemSchema.parse(JSON.parse(body.toString())).error.code, 'NETWORK');
    };
    const run = '/runs/r0123456789';
    await Promise.all([refused('GET', '/runs'), refused('GET', `${run}/images`), refused('POST', `${run}/cancel`)]);
    await using late = await listen(own, 'topics=runs');
    await until('who comes now hears it, too', () => late.last('away') !== undefined);
    await redis.start();
    await until('everything again', () => heard.events.length === 5);
    assert.deepEqual(heard.events.map(([event]) => event).toSorted(), ['away', 'runs', 'runs', 'workers', 'workers']);
    await until('for the other, too', () => late.last('runs') !== undefined);
  });

  it('end when the server does, and keep it from nothing', async () => {
    await using redis = await TestRedis.start();
    const own = await startTestServer({ redis: { url: redis.url } });
    await using heard = await listen(own, 'topics=runs');
    await until('a snapshot', () => heard.events.length === 1);
    await own[Symbol.asyncDispose]();
    await until('the end', () => heard.end() !== undefined);
    assert.equal(heard.end(), 'ended', 'in good order: a connection that is cut would be tried again at once');
  });
});
