/** What strangers say about tokens: where a challenge sends us, and what comes back from there. */
import { GantryError } from '../errors.ts';
import type { Challenge } from '../remote/challenge.ts';
import type { RegistryHost } from './hosts.ts';
import { safeUrl } from './redact.ts';

/** When a token server does not say (distribution, token authentication: "expires_in" defaults to 60). */
const DEFAULT_LIFETIME_S = 60;
const MAX_LIFETIME_S = 3600;

export interface BearerRealm {
  readonly url: URL;
  readonly service: string;
  /** The error for a token server that must not get our credentials. */
  refuse(why: string): GantryError;
}

/** @throws GantryError REFUSED for a realm where credentials would be in the open */
export function bearerRealm(host: RegistryHost, challenge: Challenge): BearerRealm {
  const text = challenge.params.get('realm') ?? '';
  const registryUrl = new URL(host.origin);
  const refuse = (why: string): GantryError =>
    new GantryError('REFUSED', `${registryUrl.host} names the token server ${safeUrl(text)}, which ${why}`, {
      origin: 'source',
      host: registryUrl.host,
    });
  const url = URL.parse(text, registryUrl.href);
  if (url === null) throw refuse('is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse('is not http');
  if (registryUrl.protocol === 'https:' && url.protocol !== 'https:') {
    throw refuse('is not https although the registry is: credentials would go out in clear');
  }
  if (url.username !== '' || url.password !== '') throw refuse('holds a user name');
  return { url, service: challenge.params.get('service') ?? '', refuse };
}

/** Visible ASCII only: a token with a line break would write a header of its own. */
export const isToken = (value: unknown): value is string =>
  typeof value === 'string' && /^[\u0021-\u007e]+$/.test(value);

/** @throws GantryError MALFORMED */
export function parseToken(bytes: Uint8Array, realm: BearerRealm): { token: string; lifetimeS: number } {
  const document = parseObject(bytes);
  const token = [document['token'], document['access_token']].find((each) => each !== undefined && each !== '');
  const { host } = realm.url;
  if (!isToken(token))
    throw new GantryError('MALFORMED', `${host} answered without a token`, { origin: 'source', host });
  const lifetime = Number(document['expires_in']);
  return { token, lifetimeS: lifetime > 0 ? Math.min(lifetime, MAX_LIFETIME_S) : DEFAULT_LIFETIME_S };
}

/** Empty for what is no JSON object: the error that follows says all there is to say, and the text may hold a token. */
function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof document === 'object' && document !== null ? { ...document } : {};
  } catch {
    return {};
  }
}
