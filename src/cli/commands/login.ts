import { addAbortSignal } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Command } from '@commander-js/extra-typings';
import { checkLogin } from '../../app/login.ts';
import { GantryError } from '../../errors.ts';
import { storeCredentials } from '../../registry/login.ts';
import { Secret } from '../../secret.ts';
import { type Cli, configOf } from '../cli.ts';
import { registrySettings, verboseOption, withRegistryOptions } from '../options.ts';
import { askSecret, askText } from '../prompt.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(
    new Command('login')
      .argument('<registry>', 'a registry, such as docker.io or ghcr.io')
      .option('-u, --username <name>', 'the user name')
      .option('--password-stdin', 'read the password from stdin'),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
The credentials are tried, then kept where docker keeps them: config.json, or the helper that it names.

Example:
  pass show ghcr | gantry login ghcr.io -u me --password-stdin`,
    )
    .action(async (registry, flags) => {
      const config = configOf(cli, {});
      const username = flags.username ?? (await askText(cli, 'Username: '));
      const password = new Secret(
        flags.passwordStdin === true ? await fromStdin(cli) : await askSecret(cli, 'Password: '),
      );
      if (password.reveal() === '') throw new GantryError('USAGE', 'the password is empty', { origin: 'user' });
      await checkLogin(config, registrySettings(flags, config, cli), { registry, username, password }, cli);
      const credentials = { kind: 'basic', username, password } as const;
      const place = await storeCredentials(registry, credentials, {
        file: config.loginFile,
        env: config.env,
        signal: cli.signal,
      });
      const where = place.kind === 'file' ? `${place.file} (not encrypted)` : `the helper ${place.helper}`;
      cli.log(`logged in to ${registry}; the credentials are in ${where}`);
    });

/** Without the line break that echo and most password stores add. */
const fromStdin = async (cli: Cli): Promise<string> =>
  (await text(addAbortSignal(cli.signal, cli.stdin))).replace(/\r?\n$/, '');
