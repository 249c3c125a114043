/** Which proxy a request goes through, by the rules of curl and Go: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { GantryError } from '../errors.ts';

export interface ProxyConfig {
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  /** Comma-separated: `*`, hosts, `.domain`, `host:port`, addresses, CIDR blocks. */
  readonly none?: string | undefined;
}

/** The proxy for a URL, or undefined for a direct connection. @throws GantryError INVALID for a proxy that is not a URL */
export function proxyFor(url: URL, config: ProxyConfig): URL | undefined {
  const text = url.protocol === 'https:' ? config.https : config.http;
  if (text === undefined || text === '' || isExempt(url, config.none ?? '')) return undefined;
  try {
    const proxy = new URL(text.includes('://') ? text : `http://${text}`);
    if (proxy.protocol === 'http:' || proxy.protocol === 'https:') return proxy;
  } catch {
    // Falls through to the error below, which does not repeat the text: it may hold a password.
  }
  const variable = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  throw new GantryError('INVALID', `${variable} is not the URL of an HTTP proxy`, {
    origin: 'user',
    hint: `set it to http://HOST:PORT, or empty`,
  });
}

function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))) return true;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return list.split(/[\s,]+/).some((entry) => entry !== '' && matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return inBlock(entry, host);
  const [, name = entry, wantedPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) === 6 ? '' : entry) ?? [];
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const bare = (name === '' ? entry : name).replace(/^\[|\]$/g, '').replace(/^\*?\./, '');
  const onlyBelow = /^\*?\./.test(name);
  return (!onlyBelow && host === bare) || (isIP(host) === 0 && host.endsWith(`.${bare}`));
}

function inBlock(entry: string, host: string): boolean {
  const [address = '', bits = ''] = entry.split('/');
  const family = isIP(address);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 6 ? 128 : 32))
    return false;
  const block = new BlockList();
  const kind = family === 6 ? 'ipv6' : 'ipv4';
  block.addSubnet(address, Number(bits), kind);
  return block.check(host, kind);
}
