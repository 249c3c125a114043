/** The format that docker's config.json and the auth.json of podman, skopeo and buildah share. */
import type { GantryError } from '../errors.ts';
import { parseJsonTree, type JsonObject, type JsonTree } from './json-tree.ts';
import { canonicalHost } from './registry-name.ts';
import { Secret } from '../secret.ts';
import { decodeText, errorAt, readSmallFile } from './small-file.ts';

export type Credentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'basic'; readonly username: string; readonly password: Secret }
  /** Exchanged for an access token at the token server (OAuth2 refresh token). */
  | { readonly kind: 'identity-token'; readonly username?: string; readonly token: Secret }
  /** Sent to the registry as it stands: `Authorization: Bearer`. */
  | { readonly kind: 'registry-token'; readonly token: Secret };

/** What an entry is for: a whole host, or the repositories below a path of it. */
export interface ConfigKey {
  readonly raw: string;
  readonly host: string;
  /** Empty: the whole host. */
  readonly path: string;
}

export interface AuthEntry extends ConfigKey {
  /** Undefined for the empty entry that docker leaves beside a helper. @throws GantryError INVALID */
  readonly credentials: () => Credentials | undefined;
}

export interface HelperEntry extends ConfigKey {
  /** Empty: no helper for this host, whatever `credsStore` says. */
  readonly helper: string;
}

export interface DockerConfig {
  readonly file: string;
  readonly auths: readonly AuthEntry[];
  readonly credHelpers: readonly HelperEntry[];
  readonly credsStore: string | undefined;
}

/** The address under which `docker login` keeps Docker Hub. */
export const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

/** Where the credentials of a registry are kept: its name, but for Docker Hub. */
export const storageKey = (registry: string): string => (registry === 'docker.io' ? DOCKER_HUB_KEY : registry);

/**
 * docker writes URLs and means their host; containers writes `host/path` and means the path as well
 * (containers-auth.json(5)). `host/v1/` is docker's, from before it wrote schemes.
 */
export function parseConfigKey(raw: string): ConfigKey {
  const [, scheme, host = '', rest = ''] = /^(https?:\/\/)?([^/]*)\/?(.*)$/is.exec(raw) ?? [];
  const path = scheme !== undefined || /^v[12]\/?$/.test(rest) ? '' : rest.replace(/\/+$/, '');
  return { raw, host: canonicalHost(host), path };
}

/** Whether an entry speaks for a repository. */
export const covers = (key: ConfigKey, registry: string, path: string): boolean =>
  key.host === registry && (key.path === '' || path === key.path || path.startsWith(`${key.path}/`));

/** Reads one config object, with errors that name the place and show nothing of what stands there. */
export class ConfigReader {
  readonly #text: string;
  readonly #file: string;
  readonly root: JsonObject;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    // An empty file is what `touch` and a full disk leave; docker takes it for an empty configuration.
    this.root = this.asObject(parseJsonTree(text.trim() === '' ? '{}' : text, file), 'the file');
  }

  fail(node: JsonTree, message: string): GantryError {
    return errorAt(this.#file, this.#text, node.at, message);
  }

  asObject(node: JsonTree, what: string): JsonObject {
    if (node.kind !== 'object') throw this.fail(node, `${what} is not an object`);
    return node;
  }

  /** The entries of a member that is an object; none where it is absent or null. */
  entries(parent: JsonObject, name: string): [string, JsonTree][] {
    const node = parent.members.get(name);
    return node === undefined || isNull(node) ? [] : [...this.asObject(node, name).members];
  }

  /** A member that is a string; undefined where it is absent, null or empty. */
  text(parent: JsonObject, name: string): string | undefined {
    const node = parent.members.get(name);
    if (node === undefined || isNull(node)) return undefined;
    if (node.kind !== 'string') throw this.fail(node, `${name} is not a string`);
    return node.value === '' ? undefined : node.value;
  }

  credentials(entry: JsonObject): Credentials | undefined {
    const registryToken = this.text(entry, 'registrytoken');
    if (registryToken !== undefined) return { kind: 'registry-token', token: new Secret(registryToken) };
    const pair = this.#pair(entry);
    const identityToken = this.text(entry, 'identitytoken');
    if (identityToken !== undefined) return identityCredentials(pair?.username, identityToken);
    return pair && pairCredentials(pair.username, pair.password);
  }

  #pair(entry: JsonObject): { username: string; password: string } | undefined {
    const auth = this.text(entry, 'auth');
    if (auth === undefined) {
      const username = this.text(entry, 'username');
      const password = this.text(entry, 'password');
      return username === undefined && password === undefined
        ? undefined
        : { username: username ?? '', password: password ?? '' };
    }
    const [, username, password] = /^([^:]*):([^]*)$/.exec(decodeBase64(auth) ?? '') ?? [];
    if (username === undefined || password === undefined) {
      throw this.fail(entry.members.get('auth') ?? entry, 'auth is not the base64 of USERNAME:PASSWORD');
    }
    // docker once padded the decoded text with NULs, and strips them to this day.
    return { username, password: password.replace(/^\0+|\0+$/g, '') };
  }
}

const isNull = (node: JsonTree): boolean => node.kind === 'literal' && node.source === 'null';

function decodeBase64(text: string): string | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64'));
  } catch {
    return undefined;
  }
}

function identityCredentials(username: string | undefined, token: string): Credentials {
  const named = username !== undefined && username !== '' && username !== '<token>';
  return { kind: 'identity-token', ...(named ? { username } : {}), token: new Secret(token) };
}

/** What a pair means: nothing, an identity token under the agreed name (docker-credential-helpers), or just itself. */
export function pairCredentials(username: string, password: string): Credentials | undefined {
  if (username === '' && password === '') return undefined;
  if (username === '<token>') return identityCredentials(undefined, password);
  return { kind: 'basic', username, password: new Secret(password) };
}

/** @throws GantryError INVALID that names file, line and column */
export function parseDockerConfig(text: string, file: string): DockerConfig {
  const reader = new ConfigReader(text, file);
  return {
    file,
    auths: reader.entries(reader.root, 'auths').map(([raw, node]) => ({
      ...parseConfigKey(raw),
      // Read when it is asked for: a broken entry must not keep gantry from the others.
      credentials: () => (isNull(node) ? undefined : reader.credentials(reader.asObject(node, 'the entry'))),
    })),
    credHelpers: reader.entries(reader.root, 'credHelpers').map(([raw, node]) => {
      if (node.kind !== 'string') throw reader.fail(node, 'the name of a credential helper is not a string');
      return { ...parseConfigKey(raw), helper: node.value };
    }),
    credsStore: reader.text(reader.root, 'credsStore'),
  };
}

/** Undefined where the file does not exist. */
export async function readDockerConfig(file: string): Promise<DockerConfig | undefined> {
  const bytes = await readSmallFile(file);
  return bytes && parseDockerConfig(decodeText(bytes, file), file);
}
