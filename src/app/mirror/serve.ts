/** Serves a mirror file: its rules run on the farm whenever they are due. See docs/mirror-serve.md. */
import { basename } from 'node:path';
import { type CallOptions, sleep } from '../../call.ts';
import { messageOf } from '../../errors.ts';
import { ServeMetrics } from '../../metrics/serve-metrics.ts';
import type { MirrorFile } from '../../mirror/file/types.ts';
import { openRedis, type RedisSettings } from '../../queue/connection.ts';
import { Farm } from '../../queue/farm.ts';
import { Schedules } from '../../queue/schedules.ts';
import { addHealth } from '../../server/health.ts';
import { createApp, type ListenOptions, startServer } from '../../server/http.ts';
import type { Config } from '../config.ts';
import { readMirrorFile } from '../../mirror/file/read.ts';
import { readTextFile } from '../mirror-file.ts';
import { aborted, type Log, oncePerMinute, redisHost, watchRedis } from '../service.ts';
import { gantryVersion } from '../version.ts';
import { openRegistries, type RegistrySettings } from '../wiring.ts';
import { fileId, ServedFile } from './serve-file.ts';
import { Keeper } from './serve-keeper.ts';
import { Ticks } from './serve-ticks.ts';
import { mirrorConfig, mirrorSettings } from './settings.ts';

export interface ServeSettings {
  readonly path: string;
  /** Tells the schedules of this file from those of another one in the same Redis; its path unless given. */
  readonly name: string | undefined;
  readonly redis: RedisSettings;
  readonly registries: RegistrySettings;
  readonly metrics: ListenOptions;
  readonly log: Log;
  /** Told how the file can be asked to be read again. */
  readonly onReload?: (reload: () => void) => void;
  readonly onWarnings?: (file: MirrorFile) => void;
}

/** How often the file is looked at, and whether all schedules stand. */
const LOOK_EVERY_MS = 60_000;
/** Ticks go back at once; longer means that Redis does not answer. */
const CLOSE_MS = 5_000;

/**
 * Serves until the signal aborts; runs go on without it. False when Redis did not answer any more: connections to it are then still
 * waiting, and hold the process.
 * @throws GantryError INVALID, USAGE, NETWORK, ... when the file, Redis or the port cannot be used
 */
export async function serveMirror(config: Config, settings: ServeSettings, opts: CallOptions): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const log: Log = (line) => settings.log(`mirror: ${line}`);
  const problem = oncePerMinute((line) => {
    if (!opts.signal.aborted) log(line); // what breaks while all is taken down tells nothing
  });
  const load = (): MirrorFile => {
    const parts = { env: config.env, readFile: readTextFile };
    const file = readMirrorFile(readTextFile(settings.path), settings.path, parts);
    settings.onWarnings?.(file);
    return file;
  };
  const open = (file: MirrorFile) =>
    openRegistries(mirrorConfig(file, config), mirrorSettings(file, settings.registries));
  const served = stack.use(new ServedFile({ path: settings.path, load, open }));
  const version = gantryVersion();
  const metrics = new ServeMetrics({ version, mirror: basename(settings.path) });

  const redis = await openRedis(settings.redis, 'worker', opts);
  stack.defer(() => redis.disconnect());
  const redisState = watchRedis(redis, redisHost(settings.redis.url), problem);
  const farm = stack.use(await Farm.open(settings.redis, opts));
  const ready = async () => (opts.signal.aborted ? { mirror: 'stopping' } : { redis: await redisState() });
  const server = stack.use(
    await startServer(settings.metrics, addHealth(createApp(), { metrics: () => metrics.text(), ready })),
  );

  const ticks = new Ticks({ farm, served, metrics, log, problem });
  const onError = (err: unknown): void => problem(messageOf(err));
  const file = fileId(settings.path, settings.name);
  const schedules = Schedules.open({
    redis,
    file,
    onTick: (tick) => ticks.take(tick),
    onError,
    lockMs: config.lockMs,
    stalledMs: config.stalledMs,
  });
  const closing = new Closing(schedules, log);
  stack.use(closing);
  const keeper = new Keeper({ served, schedules, metrics, log });
  await keeper.start();
  schedules.start();
  settings.onReload?.(() => void keeper.reload().catch(onError));
  const timer = setInterval(() => void keeper.look().catch(onError), LOOK_EVERY_MS);
  stack.defer(() => clearInterval(timer));
  log(`${settings.path}: ${served.current.rules.size} rules have a schedule, metrics on ${server.url}/metrics`);
  await aborted(opts.signal);
  return await closing.close();
}

/** Puts ticks back in time, or not at all. */
class Closing implements AsyncDisposable {
  readonly #schedules: Schedules;
  readonly #log: Log;
  #closed: Promise<boolean> | undefined;

  constructor(schedules: Schedules, log: Log) {
    this.#schedules = schedules;
    this.#log = log;
  }

  /** False when Redis does not answer. */
  close(): Promise<boolean> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<boolean> {
    const inTime = new AbortController();
    const late = sleep(CLOSE_MS, inTime.signal).then(() => false);
    late.catch(() => undefined);
    const given = this.#schedules[Symbol.asyncDispose]().then(() => true);
    const isDone = await Promise.race([given, late]);
    inTime.abort();
    if (isDone) this.#log('stopping; runs go on');
    else this.#log('stopping; redis does not answer: what was due goes on when its locks end');
    return isDone;
  }
}
