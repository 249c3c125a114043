import type { CacheStatus } from './source.ts';

/**
 * RFC 9211, section 2; and for what may be stale the header that older clients know (RFC 7234, section 5.5.1).
 */
export function statusHeaders(status: CacheStatus): Record<string, string> {
  switch (status.kind) {
    case 'hit':
      return { 'cache-status': 'gantry; hit' };
    case 'stored':
      return { 'cache-status': 'gantry; fwd=uri-miss; stored' };
    case 'elsewhere':
      return { 'cache-status': 'gantry; fwd=uri-miss' };
    case 'stale':
      return {
        'cache-status': `gantry; hit; fwd=stale; detail=${quoted(status.why)}`,
        warning: '110 - "Response is Stale"',
      };
  }
}

/** A string of structured fields (RFC 8941, section 3.3.3): printable ASCII. */
const quoted = (text: string): string => `"${text.replaceAll(/[^\x20-\x7e]+/g, ' ').replaceAll(/["\\]/g, '\\$&')}"`;
