/**
 * Authorization for registry requests (distribution-spec's token authentication, RFC 6750, RFC 7617). Credentials reach the
 * registry that they are configured for and the token server that this registry names, and nobody else.
 */
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { type Challenge, parseChallenges } from '../remote/challenge.ts';
import { answerError } from '../remote/registry-errors.ts';
import { type CredentialLookup, type Credentials, identityOf, userOf } from './credentials.ts';
import type { RegistryHost } from './hosts.ts';
import { Secret } from '../secret.ts';
import { secretsIn } from './secret.ts';
import { SharedCalls } from './shared-calls.ts';
import { type BearerRealm, bearerRealm, isToken, parseToken } from './token-answer.ts';
import type { HttpRequest, HttpResponse, Route, Transport } from './transport.ts';

const MAX_TOKEN_ANSWER_BYTES = 64 << 10;
/** A token is renewed a little before its end, so that it does not run out between us and the registry. */
const MARGIN_MS = 5_000;
const MAX_TOKENS = 4096;
const MAX_ERROR_BODY_BYTES = 8 << 10;

export interface TokensParts {
  readonly transport: Transport;
  readonly credentials: CredentialLookup;
  /** How to connect to a URL that the host named. */
  routeTo(host: RegistryHost, url: URL): Route;
  /** Whether a registry is out in the internet; then it may not name addresses inside. */
  isPublic(host: RegistryHost): Promise<boolean>;
}

/** What a request is for: one repository, some actions. */
export interface AuthTarget {
  readonly host: RegistryHost;
  /** `library/redis`, or empty for requests that concern the whole registry. */
  readonly path: string;
  /** `repository:library/redis:pull`, or empty. */
  readonly scope: string;
}

interface Known {
  readonly header: Secret;
  readonly expiresAt: number;
}

export class Tokens {
  readonly #parts: TokensParts;
  /** Headers that worked or will work, by registry, scope and identity. */
  readonly #known = new Map<string, Known>();
  readonly #flights = new SharedCalls<Known>({ ttlMs: 0 });
  /** What each host asked for last, so that the next repository needs no 401 first. */
  readonly #asked = new Map<string, BearerRealm | 'basic'>();

  constructor(parts: TokensParts) {
    this.#parts = parts;
  }

  /** The header to send before having been asked; undefined when nothing is known to help. */
  async header(target: AuthTarget, opts: CallOptions): Promise<Secret | undefined> {
    const credentials = await this.#credentials(target, opts);
    if (credentials.kind === 'registry-token') return registryToken(credentials.token, target);
    const known = this.#current(cacheKey(target, credentials));
    if (known !== undefined) return known.header;
    const asked = this.#asked.get(target.host.origin);
    if (asked === undefined) return undefined;
    if (asked !== 'basic') return (await this.#token(asked, target, credentials, opts)).header;
    return credentials.kind === 'basic' ? basic(credentials.username, credentials.password) : undefined;
  }

  /**
   * The header that answers a 401. `declined` is what was sent: asking for the same again would only be declined again.
   * @throws GantryError UNAUTHORIZED with a hint, REFUSED for a token server that must not get our credentials
   */
  async answer(
    target: AuthTarget,
    challenge: string | undefined,
    declined: Secret | undefined,
    opts: CallOptions,
  ): Promise<Secret> {
    const credentials = await this.#credentials(target, opts);
    const key = cacheKey(target, credentials);
    const known = this.#current(key);
    // Forty requests meet the end of one token; the first of them has renewed it for all.
    if (known !== undefined && known.header.reveal() !== declined?.reveal()) return known.header;
    this.#known.delete(key);
    const challenges = parseChallenges(challenge ?? '');
    const wantsBearer = challenges.find((each) => each.scheme === 'bearer' && each.params.has('realm'));
    if (wantsBearer !== undefined && credentials.kind !== 'registry-token') {
      const realm = bearerRealm(target.host, wantsBearer);
      this.#asked.set(target.host.origin, realm);
      const scoped = { ...target, scope: wantsBearer.params.get('scope') ?? target.scope };
      const token = await this.#token(realm, scoped, credentials, opts);
      this.#keep(key, token);
      return token.header;
    }
    if (challenges.some((each) => each.scheme === 'basic') && credentials.kind === 'basic') {
      const header = basic(credentials.username, credentials.password);
      this.#asked.set(target.host.origin, 'basic');
      if (declined?.reveal() !== header.reveal()) return header;
    }
    throw unauthorized(target, credentials, challenges);
  }

  /** Forgets what did not work, also what a credential helper gave; answers the error that says so. */
  async declined(target: AuthTarget, challenge: string | undefined, opts: CallOptions): Promise<GantryError> {
    const credentials = await this.#credentials(target, opts);
    this.#known.delete(cacheKey(target, credentials));
    this.#parts.credentials.forget(registryOf(target.host));
    return unauthorized(target, credentials, parseChallenges(challenge ?? ''));
  }

  /** The user whom the host sees: a name that is no secret, `anonymous` or `token`. */
  async user(target: AuthTarget, opts: CallOptions): Promise<string> {
    return userOf(await this.#credentials(target, opts));
  }

  #credentials({ host, path }: AuthTarget, opts: CallOptions): Promise<Credentials> {
    return this.#parts.credentials.lookup(registryOf(host), path, opts);
  }

  #current(key: string): Known | undefined {
    const known = this.#known.get(key);
    return known !== undefined && known.expiresAt > performance.now() ? known : undefined;
  }

  #keep(key: string, known: Known): void {
    this.#known.delete(key);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_TOKENS && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, known);
  }

  async #token(realm: BearerRealm, target: AuthTarget, credentials: Credentials, opts: CallOptions): Promise<Known> {
    const key = cacheKey(target, credentials);
    const flight = `${realm.url.href} ${realm.service} ${key}`;
    const token = await this.#flights.get(flight, (each) => this.#fetchToken(realm, target, credentials, each), opts);
    this.#keep(key, token);
    return token;
  }

  async #fetchToken(
    realm: BearerRealm,
    target: AuthTarget,
    credentials: Credentials,
    opts: CallOptions,
  ): Promise<Known> {
    const sentAt = performance.now();
    const request = await this.#tokenRequest(realm, target, credentials);
    const response = await this.#parts.transport.send(request, opts);
    await using body = response.body;
    if (response.status !== 200) throw await refusal(response, realm, target, credentials);
    const answer = parseToken(await body.bytes(MAX_TOKEN_ANSWER_BYTES, `a token for ${target.host.registry}`), realm);
    const lifetimeMs = answer.lifetimeS * 1000;
    return { header: bearer(answer.token), expiresAt: sentAt + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 10) };
  }

  async #tokenRequest(realm: BearerRealm, target: AuthTarget, credentials: Credentials): Promise<HttpRequest> {
    const { url } = realm;
    const common = {
      route: this.#parts.routeTo(target.host, url),
      publicOnly: url.origin !== target.host.origin && (await this.#parts.isPublic(target.host)),
    };
    const fields = new URLSearchParams();
    if (realm.service !== '') fields.set('service', realm.service);
    for (const scope of target.scope.split(' ').filter((each) => each !== '')) fields.append('scope', scope);
    const headers = { accept: 'application/json' };
    if (credentials.kind === 'identity-token') {
      fields.set('grant_type', 'refresh_token');
      fields.set('refresh_token', credentials.token.reveal());
      fields.set('client_id', 'gantry');
      const form = { ...headers, 'content-type': 'application/x-www-form-urlencoded' };
      return { ...common, method: 'POST', url, headers: form, body: fields.toString() };
    }
    const asked = new URL(url);
    for (const [name, value] of fields) asked.searchParams.append(name, value);
    if (credentials.kind !== 'basic') return { ...common, method: 'GET', url: asked, headers };
    asked.searchParams.set('account', credentials.username);
    const authorization = basic(credentials.username, credentials.password).reveal();
    return { ...common, method: 'GET', url: asked, headers: { ...headers, authorization } };
  }
}

/** A mirror's credentials are those of its own host: what is configured for the registry is not for it. */
export const registryOf = (host: RegistryHost): string => (host.isMirror ? new URL(host.origin).host : host.registry);

async function refusal(
  response: HttpResponse,
  realm: BearerRealm,
  target: AuthTarget,
  credentials: Credentials,
): Promise<GantryError> {
  const { status } = response;
  // Redirects are not followed: they would take the credentials to wherever the answer says.
  if (status >= 300 && status < 400) throw realm.refuse('redirects');
  // 404 and 405 are how older token servers say that they take no identity tokens.
  if ([400, 401, 404, 405].includes(status)) return unauthorized(target, credentials, []);
  return answerError({
    status,
    retryAfter: response.header('retry-after'),
    body: await response.body.head(MAX_ERROR_BODY_BYTES).catch(() => new Uint8Array()),
    host: realm.url.host,
    what: `a token for ${target.host.registry}`,
    secrets: secretsOf(credentials),
  });
}

function unauthorized(target: AuthTarget, credentials: Credentials, challenges: readonly Challenge[]): GantryError {
  const { host } = target;
  const registry = registryOf(host);
  const what = target.path === '' ? registry : `${registry}/${target.path}`;
  const details = {
    origin: 'source',
    status: 401,
    host: new URL(host.origin).host,
    hint: `gantry login ${registry}`,
  } as const;
  if (credentials.kind === 'anonymous') {
    return new GantryError('UNAUTHORIZED', `${what} needs credentials, or does not exist`, details);
  }
  const usable = challenges.length === 0 || challenges.some(({ scheme }) => scheme === 'basic' || scheme === 'bearer');
  const why = usable
    ? `${what}: the credentials were declined`
    : `${what} asks for an authentication that gantry does not know`;
  return new GantryError('UNAUTHORIZED', why, details);
}

const cacheKey = (target: AuthTarget, credentials: Credentials): string =>
  `${target.host.origin} ${target.scope.split(' ').toSorted().join(' ')} ${identityOf(credentials)}`;

const bearer = (token: string): Secret => new Secret(`Bearer ${token}`);

/** A token as a configuration file gives it, line breaks and all. */
function registryToken(token: Secret, { host }: AuthTarget): Secret {
  if (isToken(token.reveal())) return bearer(token.reveal());
  throw new GantryError(
    'INVALID',
    `the registrytoken for ${registryOf(host)} has characters that no header can carry`,
    {
      origin: 'user',
    },
  );
}

const basic = (username: string, password: Secret): Secret =>
  new Secret(`Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}`);

function secretsOf(credentials: Credentials): string[] {
  if (credentials.kind === 'anonymous') return [];
  if (credentials.kind !== 'basic') return [credentials.token.reveal()];
  return secretsIn(basic(credentials.username, credentials.password));
}
