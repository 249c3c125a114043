/** A worker of a farm in this process: wired, told about, and ended in good order. See docs/farm.md. */
import { type CallOptions, sleep } from '../call.ts';
import { messageOf } from '../errors.ts';
import { type Exposition, joined } from '../metrics/exposition.ts';
import { WorkerMetrics } from '../metrics/worker-metrics.ts';
import { RedisBudget } from '../queue/budget.ts';
import { openRedis, type RedisSettings } from '../queue/connection.ts';
import { Keys } from '../queue/keys.ts';
import { RedisPlaces } from '../queue/places.ts';
import { type FarmTimes, FarmWorker } from '../queue/worker.ts';
import { type Checks, addHealth } from '../server/health.ts';
import { createApp, type ListenOptions, startServer } from '../server/http.ts';
import type { Config } from './config.ts';
import { farmHandler } from './farm-handler.ts';
import { Protection } from './protection.ts';
import { publishing } from './publishing.ts';
import { aborted, type Log, oncePerMinute, redisHost, storeState, watchRedis } from './service.ts';
import { gantryVersion } from './version.ts';
import { openStore } from './store.ts';
import { storeSpace } from './store-space.ts';
import { openRegistries, type RegistrySettings, resolversOf } from './wiring.ts';

export interface WorkerSettings {
  readonly redis: RedisSettings;
  /** `maxPerRegistry` also bounds the tickets of one lane, and the blobs on their way to one registry. */
  readonly registries: RegistrySettings;
  /** Tickets at a time, over all lanes. */
  readonly concurrency: number;
  /** The lanes it takes tickets of; all unless given. */
  readonly lanes?: readonly string[];
  readonly metrics: ListenOptions;
  /** Host name and process id unless given. */
  readonly name?: string;
  readonly log: Log;
}

/** Giving tickets back takes a moment; longer means that Redis does not answer. */
const CLOSE_MS = 5_000;
/** The same when it is known to be away. */
const CLOSE_ALONE_MS = 500;
const NAMESPACE = 'gantry';

/**
 * Works until the signal aborts, then gives its tickets back. False when Redis did not answer any more: connections to it are
 * then still waiting, and hold the process.
 * @throws GantryError USAGE, NETWORK, ... when Redis, the store or the port cannot be used
 */
export async function runWorker(config: Config, settings: WorkerSettings, opts: CallOptions): Promise<boolean> {
  const problem = oncePerMinute((line) => {
    if (!opts.signal.aborted) settings.log(`gantry worker: ${line}`); // what breaks while all is taken down tells nothing
  });
  const onError = (err: unknown): void => problem(messageOf(err));
  const version = gantryVersion();
  await using stack = new AsyncDisposableStack();

  const store = openStore(config);
  const target = await store.id();
  const redis = await openRedis(settings.redis, 'worker', opts);
  stack.defer(() => redis.disconnect());
  const host = redisHost(settings.redis.url);
  const redisState = watchRedis(redis, host, problem);

  const metrics = new WorkerMetrics({ version });
  const client = stack.use(
    openRegistries(config, {
      ...settings.registries,
      waitOnRateLimit: false, // the ticket waits in the queue; a slot is for work
      budget: new RedisBudget(redis, NAMESPACE),
      observer: metrics,
    }),
  );
  const places = new RedisPlaces(redis, NAMESPACE);
  const handler = farmHandler({ store, names: store.names, resolver: resolversOf(client), places });

  let worker: FarmWorker | undefined;
  const ready = async (): Promise<Checks> => {
    if (opts.signal.aborted) return { worker: 'stopping' };
    return {
      worker: worker === undefined ? 'starting' : 'ok',
      store: await storeState(store.root),
      redis: await redisState(),
    };
  };
  const space = storeSpace(store);
  const told = async (): Promise<Exposition> => joined(await metrics.text(), await space());
  const server = stack.use(await startServer(settings.metrics, addHealth(createApp(), { metrics: told, ready })));

  const isIdle = async (): Promise<boolean> =>
    worker?.running === 0 && redis.status === 'ready' && (await redis.scard(new Keys(NAMESPACE).open)) === 0;
  const protection = stack.use(await Protection.start({ store, isIdle, onError }));
  const publish = stack.use(publishing(store, onError));

  worker = await FarmWorker.start({
    redis,
    namespace: NAMESPACE,
    handler,
    concurrency: settings.concurrency,
    target,
    times: timesOf(config),
    observer: metrics,
    version,
    onProblem: ({ message, hint }) => problem(hint === undefined ? message : `${message} (${hint})`),
    onRunEnded: () => publish.now(),
    onStep: () => protection.used(),
    ...(settings.registries.maxPerRegistry === undefined
      ? {}
      : { laneConcurrency: settings.registries.maxPerRegistry }),
    ...(settings.lanes === undefined ? {} : { lanes: settings.lanes }),
    ...(settings.name === undefined ? {} : { name: settings.name }),
  });
  const where = `store ${target} at ${store.root}, redis ${host}`;
  settings.log(`worker ${worker.id}: ${where}, metrics on ${server.url}/metrics`);
  await aborted(opts.signal);
  // Awaited here: what it needs is taken down at the end of this function.
  return await close(worker, redis.status === 'ready' ? CLOSE_MS : CLOSE_ALONE_MS, settings.log);
}

async function close(worker: FarmWorker, graceMs: number, log: Log): Promise<boolean> {
  const tickets = worker.running;
  const given = worker.close().then(() => true);
  const inTime = new AbortController();
  const late = sleep(graceMs, inTime.signal).then(() => false);
  late.catch(() => undefined);
  const isDone = await Promise.race([given, late]);
  inTime.abort();
  if (isDone) log(`gantry worker: stopping, gave ${tickets} tickets back`);
  else log(`gantry worker: stopping, redis does not answer: ${tickets} tickets go to others when their locks end`);
  return isDone;
}

/** All that a shorter lock makes wait less: with a lock of 2 s a dead worker is found out about within three. */
const timesOf = ({ lockMs, stalledMs }: Config): FarmTimes => ({
  lockMs,
  leaseMs: lockMs,
  stalledMs,
  sweepMs: stalledMs,
  tickMs: Math.min(1_000, Math.ceil(lockMs / 10)),
});
