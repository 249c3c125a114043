import { GantryError } from '../errors.ts';
import type { HttpResponse } from './transport.ts';

export const isPage = (response: HttpResponse): boolean => /^text\/html\b/i.test(response.header('content-type') ?? '');

/** A login page with status 200, or a body that something on the way has packed: neither can be the content. */
export function refuseDisguises(response: HttpResponse, what: string, mayBePage = false): void {
  const encoding = response.header('content-encoding');
  const isDisguised = !mayBePage && isPage(response);
  if (!isDisguised && (encoding === undefined || encoding === 'identity')) return;
  const found = isDisguised ? 'an HTML page' : `a body with Content-Encoding ${JSON.stringify(encoding?.slice(0, 40))}`;
  throw new GantryError('MALFORMED', `${found} came for ${what}`, {
    origin: 'source',
    hint: 'is there a proxy or a login page in between?',
  });
}
