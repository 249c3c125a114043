import type { Secret } from '../secret.ts';

/** What must not be shown of a header's value: all of it, what stands behind the scheme, and the pair that Basic encodes (RFC 7617). */
export function secretsIn(header: Secret): string[] {
  const value = header.reveal();
  const [, scheme = '', credentials = ''] = /^(\S+) +(.+)$/.exec(value) ?? [];
  if (scheme.toLowerCase() !== 'basic') return [value, credentials];
  const pair = Buffer.from(credentials, 'base64').toString();
  return [value, credentials, pair, pair.slice(pair.indexOf(':') + 1)];
}
