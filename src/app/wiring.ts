/** Puts the parts together. What a command does not use is not made. */
import { readFileSync } from 'node:fs';
import { GantryError } from '../errors.ts';
import { RegistryClient, type RegistryClientOptions } from '../registry/client.ts';
import type { CredentialSources } from '../registry/credentials.ts';
import type { HostsConfig } from '../registry/hosts.ts';
import { Secret } from '../secret.ts';
import type { RequestBudget } from '../remote/budget.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import { ResolverTable } from '../remote/resolvers.ts';
import type { Config } from './config.ts';
import { gantryVersion } from './version.ts';

/** What the command line says about registries. */
export interface RegistrySettings {
  readonly plainHttp?: boolean;
  readonly insecure?: boolean;
  /** What is said about single registries; so are `limits` and `explicit`. */
  readonly hosts?: HostsConfig['said'];
  readonly limits?: RegistryClientOptions['limits'];
  /** Beside the name and version of gantry. */
  readonly userAgent?: string;
  readonly caFiles?: readonly string[];
  readonly hostsDirs?: readonly string[];
  readonly maxPerRegistry?: number;
  readonly limitRate?: number;
  readonly connectTimeoutMs?: number;
  readonly retries?: number;
  /** Whether a rate limit of a registry is waited for, where it is short; true unless said. */
  readonly waitOnRateLimit?: boolean;
  /** A longer Retry-After after a 429 is not believed, in milliseconds; it is unless said. */
  readonly maxQuietMs?: number;
  readonly budget?: RequestBudget;
  readonly observer?: RegistryObserver;
  readonly warn?: (message: string) => void;
  /** Credentials that go before all others, by registry. */
  readonly explicit?: CredentialSources['explicit'];
}

export function openRegistries(config: Config, settings: RegistrySettings): RegistryClient {
  const { inlineCredentials } = config;
  const warn = settings.warn;
  return new RegistryClient({
    userAgent: `gantry/${gantryVersion()}${settings.userAgent === undefined ? '' : ` ${settings.userAgent}`}`,
    credentials: {
      files: config.credentialFiles,
      env: config.env,
      ...(settings.explicit === undefined ? {} : { explicit: settings.explicit }),
      ...(inlineCredentials === undefined ? {} : { inlineConfig: new Secret(inlineCredentials) }),
      ...(warn === undefined ? {} : { warn }),
    },
    hosts: {
      dirs: settings.hostsDirs ?? config.hostsDirs,
      plainHttp: settings.plainHttp ?? false,
      insecure: settings.insecure ?? false,
      ...(settings.hosts === undefined ? {} : { said: settings.hosts }),
    },
    ...(settings.limits === undefined ? {} : { limits: settings.limits }),
    ca: (settings.caFiles ?? []).map(readCa),
    proxies: config.proxies,
    ...(settings.maxPerRegistry === undefined ? {} : { maxPerRegistry: settings.maxPerRegistry }),
    ...(settings.limitRate === undefined ? {} : { limitRate: settings.limitRate }),
    ...(settings.connectTimeoutMs === undefined ? {} : { connectTimeoutMs: settings.connectTimeoutMs }),
    ...(settings.budget === undefined ? {} : { budget: settings.budget }),
    ...(settings.observer === undefined ? {} : { observer: settings.observer }),
    retry: {
      ...(settings.retries === undefined ? {} : { attempts: settings.retries + 1 }),
      ...(settings.waitOnRateLimit === undefined ? {} : { waitOnRateLimit: settings.waitOnRateLimit }),
      ...(settings.maxQuietMs === undefined ? {} : { maxQuietMs: settings.maxQuietMs }),
    },
    ...(warn === undefined
      ? {}
      : { onRetry: (err, delayMs) => warn(`${err.message}; again in ${(delayMs / 1000).toFixed(1)} s`) }),
  });
}

/** Registries are the only kind of remote so far; a program that uses gantry as a library may register others. */
export const resolversOf = (client: RegistryClient): ResolverTable =>
  new ResolverTable().register({ matches: () => true, resolver: client });

function readCa(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (err) {
    throw new GantryError('USAGE', `cannot read the CA file ${file}`, { origin: 'user', cause: err });
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new GantryError('USAGE', `${file} holds no certificate in PEM form`, { origin: 'user' });
}
