import { Command } from '@commander-js/extra-typings';
import { GantryError } from '../../errors.ts';
import { eraseCredentials } from '../../registry/login.ts';
import { type Cli, configOf } from '../cli.ts';
import { verboseOption } from '../options.ts';

export const command = (cli: Cli) =>
  new Command('logout')
    .argument('<registry>', 'a registry, such as docker.io or ghcr.io')
    .addOption(verboseOption())
    .action(async (registry) => {
      const { loginFile: file, env } = configOf(cli, {});
      const places = await eraseCredentials(registry, { file, env, signal: cli.signal });
      if (places.length === 0)
        throw new GantryError('NOT_FOUND', `no credentials for ${registry} in ${file}`, { origin: 'user' });
      cli.log(`removed the credentials for ${registry}`);
    });
