import type { CallOptions } from '../call.ts';
import type { Secret } from '../secret.ts';
import type { Config } from './config.ts';
import { openRegistries, type RegistrySettings } from './wiring.ts';

/** Tries credentials at a registry before they are kept. @throws GantryError UNAUTHORIZED, ... */
export async function checkLogin(
  config: Config,
  settings: RegistrySettings,
  login: { registry: string; username: string; password: Secret },
  opts: CallOptions,
): Promise<void> {
  const { registry, username, password } = login;
  const explicit = new Map([[registry, { username, password }]]);
  await using client = openRegistries(config, { ...settings, explicit });
  await client.ping(registry, opts);
}
