/** Options that several commands share, and the parsing of their values. */
import { InvalidArgumentError, Option, type Command, type OptionValues } from '@commander-js/extra-typings';
import type { Config } from '../app/config.ts';
import type { RegistrySettings } from '../app/wiring.ts';
import type { Cli } from './cli.ts';

export const storeOption = (): Option<'--store <dir>'> =>
  new Option('--store <dir>', 'the store (default: $GANTRY_STORE, else gantry in the XDG data directory)');

export const redisOption = (): Option<'--redis <url>'> =>
  new Option('--redis <url>', 'the Redis of the farm, redis:// or rediss:// (default: $GANTRY_REDIS)');

export const redisCaOption = (): Option<'--redis-ca <file>'> =>
  new Option('--redis-ca <file>', 'trust the certificates in this PEM file for it (default: $GANTRY_REDIS_CA)');

/** `docker.io,ghcr.io` */
export const lanesOption = () =>
  new Option(
    '--lanes <list>',
    'only take tickets of these registries, with commas between them (default: all)',
  ).argParser((text) => {
    const lanes = text.split(',').map((lane) => lane.trim());
    if (lanes.every((lane) => /^[\w.-]+(?::\d{1,5})?$/.test(lane))) return lanes;
    throw new InvalidArgumentError('Say registries as references name them, such as docker.io,ghcr.io.');
  });

export function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError('Say a port from 1 to 65535, or 0 for any that is free.');
}

export const verboseOption = (): Option<'-v, --verbose'> =>
  new Option('-v, --verbose', 'tell more: retries, and the causes of errors');

export const quietOption = (what: string): Option<'-q, --quiet'> => new Option('-q, --quiet', what);

export const formatOption = () =>
  new Option('--format <format>', 'how results are printed')
    .choices(['table', 'json', 'jsonl'] as const)
    .default('table' as const);

export const progressOption = () =>
  new Option('--progress <mode>', 'how progress is shown')
    .choices(['auto', 'tty', 'plain', 'json', 'quiet'] as const)
    .default('auto' as const);

/** `64`, `10M`, `1.5GiB`: binary units, as everywhere in gantry. */
export function parseBytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(number === '' ? NaN : number) * 1024 ** ' kmgt'.indexOf(unit.toLowerCase() || ' ');
  if (Number.isFinite(bytes) && bytes >= 1) return Math.floor(bytes);
  throw new InvalidArgumentError('Say a number of bytes, such as 500K or 10M.');
}

/** `24h`, `30m`, `1.5s`, `250ms`, `7d`, in milliseconds. */
export function parseDuration(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  const factor: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  if (number !== undefined) return Math.round(Number(number) * (factor[unit] ?? 1));
  throw new InvalidArgumentError('Say a number and a unit, such as 30s, 10m or 24h.');
}

export const parseCount =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d{1,9}$/.test(text) && value >= least) return value;
    throw new InvalidArgumentError(`Say a whole number from ${least}.`);
  };

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

/** What every command that talks to registries takes. */
export function withRegistryOptions<Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) {
  return command
    .option('--plain-http', 'speak http to registries, without TLS (localhost needs no asking)')
    .option('--insecure', 'do not check certificates')
    .option('--ca-file <file>', 'trust the certificates in this PEM file, too (repeatable)', collect)
    .option(
      '--hosts-dir <dir>',
      "containerd's config_path with hosts.toml files (repeatable; default: $GANTRY_HOSTS_DIR)",
      collect,
    )
    .option('--max-per-registry <n>', 'requests at a time to one registry', parseCount(1), 8)
    .option('--limit-rate <bytes>', 'bytes per second over all transfers, such as 10M', parseBytes)
    .addOption(
      new Option('--connect-timeout <time>', 'how long to wait for a connection')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    )
    .option('--retries <n>', 'how often a request that failed in passing is tried again', parseCount(0), 4);
}

export interface RegistryFlags {
  readonly plainHttp?: true | undefined;
  readonly insecure?: true | undefined;
  readonly caFile?: string[] | undefined;
  readonly hostsDir?: string[] | undefined;
  readonly maxPerRegistry: number;
  readonly limitRate?: number | undefined;
  readonly connectTimeout: number;
  readonly retries: number;
}

export const registrySettings = (flags: RegistryFlags, config: Config, cli: Cli): RegistrySettings => ({
  plainHttp: flags.plainHttp ?? false,
  insecure: flags.insecure ?? false,
  caFiles: flags.caFile ?? [],
  hostsDirs: flags.hostsDir ?? config.hostsDirs,
  maxPerRegistry: flags.maxPerRegistry,
  connectTimeoutMs: flags.connectTimeout,
  retries: flags.retries,
  ...(flags.limitRate === undefined ? {} : { limitRate: flags.limitRate }),
  ...(cli.verbose ? { warn: (message) => cli.log(`gantry: ${message}`) } : {}),
});
