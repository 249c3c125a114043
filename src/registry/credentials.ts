/** Finds the credentials of a registry in the places where docker, podman and skopeo keep them. */
import { createHmac, randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { CallOptions } from '../call.ts';
import {
  covers,
  parseDockerConfig,
  readDockerConfig,
  storageKey,
  type Credentials,
  type ConfigKey,
  type DockerConfig,
} from './docker-config.ts';
import { registryName } from './registry-name.ts';
import type { Secret } from '../secret.ts';
import { SharedCalls } from './shared-calls.ts';

export type { Credentials } from './docker-config.ts';

export type ExplicitCredentials =
  | { readonly username: string; readonly password: Secret }
  | { readonly identityToken: Secret }
  /** The name behind `docker-credential-`. */
  | { readonly helper: string };

/** Where to look, in the order in which it is looked. */
export interface CredentialSources {
  /** By registry, from flags or a file of the user. They are for the whole registry and nothing else is asked. */
  readonly explicit?: ReadonlyMap<string, ExplicitCredentials>;
  /** The JSON of DOCKER_AUTH_CONFIG. */
  readonly inlineConfig?: Secret;
  /** Files in docker's or containers' format. One that does not exist is passed over. */
  readonly files: readonly string[];
  /** The environment of credential helpers, with the PATH they are looked for in. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly helperTimeoutMs?: number;
  /** For how long a file is taken to be unchanged without a look, in milliseconds. */
  readonly fileTtlMs?: number;
  /** Told once about what was passed over although it is configured. */
  readonly warn?: (message: string) => void;
}

const ANONYMOUS: Credentials = { kind: 'anonymous' };

/** Cloud helpers hand out tokens that live for an hour or more; a changed password should not need a new process. */
const HELPER_TTL_MS = 60_000;

interface Candidate {
  readonly key: ConfigKey;
  /** Between entries for the same path: 0 a helper for the host, 1 the common helper, 2 what stands in the file. */
  readonly rank: number;
  readonly find: () => Promise<Credentials | undefined> | Credentials | undefined;
}

/** A run of fifty thousand tags asks as often; the files are looked at again after so long. */
const FILE_TTL_MS = 5_000;

/** A file as it was read, and what told that it has not changed since. */
interface Remembered {
  readonly stamp: string;
  readonly config: DockerConfig | undefined;
  readonly checkedAt: number;
}

export class CredentialLookup {
  // Private fields throughout: a config holds secrets, and inspecting this object must not print it.
  readonly #sources: CredentialSources;
  readonly #helperCalls = new SharedCalls<Credentials | undefined>({ ttlMs: HELPER_TTL_MS });
  readonly #files = new Map<string, Remembered>();
  readonly #warned = new Set<string>();
  #inline: DockerConfig | undefined;

  constructor(sources: CredentialSources) {
    this.#sources = sources;
  }

  /**
   * The credentials for a repository: the most specific entry of the first source that knows the registry.
   * `path` is the repository without the registry, `library/redis`.
   * @throws GantryError INVALID for a broken file, UNAUTHORIZED or TIMEOUT for a helper that fails
   */
  async lookup(registry: string, path: string, opts: CallOptions): Promise<Credentials> {
    const name = registryName(registry);
    const explicit = await this.#explicit(name, opts);
    if (explicit !== undefined) return explicit;
    const inline = this.#inlineConfig();
    const found = inline && (await this.#inConfig(inline, name, path, opts));
    if (found !== undefined) return found;
    for (const file of this.#sources.files) {
      const config = await this.#fileConfig(file);
      const found = config && (await this.#inConfig(config, name, path, opts));
      if (found !== undefined) return found;
    }
    return ANONYMOUS;
  }

  /** After the registry declined what a helper gave: the next lookup asks the helper again. */
  forget(registry: string): void {
    const said = [...(this.#sources.explicit?.values() ?? [])].flatMap((each) => ('helper' in each ? each.helper : []));
    for (const file of [this.#inline, ...[...this.#files.values()].map(({ config }) => config)]) {
      const helpers = [file?.credsStore, ...(file?.credHelpers ?? []).map(({ helper }) => helper), ...said];
      for (const helper of helpers) {
        for (const server of serversOf(registryName(registry))) this.#helperCalls.forget(`${helper} ${server}`);
      }
    }
  }

  async #explicit(registry: string, opts: CallOptions): Promise<Credentials | undefined> {
    for (const [key, said] of this.#sources.explicit ?? []) {
      if (registryName(key) !== registry) continue;
      if ('helper' in said) return (await this.#ask(said.helper, registry, opts)) ?? ANONYMOUS;
      if ('identityToken' in said) return { kind: 'identity-token', token: said.identityToken };
      return { kind: 'basic', ...said };
    }
    return undefined;
  }

  #inlineConfig(): DockerConfig | undefined {
    const { inlineConfig } = this.#sources;
    this.#inline ??= inlineConfig && parseDockerConfig(inlineConfig.reveal(), 'DOCKER_AUTH_CONFIG');
    return this.#inline;
  }

  async #fileConfig(file: string): Promise<DockerConfig | undefined> {
    const known = this.#files.get(file);
    const now = performance.now();
    // A pipe can be read once.
    if (
      known !== undefined &&
      (known.stamp === 'once' || now - known.checkedAt < (this.#sources.fileTtlMs ?? FILE_TTL_MS))
    )
      return known.config;
    const info = await stat(file, { bigint: true }).catch(() => undefined);
    const stamp =
      info === undefined ? 'none' : info.isFile() ? `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}` : 'once';
    // The file itself is opened also where stat fails: only that tells a missing file from one that may not be read.
    const config = stamp === known?.stamp && stamp !== 'none' ? known.config : await readDockerConfig(file);
    this.#files.set(file, { stamp, config, checkedAt: now });
    return config;
  }

  async #inConfig(
    config: DockerConfig,
    registry: string,
    path: string,
    opts: CallOptions,
  ): Promise<Credentials | undefined> {
    const candidates = this.#candidates(config, registry, opts).filter(({ key }) => covers(key, registry, path));
    // Stable, so entries that are equal in both stay in the order of the file.
    candidates.sort(
      (a, b) =>
        b.key.path.length - a.key.path.length ||
        a.rank - b.rank ||
        exactness(a.key, registry) - exactness(b.key, registry),
    );
    for (const { find } of candidates) {
      const found = await find();
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #candidates(config: DockerConfig, registry: string, opts: CallOptions): Candidate[] {
    const candidates: Candidate[] = config.auths.map((entry) => ({ key: entry, rank: 2, find: entry.credentials }));
    const own = config.credHelpers.filter(({ host }) => host === registry);
    for (const key of own) {
      // An empty name is how a host is taken out of credsStore.
      if (key.helper === '') continue;
      candidates.push({ key, rank: 0, find: () => this.#ask(key.helper, registry, opts) });
    }
    const { credsStore } = config;
    if (credsStore !== undefined && !own.some(({ path }) => path === '')) {
      const key = { raw: registry, host: registry, path: '' };
      candidates.push({ key, rank: 1, find: () => this.#askStore(credsStore, config.file, registry, opts) });
    }
    return candidates;
  }

  /**
   * `credsStore` comes along when a configuration is copied from a desktop to a server without its helper. That must
   * not keep anybody from public images, so it is a warning and not an error.
   */
  async #askStore(helper: string, file: string, registry: string, opts: CallOptions): Promise<Credentials | undefined> {
    const { findHelper } = await helpers();
    if ((await findHelper(helper, this.#sources.env)) !== undefined) return this.#ask(helper, registry, opts);
    if (!this.#warned.has(helper)) {
      this.#warned.add(helper);
      this.#sources.warn?.(`${file} names credsStore ${helper}, but there is no docker-credential-${helper} in PATH`);
    }
    return undefined;
  }

  async #ask(helper: string, registry: string, opts: CallOptions): Promise<Credentials | undefined> {
    const { env, helperTimeoutMs: timeoutMs } = this.#sources;
    const { helperGet } = await helpers();
    for (const server of serversOf(registry)) {
      const found = await this.#helperCalls.get(
        `${helper} ${server}`,
        ({ signal }) => helperGet(helper, server, { env, signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) }),
        opts,
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** podman keeps Docker Hub in a helper under its plain name. */
const serversOf = (registry: string): string[] =>
  registry === 'docker.io' ? [storageKey(registry), registry] : [registry];

/** 0 for the spelling that `docker login` writes, 1 for the plain name, 2 for other spellings of the same host. */
const exactness = (key: ConfigKey, registry: string): number =>
  [storageKey(registry), registry, key.raw].indexOf(key.raw);

/**
 * The user name of credentials, for what is counted by user: it may be stored. `token` where there is none, which is
 * not `anonymous`: what anonymous users are refused says nothing about it.
 */
export function userOf(credentials: Credentials): string {
  switch (credentials.kind) {
    case 'anonymous':
      return 'anonymous';
    case 'basic': {
      // Some registries take a token in both places, and then the name is the secret.
      const { username, password } = credentials;
      return username === '' || username === password.reveal() ? 'token' : username;
    }
    case 'identity-token':
      return credentials.username ?? 'token';
    case 'registry-token':
      return 'token';
  }
}

const identityKey = randomBytes(32);

/** A name for credentials that can be part of a cache key: equal for equal ones, and tells nothing about them. */
export function identityOf(credentials: Credentials): string {
  if (credentials.kind === 'anonymous') return 'anonymous';
  const secret = credentials.kind === 'basic' ? credentials.password : credentials.token;
  const username = credentials.kind === 'registry-token' ? '' : (credentials.username ?? '');
  const text = JSON.stringify([credentials.kind, username, secret.reveal()]);
  return createHmac('sha256', identityKey).update(text).digest('base64url');
}

/** Starting programs takes time to load, and most configurations name none. */
const helpers = () => import('./credential-helper.ts');
