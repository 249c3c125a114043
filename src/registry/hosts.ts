/** From a registry to the hosts that serve it, in the order of use: mirrors first, as containerd's hosts.toml says. */
import { X509Certificate } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { BlockList, isIPv4 } from 'node:net';
import { join, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { GantryError } from '../errors.ts';
import { ALL_CAPABILITIES, type Capability } from './capability.ts';
import type { HostHeader, HostTable } from './hosts-toml.ts';
import { canonicalHost, registryName } from './registry-name.ts';
import { Secret } from '../secret.ts';
import { decodeText, ioError, isMissing, readSmallFile } from './small-file.ts';

export type { Capability } from './capability.ts';
export type { HostHeader } from './hosts-toml.ts';

/** For every host, or for some named `host[:port]`. */
export type HostSelection = boolean | ReadonlySet<string>;

/** What is said about one registry beside the files, and goes before them. */
export interface SaidHost {
  /** Where it is, `host[:port]`, when not under its own name. */
  readonly hostname?: string | undefined;
  readonly tls?: 'enabled' | 'insecure' | 'disabled' | undefined;
  /** PEM. */
  readonly ca?: readonly string[];
  readonly client?: readonly ClientCertificate[];
  /** Put in front of the path of every repository. */
  readonly pathPrefix?: string | undefined;
  /** Registries to read from first. */
  readonly mirrors?: readonly string[];
}

export interface HostsConfig {
  /** Directories as containerd's `config_path`: one directory per registry in each. */
  readonly dirs: readonly string[];
  /** Registries that speak plain http where no file says it. */
  readonly plainHttp: HostSelection;
  /** Hosts whose certificates are not checked. */
  readonly insecure: HostSelection;
  /** By registry. */
  readonly said?: ReadonlyMap<string, SaidHost>;
}

export interface ClientCertificate {
  /** PEM. */
  readonly cert: string;
  readonly key: Secret;
}

export interface RegistryHost {
  /** `https://registry-1.docker.io`. */
  readonly origin: string;
  /** What stands before the repository's name: `/v2`, unless overridden. No slash at its end. */
  readonly pathPrefix: string;
  readonly capabilities: ReadonlySet<Capability>;
  /** PEM texts that are trusted beside those of the system. */
  readonly ca: readonly string[];
  readonly client: readonly ClientCertificate[];
  readonly skipVerify: boolean;
  readonly headers: readonly HostHeader[];
  readonly dialTimeoutMs: number | undefined;
  readonly proxy: Secret | undefined;
  /** Not the registry itself: it has to be told which registry is meant, by `?ns=`. */
  readonly isMirror: boolean;
  /** The registry that this serves, as references name it. */
  readonly registry: string;
}

/** The parts of a host that come from files. */
type HostFiles = Pick<RegistryHost, 'ca' | 'client'>;

/**
 * Reads the configuration of one registry. A caller that asks often keeps the answer.
 * @throws GantryError INVALID for a registry or a file that is malformed, IO
 */
export async function readHosts(registry: string, config: HostsConfig): Promise<RegistryHost[]> {
  const name = registryName(registry);
  const said = config.said?.get(name);
  if (said !== undefined) {
    const mirrors = (said.mirrors ?? []).map((mirror) => mirrorOf(name, registryName(mirror), config));
    return [...mirrors, saidHost(name, said, config)];
  }
  const dir = await findDirectory(name, config.dirs);
  const toml = dir === undefined ? undefined : await readSmallFile(join(dir, 'hosts.toml'));
  if (dir === undefined) return [registryItself(name, config, { ca: [], client: [] })];
  // containerd treats an empty file as none.
  if (toml === undefined || toml.length === 0) return [registryItself(name, config, await dockerCerts(dir))];
  const file = join(dir, 'hosts.toml');
  const { parseHostsToml } = await import('./hosts-toml.ts'); // few have one, and its parser takes time to load
  const { hosts, server } = parseHostsToml(decodeText(toml, file), file);
  return Promise.all([...hosts, server].map((table) => fromTable(name, table, dir, config)));
}

/** The names that a registry's directory may have. Windows knows no colon in a file name, hence the first. */
function directoryNames(registry: string): string[] {
  const [, host = '', port] = /^(.*?)(?::(\d+))?$/.exec(registry) ?? [];
  return [...(port === undefined ? [] : [`${host}_${port}_`]), registry, '_default'];
}

async function findDirectory(registry: string, dirs: readonly string[]): Promise<string | undefined> {
  for (const dir of dirs) {
    for (const name of directoryNames(registry)) {
      const path = join(dir, name);
      try {
        if ((await stat(path)).isDirectory()) return path;
      } catch (err) {
        if (!isMissing(err)) throw ioError(`cannot read ${path}`, err);
      }
    }
  }
  return undefined;
}

const selects = (selection: HostSelection, host: string): boolean =>
  typeof selection === 'boolean' ? selection : selection.has(host);

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || (isIPv4(hostname) && loopback.check(hostname, 'ipv4'));

/** Where a registry is when nothing but its name is known. */
function defaultUrl(registry: string, config: HostsConfig, files: HostFiles): URL {
  if (registry === 'docker.io') return new URL('https://registry-1.docker.io');
  const secure = new URL(`https://${registry}`);
  const plain = new URL(`http://${registry}`);
  if (selects(config.plainHttp, registry)) return plain;
  // Whoever lays down certificates, or asks for their check to be left out, means https.
  const wantsTls =
    files.ca.length > 0 || files.client.length > 0 || selects(config.insecure, registry) || registry.endsWith(':443');
  return isLoopback(secure.hostname) && !wantsTls ? plain : secure;
}

const registryItself = (registry: string, config: HostsConfig, files: HostFiles): RegistryHost => ({
  origin: defaultUrl(registry, config, files).origin,
  pathPrefix: '/v2',
  capabilities: ALL_CAPABILITIES,
  ...files,
  skipVerify: selects(config.insecure, registry),
  headers: [],
  dialTimeoutMs: undefined,
  proxy: undefined,
  isMirror: false,
  registry,
});

function saidHost(registry: string, said: SaidHost, config: HostsConfig): RegistryHost {
  const { hostname, tls, ca = [], client = [], pathPrefix } = said;
  const itself = registryItself(registry, config, { ca, client });
  const place = hostname === undefined ? new URL(itself.origin) : new URL(defaultUrl(hostname, config, { ca, client }));
  if (tls !== undefined) place.protocol = tls === 'disabled' ? 'http:' : 'https:';
  return {
    ...itself,
    origin: place.origin,
    skipVerify: itself.skipVerify || tls === 'insecure',
    pathPrefix: pathPrefix === undefined ? '/v2' : `/v2/${pathPrefix}`,
  };
}

/** Another registry that is read from in the place of this one. */
const mirrorOf = (registry: string, mirror: string, config: HostsConfig): RegistryHost => ({
  ...saidHost(mirror, config.said?.get(mirror) ?? {}, config),
  capabilities: new Set<Capability>(['pull', 'resolve']),
  isMirror: true,
  registry,
});

async function fromTable(registry: string, table: HostTable, dir: string, config: HostsConfig): Promise<RegistryHost> {
  const files = await readTableFiles(table, dir);
  const common = {
    capabilities: table.capabilities,
    headers: table.headers,
    dialTimeoutMs: table.dialTimeoutMs,
    proxy: table.proxy,
  };
  if (table.url === undefined) {
    const itself = registryItself(registry, config, files);
    return { ...itself, ...common, skipVerify: itself.skipVerify || table.skipVerify };
  }
  const isMirror = !isSameHost(table.url, registry);
  return {
    ...common,
    ...files,
    // `server = "https://docker.io"` stands in containerd's own example; there is no registry under that name.
    origin: registry === 'docker.io' && !isMirror ? 'https://registry-1.docker.io' : table.url.origin,
    pathPrefix: pathPrefix(table),
    skipVerify:
      table.skipVerify || selects(config.insecure, table.url.host) || (!isMirror && selects(config.insecure, registry)),
    isMirror,
    registry,
  };
}

const isSameHost = (url: URL, registry: string): boolean =>
  canonicalHost(url.host) === registry || new URL(`${url.protocol}//${registry}`).host === url.host;

function pathPrefix({ url, overridePath }: HostTable): string {
  const path = (url?.pathname ?? '').replace(/\/{2,}/g, '/').replace(/\/$/, '');
  return overridePath || path.endsWith('/v2') ? path : `${path}/v2`;
}

async function readTableFiles(table: HostTable, dir: string): Promise<HostFiles> {
  const at = (path: string): string => resolve(dir, path);
  const [ca, client] = await Promise.all([
    Promise.all(table.ca.map((path) => readCa(at(path)))),
    Promise.all(table.client.map(([cert, key]) => readClient(at(cert), at(key === '' ? cert : key)))),
  ]);
  return { ca, client };
}

/** Docker's pattern: *.crt are authorities, *.cert with the *.key of the same name are ours. */
async function dockerCerts(dir: string): Promise<HostFiles> {
  const names = await readdir(dir).catch((err: unknown) => {
    throw ioError(`cannot read ${dir}`, err);
  });
  const ofKind = (extension: string): string[] => names.filter((name) => name.endsWith(extension)).toSorted();
  const [ca, client] = await Promise.all([
    Promise.all(ofKind('.crt').map((name) => readCa(join(dir, name)))),
    Promise.all(ofKind('.cert').map((name) => readClient(join(dir, name), join(dir, name.replace(/\.cert$/, '.key'))))),
  ]);
  return { ca, client };
}

async function readPem(file: string): Promise<string> {
  const bytes = await readSmallFile(file);
  if (bytes === undefined) throw new GantryError('INVALID', `${file}: there is no such file`, { origin: 'user' });
  return decodeText(bytes, file);
}

/** The certificates of a PEM file that may hold a private key beside them, which is not to travel with them. */
const certificatesIn = (pem: string): string =>
  (pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? []).join('\n');

async function readCa(file: string): Promise<string> {
  const pem = certificatesIn(await readPem(file));
  try {
    // TLS ignores an authority that it cannot read, and the failure would only show as "not trusted".
    void new X509Certificate(pem);
  } catch (cause) {
    throw new GantryError('INVALID', `${file}: not a certificate in PEM form`, { origin: 'user', cause });
  }
  return pem;
}

async function readClient(certFile: string, keyFile: string): Promise<ClientCertificate> {
  const [certText, key] = await Promise.all([readPem(certFile), readPem(keyFile)]);
  const cert = certificatesIn(certText);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const what = certFile === keyFile ? certFile : `${certFile} and ${keyFile}`;
    throw new GantryError('INVALID', `${what}: not a client certificate and its key, without a passphrase`, {
      origin: 'user',
      cause,
    });
  }
  return { cert, key: new Secret(key) };
}
