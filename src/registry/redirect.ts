import { GantryError } from '../errors.ts';

export const MAX_REDIRECTS = 5;

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export const isRedirect = (status: number): boolean => REDIRECTS.has(status);

/** Where a redirect leads. @throws GantryError MALFORMED, REFUSED for a way that would take content or secrets into the open */
export function nextUrl(from: URL, location: string | undefined, what: string): URL {
  if (location === undefined) throw redirectError('MALFORMED', `a redirect without Location for ${what}`, from);
  const url = URL.parse(location, from.href);
  if (url === null) throw redirectError('MALFORMED', `a redirect to something that is no URL for ${what}`, from);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw redirectError('REFUSED', `a redirect to ${JSON.stringify(url.protocol.slice(0, 40))} for ${what}`, from);
  }
  if (from.protocol === 'https:' && url.protocol === 'http:') {
    throw redirectError('REFUSED', `a redirect from https to http for ${what}`, from);
  }
  url.hash = '';
  return url;
}

export const tooManyRedirects = (from: URL, what: string): GantryError =>
  redirectError('REFUSED', `more than ${MAX_REDIRECTS} redirects for ${what}`, from);

const redirectError = (code: 'REFUSED' | 'MALFORMED', message: string, from: URL): GantryError =>
  new GantryError(code, `${from.host}: ${message}`, { origin: 'source', host: from.host });
