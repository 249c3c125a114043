/** Writes credentials where `docker login` would: into config.json, or into the helper that it names. */
import { randomBytes } from 'node:crypto';
import { chown, lstat, mkdir, open, readlink, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { sleep, type CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { helperErase, helperStore, type HelperOptions } from './credential-helper.ts';
import { ConfigReader, parseConfigKey, storageKey, type Credentials } from './docker-config.ts';
import { jsonObject, jsonString, printJsonTree, type JsonObject } from './json-tree.ts';
import { registryName } from './registry-name.ts';
import { decodeText, ioError, isMissing, readSmallFile } from './small-file.ts';

export interface LoginOptions extends CallOptions {
  /** docker's config.json or containers' auth.json; need not exist. */
  readonly file: string;
  /** The environment of credential helpers. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly helperTimeoutMs?: number;
}

/** Where credentials went to, or were erased from. */
export type CredentialPlace =
  { readonly kind: 'file'; readonly file: string } | { readonly kind: 'helper'; readonly helper: string };

export type StorableCredentials = Extract<Credentials, { kind: 'basic' | 'identity-token' }>;

const SECRET_MEMBERS = ['auth', 'username', 'password', 'identitytoken', 'registrytoken'];

/** @throws GantryError INVALID for a broken file, UNAUTHORIZED or TIMEOUT for a helper that fails, IO */
export async function storeCredentials(
  registry: string,
  credentials: StorableCredentials,
  opts: LoginOptions,
): Promise<CredentialPlace> {
  const name = registryName(registry);
  const key = storageKey(name);
  if (credentials.kind === 'basic' && credentials.username.includes(':')) {
    throw new GantryError('INVALID', 'a user name cannot have a colon: it is what ends it', { origin: 'user' });
  }
  const { root } = await readConfig(opts.file);
  const helper = helperFor(root, name);
  if (helper !== undefined) {
    const [username, secret] =
      credentials.kind === 'basic' ? [credentials.username, credentials.password] : ['<token>', credentials.token];
    await helperStore(helper, { server: key, username, secret }, helperOptions(opts));
  }
  await update(opts, (root) => {
    // With a helper the entry stays, empty: `docker logout` and others list what there is by it.
    const entry = withoutSecrets(memberObject(memberObject(root, 'auths'), key));
    if (helper === undefined) fill(entry, credentials);
    return true;
  });
  return helper === undefined ? { kind: 'file', file: opts.file } : { kind: 'helper', helper };
}

/** Every place that had credentials for the whole registry; entries for a path of it stay. */
export async function eraseCredentials(registry: string, opts: LoginOptions): Promise<CredentialPlace[]> {
  const name = registryName(registry);
  const places: CredentialPlace[] = [];
  const { root } = await readConfig(opts.file);
  const helper = helperFor(root, name);
  if (helper !== undefined && (await helperErase(helper, storageKey(name), helperOptions(opts)))) {
    places.push({ kind: 'helper', helper });
  }
  if ((await stat(opts.file).catch(() => undefined)) === undefined) return places;
  await update(opts, (root) => {
    const auths = memberObject(root, 'auths').members;
    const keys = [...auths.keys()].filter((raw) => {
      const key = parseConfigKey(raw);
      return key.host === name && key.path === '';
    });
    const hadSecret = keys.some((key) => {
      const entry = auths.get(key);
      return entry?.kind === 'object' && SECRET_MEMBERS.some((member) => entry.members.has(member));
    });
    for (const key of keys) auths.delete(key);
    if (hadSecret) places.push({ kind: 'file', file: opts.file });
    return keys.length > 0;
  });
  return places;
}

const helperOptions = ({ env, signal, helperTimeoutMs: timeoutMs }: LoginOptions): HelperOptions => ({
  env,
  signal,
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
});

/** The file as it is now; an empty object where there is none. */
async function readConfig(file: string): Promise<ConfigReader> {
  const bytes = await readSmallFile(file);
  const reader = new ConfigReader(bytes === undefined ? '' : decodeText(bytes, file), file);
  // What is there has to be understood before a helper is called, not after it.
  for (const name of ['auths', 'credHelpers']) reader.entries(reader.root, name);
  reader.text(reader.root, 'credsStore');
  return reader;
}

function helperFor(root: JsonObject, registry: string): string | undefined {
  const helpers = root.members.get('credHelpers');
  for (const [raw, node] of helpers?.kind === 'object' ? helpers.members : []) {
    const key = parseConfigKey(raw);
    if (key.host === registry && key.path === '' && node.kind === 'string') return node.value || undefined;
  }
  const store = root.members.get('credsStore');
  return store?.kind === 'string' && store.value !== '' ? store.value : undefined;
}

/** A member that is an object, made where it is missing. */
function memberObject(parent: JsonObject, name: string): JsonObject {
  const node = parent.members.get(name);
  if (node?.kind === 'object') return node;
  const made = jsonObject();
  parent.members.set(name, made);
  return made;
}

function withoutSecrets(entry: JsonObject): JsonObject {
  for (const name of SECRET_MEMBERS) entry.members.delete(name);
  return entry;
}

function fill(entry: JsonObject, credentials: StorableCredentials): void {
  const password = credentials.kind === 'basic' ? credentials.password.reveal() : '';
  const pair = Buffer.from(`${credentials.username ?? ''}:${password}`).toString('base64');
  if (credentials.username !== undefined) entry.members.set('auth', jsonString(pair));
  if (credentials.kind === 'identity-token') {
    entry.members.set('identitytoken', jsonString(credentials.token.reveal()));
  }
}

/** Reads, changes and replaces the file, alone among the processes that do it this way. */
async function update(opts: LoginOptions, change: (root: JsonObject) => boolean): Promise<void> {
  const file = await linkTarget(opts.file);
  const dir = dirname(file);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await using _lock = await lock(`${file}.lock`, opts);
    // Once more, now that nobody else writes: what was read before may be old.
    const { root } = await readConfig(file);
    if (change(root)) await replace(file, `${printJsonTree(root)}\n`);
  } catch (err) {
    if (opts.signal.aborted) throw err;
    throw ioError(`cannot write ${file}`, err);
  }
}

/** The file behind a symbolic link: people keep config.json in a repository of dotfiles, and rename would cut it off. */
async function linkTarget(file: string): Promise<string> {
  let target = file;
  for (let hops = 0; hops < 16; hops += 1) {
    const info = await lstat(target).catch(() => undefined);
    if (info?.isSymbolicLink() !== true) return target;
    target = resolve(dirname(target), await readlink(target));
  }
  throw new GantryError('IO', `${file}: too many symbolic links`, { origin: 'user' });
}

async function replace(file: string, text: string): Promise<void> {
  const temp = join(dirname(file), `.${randomBytes(8).toString('hex')}.tmp`);
  try {
    await using handle = await open(temp, 'wx', 0o600);
    await handle.writeFile(text);
    const owner = await stat(file).catch(() => undefined);
    // `sudo gantry login` must not take the file from its user. Where it may not be given, it stays ours.
    if (owner !== undefined) await chown(temp, owner.uid, owner.gid).catch(() => undefined);
    await handle.sync();
    await rename(temp, file);
  } catch (err) {
    await unlink(temp).catch(() => undefined);
    throw err;
  }
}

/** The work under the lock takes milliseconds; a lock this old is of a process that was killed. */
const STALE_LOCK_MS = 10_000;

async function lock(path: string, { signal }: CallOptions): Promise<AsyncDisposable> {
  for (;;) {
    signal.throwIfAborted();
    const handle = await open(path, 'wx', 0o600).catch((err: NodeJS.ErrnoException) => {
      if (err.code === 'EEXIST') return undefined;
      throw err;
    });
    if (handle !== undefined) {
      await handle.close();
      return { [Symbol.asyncDispose]: () => unlink(path).catch(() => undefined) };
    }
    await removeStale(path);
    await sleep(5 + Math.random() * 20, signal);
  }
}

async function removeStale(path: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > STALE_LOCK_MS) await unlink(path);
  } catch (err) {
    if (!isMissing(err)) throw err;
  }
}
