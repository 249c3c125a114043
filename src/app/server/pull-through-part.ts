/** What the server needs to fetch what its store lacks: rules, a client of registries, and a farm where there is one. */
import type { CallOptions } from '../../call.ts';
import { isCode, messageOf } from '../../errors.ts';
import { RedisBudget } from '../../queue/budget.ts';
import { openRedis, type RedisSettings } from '../../queue/connection.ts';
import { Farm } from '../../queue/farm.ts';
import type { RequestBudget } from '../../remote/budget.ts';
import type { RegistryObserver } from '../../remote/observer.ts';
import type { ImageSource } from '../../server/registry/source.ts';
import type { ContentStore } from '../../store/content-store.ts';
import type { Config } from '../config.ts';
import { mirrorSettings } from '../mirror/settings.ts';
import { Protection } from '../protection.ts';
import { publishing } from '../publishing.ts';
import { farmFetch, isAway, noteAway, type RedisAway } from '../pull-through/farm-fetch.ts';
import { Lapsing } from '../pull-through/lapsing.ts';
import { PullThrough } from '../pull-through/pull-through.ts';
import { loadPullThroughFile } from '../pull-through/rules.ts';
import { MAX_QUIET_MS } from '../pull-through/told.ts';
import { type FetchBlob, Transfers } from '../pull-through/transfers.ts';
import { Upstream } from '../pull-through/upstream.ts';
import { openRegistries } from '../wiring.ts';
import type { ServerSettings } from './part.ts';

/** What it is put over. */
export interface PullThroughOn {
  readonly store: ContentStore;
  readonly here: ImageSource;
  /** Told of the requests to registries. */
  readonly observer: RegistryObserver;
}

export interface PullThroughImages extends AsyncDisposable {
  readonly images: ImageSource;
}

/** Blobs of one registry that are followed at a time on a farm, where they are bounded by the lane. */
const MAX_FOLLOWED = 16;
/** Connections to a registry, where nobody says how many, and those of them that blobs leave for what is small and awaited. */
const CONNECTIONS = 8;
const FOR_MANIFESTS = 2;
const MAX_LINES = 1_000;
const MAX_OF_REGISTRY = 250;
const MAX_IN_ALL = 1_000;

/** @throws GantryError INVALID with all that is wrong in the rules, NETWORK when Redis cannot be reached, ... */
export async function openPullThrough(
  config: Config,
  settings: ServerSettings & { readonly pullThrough: string },
  { store, here, observer }: PullThroughOn,
  opts: CallOptions,
): Promise<PullThroughImages> {
  const file = await loadPullThroughFile(settings.pullThrough, config.env);
  const log = oncePerMinute(settings.log);
  const onError = (err: unknown): void => log(`pull-through: ${messageOf(err)}`);
  await using stack = new AsyncDisposableStack();
  const farm = settings.redis === undefined ? undefined : await openFarm(stack, settings.redis, opts);
  const client = stack.use(
    openRegistries(config, {
      ...mirrorSettings({ creds: file.creds, userAgent: undefined }, settings.registries),
      waitOnRateLimit: false, // clients that wait are told, and decide
      maxQuietMs: MAX_QUIET_MS,
      observer,
      ...(farm === undefined ? {} : { budget: farm.budget }),
    }),
  );
  const upstream = new Upstream({ client, store, target: await store.id() });
  const alone: FetchBlob = (node, each) => upstream.fetch(node, each);
  const fetch = farm === undefined ? alone : farmFetch({ farm: farm.farm, away: farm.away, alone, log });
  const connections = settings.registries.maxPerRegistry ?? CONNECTIONS;
  const maxActive = farm === undefined ? Math.max(1, connections - FOR_MANIFESTS) : MAX_FOLLOWED;
  stack.use(publishing(store, onError));
  let images: PullThrough | undefined;
  const isIdle = async (): Promise<boolean> => images?.isIdle === true;
  const protection = stack.use(await Protection.start({ store, isIdle, onError }));
  const transfers = stack.use(
    new Transfers({ store, fetch, maxActive, maxOfRegistry: MAX_OF_REGISTRY, maxInAll: MAX_IN_ALL }),
  );
  images = new PullThrough({
    rules: file.rules,
    here,
    names: store.names,
    ingests: store,
    upstream,
    transfers,
    onUse: () => protection.used(),
    log,
  });
  const owned = stack.move();
  return { images, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The same line at most once a minute. What the lines name is up to clients: no more than so many are remembered. */
function oncePerMinute(log: (line: string) => void): (line: string) => void {
  const recent = new Lapsing<true>(MAX_LINES);
  return (line) => {
    if (recent.get(line) === true) return;
    recent.set(line, true, 60_000);
    log(line);
  };
}

async function openFarm(
  stack: AsyncDisposableStack,
  settings: RedisSettings,
  opts: CallOptions,
): Promise<{ farm: Farm; budget: RequestBudget; away: RedisAway }> {
  const redis = await openRedis(settings, 'command', opts);
  stack.defer(() => redis.disconnect());
  const away = new Lapsing<true>(1);
  return { farm: stack.use(await Farm.open(settings, opts)), budget: lenient(new RedisBudget(redis), away), away };
}

/** A quota holds as long as it can be looked up: clients that wait for an image are not to wait for Redis. */
const lenient = (budget: RequestBudget, away: RedisAway): RequestBudget => ({
  charge: async (registry, identity, opts) => {
    if (isAway(away)) return;
    try {
      await budget.charge(registry, identity, opts);
    } catch (err) {
      if (isCode(err, 'RATE_LIMITED')) throw err;
      if (!opts.signal.aborted) noteAway(away);
    }
  },
  correct: (registry, identity, headers) => budget.correct(registry, identity, headers),
});
