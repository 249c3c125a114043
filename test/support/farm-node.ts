/** A worker of a farm, for tests. Run by itself it is a process that they may kill; its options come as JSON. */
import { once } from 'node:events';
import { farmHandler } from '../../src/app/farm-handler.ts';
import { openRedis, type RedisSettings } from '../../src/queue/connection.ts';
import { RedisBudget } from '../../src/queue/budget.ts';
import { RedisPlaces } from '../../src/queue/places.ts';
import type { Step } from '../../src/queue/ticket-parts.ts';
import { type FarmTimes, FarmWorker } from '../../src/queue/worker.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { ContentStore } from '../../src/store/content-store.ts';

export interface NodeOptions {
  readonly redis: RedisSettings;
  /** The directory of its store. */
  readonly store: string;
  readonly times: FarmTimes;
  readonly concurrency: number;
  /** SIGKILL to itself when it comes to this step, counted over all tickets from 1. */
  readonly dieAt?: { readonly step: Step; readonly nth: number };
}

const { signal } = new AbortController();

function deathAt(wanted: NodeOptions['dieAt']): (step: Step) => void {
  let seen = 0;
  return (step) => {
    if (step !== wanted?.step) return;
    seen += 1;
    if (seen === wanted.nth) process.kill(process.pid, 'SIGKILL');
  };
}

/** A worker that pulls and copies. Disposing it gives everything back. */
export async function startNode(options: NodeOptions): Promise<AsyncDisposable> {
  const { times, concurrency, dieAt } = options;
  await using stack = new AsyncDisposableStack();
  const store = new ContentStore({ root: options.store, staleLockMs: times.leaseMs });
  stack.use(await store.protect({ signal }));
  const redis = stack.adopt(await openRedis(options.redis, 'worker', { signal }), (it) => it.disconnect());
  const resolver = new RegistryClient({
    userAgent: 'gantry/test',
    credentials: { files: [], env: {} },
    hosts: { dirs: [], plainHttp: false, insecure: false },
    retry: { waitOnRateLimit: false },
    budget: new RedisBudget(redis),
  });
  stack.use(
    await FarmWorker.start({
      redis,
      handler: farmHandler({ store, names: store.names, resolver, places: new RedisPlaces(redis) }),
      target: await store.id(),
      concurrency,
      times,
      retryDelayMs: () => 100,
      onProblem: ({ message }) => void process.stderr.write(`${message}\n`),
      onStep: deathAt(dieAt),
    }),
  );
  return stack.move();
}

if (import.meta.main) {
  const options: NodeOptions = JSON.parse(process.argv[2] ?? '');
  const parent = process.ppid;
  const isOrphan = (): boolean => process.ppid !== parent; // a test that is killed ends nobody
  setInterval(() => isOrphan() && process.exit(1), 1_000).unref();
  await using _node = await startNode(options);
  process.stdout.write('ready\n');
  await once(process, 'SIGTERM');
}
