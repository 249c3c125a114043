/** Configuration: the only reader of the environment. Read once, checked whole, frozen. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { GantryError } from '../errors.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface Config {
  /** The store's directory. */
  readonly store: string;
  /** Where what may be forgotten is kept. */
  readonly cache: string;
  /** URL of the Redis of the farm. */
  readonly redis: string | undefined;
  /** PEM file of CAs to trust for it. */
  readonly redisCa: string | undefined;
  /** URL of a Pushgateway, maybe with user and password. */
  readonly pushgateway: string | undefined;
  readonly staleLockMs: number;
  /** After so long without a sign of life a worker's tickets go to others. */
  readonly lockMs: number;
  /** How often that is looked at. */
  readonly stalledMs: number;
  /** Where docker and containers keep credentials, in the order in which they are looked at. */
  readonly credentialFiles: readonly string[];
  /** Where `login` writes. */
  readonly loginFile: string;
  readonly inlineCredentials: string | undefined;
  /** Directories as containerd's config_path. */
  readonly hostsDirs: readonly string[];
  readonly proxies: {
    readonly http: string | undefined;
    readonly https: string | undefined;
    readonly none: string | undefined;
  };
  /** What credential helpers get. */
  readonly env: Env;
}

/** @throws GantryError USAGE that names every variable that cannot be used */
export function readConfig(all: Env): Config {
  // A variable that is set to nothing is not set, as the XDG specification has it and shells write it.
  const env: Env = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
  const home = env['HOME'] ?? homedir();
  const data = env['XDG_DATA_HOME'] ?? join(home, '.local', 'share');
  const configHome = env['XDG_CONFIG_HOME'] ?? join(home, '.config');
  const dockerFile = join(env['DOCKER_CONFIG'] ?? join(home, '.docker'), 'config.json');
  const runtime = env['XDG_RUNTIME_DIR'];
  const problems: string[] = [];
  const staleLockMs = positive(env, 'GANTRY_STALE_LOCK_MS', 10_000, problems);
  const lockMs = positive(env, 'GANTRY_LOCK_MS', 30_000, problems);
  const stalledMs = positive(env, 'GANTRY_STALLED_MS', 10_000, problems);
  if (problems.length > 0) throw new GantryError('USAGE', problems.join('; '), { origin: 'user' });
  return Object.freeze({
    store: env['GANTRY_STORE'] ?? join(data, 'gantry'),
    cache: join(env['XDG_CACHE_HOME'] ?? join(home, '.cache'), 'gantry'),
    staleLockMs,
    lockMs,
    stalledMs,
    redis: env['GANTRY_REDIS'],
    redisCa: env['GANTRY_REDIS_CA'],
    pushgateway: env['GANTRY_PUSHGATEWAY'],
    credentialFiles: [
      env['REGISTRY_AUTH_FILE'] ?? '',
      dockerFile,
      runtime === undefined ? '' : join(runtime, 'containers', 'auth.json'),
      join(configHome, 'containers', 'auth.json'),
    ].filter((file) => file !== ''),
    loginFile: env['REGISTRY_AUTH_FILE'] ?? dockerFile,
    inlineCredentials: env['DOCKER_AUTH_CONFIG'],
    hostsDirs: (env['GANTRY_HOSTS_DIR'] ?? '/etc/containerd/certs.d:/etc/docker/certs.d')
      .split(':')
      .filter((dir) => dir !== ''),
    proxies: {
      http: env['http_proxy'] ?? env['HTTP_PROXY'],
      https: env['https_proxy'] ?? env['HTTPS_PROXY'],
      none: env['no_proxy'] ?? env['NO_PROXY'],
    },
    env: all,
  });
}

function positive(env: Env, name: string, fallback: number, problems: string[]): number {
  const text = env[name];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  problems.push(`${name} must be a positive number of milliseconds, not ${JSON.stringify(text.slice(0, 40))}`);
  return fallback;
}
