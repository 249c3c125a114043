/** The same promises on a farm: three workers, one Redis. */
import { randomUUID } from 'node:crypto';
import { after, before } from 'node:test';
import { openRedis } from '../../src/queue/connection.ts';
import { FarmDispatcher } from '../../src/queue/dispatcher.ts';
import { Keys } from '../../src/queue/keys.ts';
import { Lanes } from '../../src/queue/lanes.ts';
import { Tickets } from '../../src/queue/tickets.ts';
import { FarmWorker } from '../../src/queue/worker.ts';
import { TestRedis } from '../support/redis.ts';
import { dispatcherContract } from './dispatcher-suite.ts';

const WORKERS = 3;
let server: TestRedis;

before(async () => {
  server = await TestRedis.start();
});
after(() => server[Symbol.asyncDispose]());

dispatcherContract('farm', async (handler, { concurrency, limits }) => {
  const namespace = `gantry-${randomUUID()}`;
  const { signal } = new AbortController();
  const redis = await openRedis({ url: server.url }, 'worker', { signal });
  const keys = new Keys(namespace);
  const tickets = new Tickets(redis, keys);
  // What a registry is asked for at a time, over all workers, is a matter of its lane.
  await new Lanes(redis, keys, tickets).set('registry.example', { concurrency });
  const options = { redis, namespace, handler, concurrency, attempts: 1, ...(limits === undefined ? {} : { limits }) };
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => FarmWorker.start(options)));
  return {
    dispatcher: new FarmDispatcher({ redis, namespace }),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map((worker) => worker.close()));
      await tickets[Symbol.asyncDispose]();
      redis.disconnect();
    },
  };
});
