/** Which addresses a registry out there may name, so that it cannot make gantry knock at doors inside. */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, isIPv4, isIPv6, type LookupFunction } from 'node:net';
import { GantryError } from '../errors.ts';

/** What IANA does not list as globally reachable (iana-ipv4-special-registry), and one address that is but should not. */
const NOT_PUBLIC_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Link-local, and with it the metadata service of most clouds.
  ['169.254.0.0', 16],
  // Azure's metadata and agent endpoint stands in the middle of public space.
  ['168.63.129.16', 32],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];

/** Parts of 2000::/3 that are not reachable, or that tunnel to an address which cannot be seen. */
const NOT_PUBLIC_V6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
];

const blocked = new BlockList();
for (const [net, bits] of NOT_PUBLIC_V4) blocked.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of NOT_PUBLIC_V6) blocked.addSubnet(net, bits, 'ipv6');

/** The eight groups of an IPv6 address that net.isIPv6 has accepted. */
function groupsOf(ip: string): number[] {
  const dotted = /(?<=:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
  const hex = (high: string | undefined, low: string | undefined): string =>
    (Number(high) * 256 + Number(low)).toString(16);
  const plain =
    dotted === null ? ip : `${ip.slice(0, dotted.index)}${hex(dotted[1], dotted[2])}:${hex(dotted[3], dotted[4])}`;
  const [left = '', right] = plain.split('::');
  const parse = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const head = parse(left);
  const tail = parse(right ?? '');
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
}

/** The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 and 6to4. */
function embeddedV4(groups: readonly number[]): string | undefined {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups;
  const dotted = (high: number, low: number): string => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  const middleIsZero = c === 0 && d === 0 && e === 0;
  if (a === 0 && b === 0 && middleIsZero && (f === 0 || f === 0xffff)) return dotted(g, h);
  // SIIT writes a mapped address one group further to the left (RFC 2765).
  if (a === 0 && b === 0 && c === 0 && d === 0 && e === 0xffff && f === 0) return dotted(g, h);
  if (a === 0x64 && b === 0xff9b && middleIsZero && f === 0) return dotted(g, h);
  if (a === 0x2002) return dotted(b, c);
  return undefined;
}

/** Whether an IP literal, without brackets, is out in the internet. What is no IP literal is not. */
export function isPublicAddress(ip: string): boolean {
  if (isIPv4(ip)) return !blocked.check(ip, 'ipv4');
  // A zone (`fe80::1%eth0`) names an interface of this machine.
  if (!isIPv6(ip) || ip.includes('%')) return false;
  const groups = groupsOf(ip);
  const embedded = embeddedV4(groups);
  if (embedded !== undefined) return !blocked.check(embedded, 'ipv4');
  const [first = 0] = groups;
  // Global unicast is 2000::/3; everything outside is local, multicast or not assigned.
  return (first & 0xe000) === 0x2000 && !blocked.check(ip, 'ipv6');
}

/**
 * Whether the host of a URL (`url.hostname`) may be public: false for a literal that is not and for localhost. A name
 * that passes has to go through `guardedLookup`. Needed beside it because a socket asks no lookup for a literal.
 */
export function mayBePublicHost(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return isPublicAddress(host);
  return host !== '' && !/^(?:.+\.)?localhost\.?$/.test(host);
}

/**
 * A `lookup` for net.connect and tls.connect that only gives public addresses, and fails with REFUSED where a name has
 * no other. The check stands here, between DNS and the socket, because a name can change its address after any other.
 */
export function guardedLookup(resolve: LookupFunction = dnsLookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (err, found, family) => {
      const addresses: LookupAddress[] =
        typeof found === 'string' ? [{ address: found, family: family ?? isIP(found) }] : found;
      // A failed lookup gives no addresses at all.
      const open = err === null ? addresses.filter(({ address }) => isPublicAddress(address)) : [];
      const [first] = open;
      if (err !== null) callback(err, []);
      else if (first === undefined) callback(refusal(hostname), []);
      else if (options.all === true) callback(null, open);
      else callback(null, first.address, first.family);
    });
  };
}

function refusal(hostname: string): GantryError {
  const host = /^[\w.-]{1,255}$/.test(hostname) ? hostname : 'the host';
  return new GantryError('REFUSED', `${host} has no public address, and a public registry sent us there`, {
    origin: 'source',
    host,
  });
}
