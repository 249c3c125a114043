/** Reads containerd's hosts.toml (containerd, docs/hosts.md) and checks all of it; touches no file that it names. */
import { parse, TomlError } from 'smol-toml';
import { GantryError } from '../errors.ts';
import { ALL_CAPABILITIES, type Capability } from './capability.ts';
import { Secret } from '../secret.ts';
import { positionOf } from './toml-position.ts';

/** A header that requests to a host carry. The value may be a token. */
export interface HostHeader {
  readonly name: string;
  readonly value: Secret;
}

/** One host as the file has it. Paths are as written. */
export interface HostTable {
  /** Undefined: the registry itself. */
  readonly url: URL | undefined;
  readonly capabilities: ReadonlySet<Capability>;
  readonly ca: readonly string[];
  /** Certificate and key; the key is in the same file where the second is empty. */
  readonly client: readonly (readonly [string, string])[];
  readonly skipVerify: boolean;
  readonly headers: readonly HostHeader[];
  readonly overridePath: boolean;
  readonly dialTimeoutMs: number | undefined;
  /** May hold a user name and a password. */
  readonly proxy: Secret | undefined;
}

export interface HostsFile {
  /** In the order of the file, which is the order of use. */
  readonly hosts: readonly HostTable[];
  /** Tried after them. */
  readonly server: HostTable;
}

const HOST_KEYS = [
  'capabilities',
  'ca',
  'client',
  'skip_verify',
  'header',
  'override_path',
  'dial_timeout',
  'proxy',
] as const;
const ROOT_KEYS = [...HOST_KEYS, 'server', 'host'] as const;

type Table = Readonly<Record<string, unknown>>;
type Path = readonly string[];

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');

/** @throws GantryError INVALID that names file, line and column */
export function parseHostsToml(text: string, file: string): HostsFile {
  const reader = new HostsReader(text, file);
  const root = reader.root();
  reader.onlyKnown(root, [], ROOT_KEYS);
  const hosts = Object.entries(reader.table(root, [], 'host') ?? {}).map(([name, value]) => {
    const path = ['host', name];
    if (!isTable(value)) throw reader.fail(path, 'a host is a table');
    reader.onlyKnown(value, path, HOST_KEYS);
    return reader.host(value, path, reader.url(name, path));
  });
  const server = root['server'];
  if (server !== undefined && typeof server !== 'string') throw reader.fail(['server'], 'server is a string');
  // containerd takes an empty server for an absent one.
  const url = server === undefined || server === '' ? undefined : reader.url(server, ['server']);
  return { hosts, server: reader.host(root, [], url) };
}

class HostsReader {
  readonly #text: string;
  readonly #file: string;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  fail(path: Path, message: string): GantryError {
    const { line, column } = positionOf(this.#text, path);
    return new GantryError('INVALID', `${this.#file}:${line}:${column}: ${message}`, { origin: 'user' });
  }

  root(): Table {
    try {
      return parse(this.#text, { maxDepth: 32 });
    } catch (err) {
      if (!(err instanceof TomlError)) throw err;
      // The rest of its message quotes the file, where headers with tokens may be; so it is no cause either.
      const [first = ''] = err.message.replace('Invalid TOML document: ', '').split('\n');
      throw new GantryError('INVALID', `${this.#file}:${err.line}:${err.column}: ${first}`, { origin: 'user' });
    }
  }

  onlyKnown(table: Table, path: Path, known: readonly string[]): void {
    for (const key of Object.keys(table)) {
      if (known.includes(key)) continue;
      const near = nearest(key, known);
      const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
      throw this.fail([...path, key], `unknown key ${JSON.stringify(key.slice(0, 80))}; ${hint}`);
    }
  }

  table(parent: Table, path: Path, key: string): Table | undefined {
    const value = parent[key];
    if (value !== undefined && !isTable(value)) throw this.fail([...path, key], `${key} is a table`);
    return value;
  }

  host(table: Table, path: Path, url: URL | undefined): HostTable {
    return {
      url,
      capabilities: this.#capabilities(table['capabilities'], [...path, 'capabilities']),
      ca: this.#ca(table['ca'], [...path, 'ca']),
      client: this.#client(table['client'], [...path, 'client']),
      skipVerify: this.#flag(table, path, 'skip_verify'),
      headers: this.#headers(this.table(table, path, 'header') ?? {}, [...path, 'header']),
      overridePath: this.#flag(table, path, 'override_path'),
      dialTimeoutMs: this.#duration(table['dial_timeout'], [...path, 'dial_timeout']),
      proxy: this.#proxy(table['proxy'], [...path, 'proxy']),
    };
  }

  url(text: string, path: Path): URL {
    // An object of JavaScript moves such keys to the front, and the order is what decides here.
    if (/^\d+$/.test(text)) throw this.fail(path, 'a host is a URL');
    const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
    if (url === null || !/^https?:$/.test(url.protocol)) throw this.fail(path, 'a host is an http or https URL');
    if (url.username !== '' || url.password !== '') {
      throw this.fail(path, 'a host cannot have a user name and password; they are found as for any registry');
    }
    if (url.search !== '' || url.hash !== '') throw this.fail(path, 'a host cannot have a query or fragment');
    return url;
  }

  #flag(table: Table, path: Path, key: string): boolean {
    const value = table[key] ?? false;
    if (typeof value !== 'boolean') throw this.fail([...path, key], `${key} is true or false`);
    return value;
  }

  #capabilities(value: unknown, path: Path): ReadonlySet<Capability> {
    if (value === undefined) return ALL_CAPABILITIES;
    if (!isStrings(value)) throw this.fail(path, 'capabilities is an array of strings');
    const found = new Set<Capability>();
    for (const item of value) {
      const capability = [...ALL_CAPABILITIES].find((known) => known === item.toLowerCase());
      if (capability === undefined) {
        const near = nearest(item, [...ALL_CAPABILITIES]);
        const hint = near === undefined ? 'known are pull, resolve, push' : `did you mean ${near}?`;
        throw this.fail(path, `unknown capability ${JSON.stringify(item.slice(0, 80))}; ${hint}`);
      }
      found.add(capability);
    }
    return found.size === 0 ? ALL_CAPABILITIES : found;
  }

  #ca(value: unknown, path: Path): string[] {
    if (value === undefined) return [];
    const paths = typeof value === 'string' ? [value] : value;
    if (!isStrings(paths) || paths.includes('')) throw this.fail(path, 'ca is a path or an array of paths');
    return paths;
  }

  #client(value: unknown, path: Path): [string, string][] {
    if (value === undefined) return [];
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    return items.map((item) => {
      const [cert, key, ...rest] = isStrings(item) ? item : [item, ''];
      if (typeof cert !== 'string' || cert === '' || typeof key !== 'string' || rest.length > 0) {
        throw this.fail(path, 'client is a path, an array of paths, or an array of [certificate, key] pairs');
      }
      return [cert, key];
    });
  }

  #headers(table: Table, path: Path): HostHeader[] {
    return Object.entries(table).map(([name, value]) => {
      const values = typeof value === 'string' ? [value] : value;
      const at = [...path, name];
      if (!isStrings(values)) throw this.fail(at, 'a header is a string or an array of strings');
      if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw this.fail(at, 'not a name of a header');
      if (/^(?:host|content-length|transfer-encoding|connection|upgrade|expect|te|trailer)$/i.test(name)) {
        throw this.fail(at, `the header ${name} belongs to the connection and cannot be set`);
      }
      if (!values.every((text) => /^[\t\x20-\x7e\u0080-\u00ff]*$/.test(text))) {
        throw this.fail(at, 'the value of a header cannot have line breaks or control characters');
      }
      return { name, value: new Secret(values.join(', ')) };
    });
  }

  #duration(value: unknown, path: Path): number | undefined {
    if (value === undefined || value === '') return undefined;
    const ms = typeof value === 'string' ? goDurationMs(value) : undefined;
    if (ms === undefined) throw this.fail(path, 'dial_timeout is a time such as "500ms", "5s" or "1m30s"');
    return ms;
  }

  #proxy(value: unknown, path: Path): Secret | undefined {
    if (value === undefined || value === '') return undefined;
    const url = typeof value === 'string' ? URL.parse(value) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) throw this.fail(path, 'proxy is an http or https URL');
    if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
      throw this.fail(path, 'a proxy cannot have a path, query or fragment');
    }
    return new Secret(url.href);
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

/** Go's time.ParseDuration, positive ones only. */
function goDurationMs(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text) || text.length > 64) return undefined;
  let total = 0;
  for (const [, count, unit = ''] of text.matchAll(/([\d.]+)([a-zµ]+)/g)) total += Number(count) * (UNIT_MS[unit] ?? 0);
  const ms = Math.ceil(total);
  return ms > 0 && ms < 2 ** 31 ? ms : undefined;
}

/** The known word that differs least, when it differs little. */
function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 40) return undefined;
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate) }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(2, best.candidate.length / 3) ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const substituted = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
