/** What commands that use a farm take, and how they open it. */
import { type Command, type CommandUnknownOpts, Option, type OptionValues } from '@commander-js/extra-typings';
import { type FarmFlags, withFarm } from '../app/farm.ts';
import { GantryError } from '../errors.ts';
import type { Farm } from '../queue/farm.ts';
import { type Cli, configOf } from './cli.ts';
import { redisCaOption, redisOption, verboseOption } from './options.ts';

/** For commands that work on a farm and on nothing else. */
export const withFarmOptions = <Args extends unknown[], Opts extends OptionValues>(command: Command<Args, Opts>) =>
  command.addOption(redisOption()).addOption(redisCaOption()).addOption(verboseOption());

/** For commands that work on a farm only where they are told so. */
export const maybeFarmOption = (what: string): Option<'--redis [url]'> =>
  new Option('--redis [url]', `${what} (without a URL: $GANTRY_REDIS)`);

/** Undefined: no farm is asked for. @throws GantryError USAGE when what follows --redis is something else */
export function farmFlags(flags: { redis?: string | true | undefined; redisCa?: string | undefined }) {
  const { redis, redisCa } = flags;
  if (redis === undefined) return undefined;
  // Not shown: it may be a URL with a password and a slip in it.
  if (redis !== true && !/^rediss?:/.test(redis)) {
    throw new GantryError('USAGE', 'what follows --redis is not the URL of a Redis', {
      origin: 'user',
      hint: 'give redis://HOST:6379; to use $GANTRY_REDIS write --redis behind all other arguments',
    });
  }
  return { redisCa, ...(redis === true ? {} : { redis }) } satisfies FarmFlags;
}

export const onFarm = <T>(cli: Cli, flags: FarmFlags, work: (farm: Farm) => Promise<T>): Promise<T> =>
  withFarm(configOf(cli, {}), flags, cli, work);

/** Options of `names` that the command line itself gives; defaults do not count. */
export const givenOptions = (command: CommandUnknownOpts, names: ReadonlySet<string>): string[] =>
  command.options
    .filter((option) => names.has(option.attributeName()))
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .map(({ long, short }) => long ?? short ?? '');
