import { randomUUID } from 'node:crypto';
import { type Answer, type Asked, answer, json, ociError } from './answer.ts';
import type { LogEntry } from './log.ts';

interface Challenging {
  /**
   * Edits the challenge: several of them in one header or in many, none (`undefined`), a hostile realm. Gets the honest
   * one.
   */
  readonly challenge?: (honest: string) => string | string[] | undefined;
  /** The actions that a user (undefined: anybody) has on a repository; all unless given. */
  readonly grant?: (repo: string, user: string | undefined) => readonly string[];
  /** What a token gets that is good, but not for this; 401 with a challenge unless given. With Basic it is always 403. */
  readonly lacking?: 401 | 403;
}

export interface BasicAuth extends Challenging {
  readonly scheme: 'basic';
  /** Name to password. None: 401 for ever. */
  readonly users: Readonly<Record<string, string>>;
}

export interface BearerAuth extends Challenging {
  readonly scheme: 'bearer';
  readonly users?: Readonly<Record<string, string>>;
  /** Identity tokens that POST takes as refresh_token. */
  readonly identityTokens?: readonly string[];
  /** Tokens for everybody. */
  readonly anonymous?: boolean;
  /** Where the challenge sends the client; the test's own. */
  readonly realm?: string;
  readonly service?: string;
  /** The token server listens on a port of its own, so that it is another origin. */
  readonly ownPort?: boolean;
  /** A token is good for so many requests. 0: never, which is 401 for ever. */
  readonly uses?: number;
  readonly lifetimeMs?: number;
  /** What the token answer says; absent unless given. */
  readonly expiresIn?: number;
  readonly field?: 'token' | 'access_token' | 'both';
  /** POST is answered with 404 when false, as older token servers do. */
  readonly post?: boolean;
}

export type AuthOptions = BasicAuth | BearerAuth;

interface Token {
  readonly access: Map<string, readonly string[]>;
  readonly issuedAt: number;
  usesLeft: number;
  expired: boolean;
}

type TokenState = 'good' | 'none' | 'invalid_token' | 'insufficient_scope';

interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** What a request needs, as the scope of a token writes it. */
interface Access {
  readonly type: 'registry' | 'repository';
  readonly name: string;
  readonly actions: readonly string[];
}

const scopeOf = ({ type, name, actions }: Access): string => `${type}:${name}:${actions.join(',')}`;

const ACTIONS: Readonly<Record<string, readonly string[]>> = { GET: ['pull'], HEAD: ['pull'], DELETE: ['delete'] };

/** A mount also reads where the blob comes from. */
function accessFor({ kind, method, repo }: LogEntry, url: URL): Access[] {
  if (kind === 'catalog') return [{ type: 'registry', name: 'catalog', actions: ['*'] }];
  if (repo === undefined) return [];
  const actions = ACTIONS[method] ?? ['pull', 'push'];
  const own: Access = { type: 'repository', name: repo, actions };
  const from = kind === 'mount' ? url.searchParams.get('from') : null;
  return from === null ? [own] : [own, { type: 'repository', name: from, actions: ['pull'] }];
}

const denied = (): Answer => ociError(403, 'DENIED', 'requested access to the resource is denied');

const basicCredentials = (header: string | undefined): Credentials | undefined => {
  const [scheme, encoded] = header?.split(' ') ?? [];
  if (scheme?.toLowerCase() !== 'basic' || encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
};

const ALL_ACTIONS = ['pull', 'push', 'delete', '*'];

/** Decides who may read what, and hands out tokens. */
export class Gatekeeper {
  readonly #options: AuthOptions | undefined;
  readonly #realm: () => string;
  readonly #service: string;
  readonly #tokens = new Map<string, Token>();

  constructor(options: AuthOptions | undefined, realm: () => string) {
    this.#options = options;
    this.#realm = realm;
    this.#service = options?.scheme === 'bearer' ? (options.service ?? 'test-registry') : 'test-registry';
  }

  /** From now on no token that was handed out is good. */
  expireTokens(): void {
    for (const token of this.#tokens.values()) token.expired = true;
  }

  /** How many tokens were handed out. */
  get issued(): number {
    return this.#tokens.size;
  }

  /** Undefined when the request may pass, otherwise what it gets instead. */
  check({ entry, url }: Asked): Answer | undefined {
    const options = this.#options;
    if (options === undefined || entry.kind === 'token') return undefined;
    const wanted = accessFor(entry, url);
    if (options.scheme === 'basic') return this.#checkBasic(options, entry.authorization, wanted);
    const state = this.#verify(entry.authorization, options, wanted);
    if (state === 'good') return undefined;
    if (state === 'insufficient_scope' && options.lacking === 403) return denied();
    return this.#bearerChallenge(wanted, state);
  }

  /** What a request is told that has to bring other credentials. */
  refuse({ entry, url }: Asked): Answer {
    if (this.#options?.scheme !== 'bearer') return this.#challenge('Basic realm="test registry"');
    return this.#bearerChallenge(accessFor(entry, url), 'insufficient_scope');
  }

  #checkBasic(options: BasicAuth, header: string | undefined, wanted: readonly Access[]): Answer | undefined {
    const given = basicCredentials(header);
    if (!this.#knows(options.users, given)) return this.#challenge('Basic realm="test registry"');
    const may = ({ name, actions }: Access): boolean => {
      const granted = options.grant?.(name, given?.user) ?? ALL_ACTIONS;
      return actions.every((action) => granted.includes(action));
    };
    return wanted.every(may) ? undefined : denied();
  }

  #bearerChallenge(wanted: readonly Access[], state: Exclude<TokenState, 'good'>): Answer {
    const parts = [`realm="${this.#realm()}"`, `service="${this.#service}"`];
    if (wanted.length > 0) parts.push(`scope="${wanted.map(scopeOf).join(' ')}"`);
    if (state !== 'none') parts.push(`error="${state}"`);
    return this.#challenge(`Bearer ${parts.join(',')}`);
  }

  #knows(users: Readonly<Record<string, string>>, given: Credentials | undefined): given is Credentials {
    return given !== undefined && Object.hasOwn(users, given.user) && users[given.user] === given.password;
  }

  #verify(header: string | undefined, options: BearerAuth, wanted: readonly Access[]): TokenState {
    if (header === undefined) return 'none';
    const token = this.#tokens.get(header.replace(/^bearer /i, ''));
    if (token === undefined || token.expired || token.usesLeft <= 0) return 'invalid_token';
    if (Date.now() - token.issuedAt > (options.lifetimeMs ?? Infinity)) return 'invalid_token';
    for (const { type, name, actions } of wanted) {
      const granted = token.access.get(`${type}:${name}`) ?? [];
      if (!actions.every((action) => granted.includes(action))) return 'insufficient_scope';
    }
    token.usesLeft -= 1;
    return 'good';
  }

  #challenge(honest: string): Answer {
    const refusal = ociError(401, 'UNAUTHORIZED', 'authentication required');
    const edited = this.#options?.challenge ? this.#options.challenge(honest) : honest;
    if (edited !== undefined) refusal.headers.set('www-authenticate', edited);
    return refusal;
  }

  /** The token endpoint: GET with Basic, or POST with a form. */
  async token(asked: Asked): Promise<Answer> {
    const options = this.#options;
    if (options?.scheme !== 'bearer') return answer(404);
    if (asked.entry.method === 'GET') return this.#issueForGet(asked, options);
    if (asked.entry.method !== 'POST') return answer(405);
    return options.post === false ? answer(404, {}, 'no such page') : this.#issueForPost(asked, options);
  }

  #issueForGet({ entry, url }: Asked, options: BearerAuth): Answer {
    const given = basicCredentials(entry.authorization);
    const anybody = entry.authorization === undefined && options.anonymous === true;
    if (!anybody && !this.#knows(options.users ?? {}, given)) {
      return json(401, { errors: [{ code: 'UNAUTHORIZED', message: 'incorrect username or password' }] });
    }
    const issued = this.#issue(url.searchParams.getAll('scope'), given?.user, options);
    const refresh = url.searchParams.get('offline_token') === 'true' ? options.identityTokens?.[0] : undefined;
    return json(200, refresh === undefined ? issued : { ...issued, refresh_token: refresh });
  }

  async #issueForPost({ body }: Asked, options: BearerAuth): Promise<Answer> {
    const form = new URLSearchParams((await body.all()).toString());
    const user = form.get('username') ?? '';
    const password = form.get('password') ?? '';
    const good =
      form.get('grant_type') === 'refresh_token'
        ? (options.identityTokens ?? []).includes(form.get('refresh_token') ?? '')
        : form.get('grant_type') === 'password' && this.#knows(options.users ?? {}, { user, password });
    if (!good) return json(401, { error: 'invalid_grant' });
    const scopes = form.getAll('scope').flatMap((scope) => scope.split(' '));
    const refresh = options.identityTokens?.[0];
    const issued = this.#issue(scopes, user === '' ? '<token>' : user, options);
    return json(200, refresh === undefined ? issued : { ...issued, refresh_token: refresh });
  }

  #issue(scopes: readonly string[], user: string | undefined, options: BearerAuth): Record<string, unknown> {
    const name = `test-token-${randomUUID()}`;
    const access = new Map<string, readonly string[]>();
    for (const scope of scopes) {
      const [, place = '', actions = ''] = /^(.*):([^:]*)$/.exec(scope) ?? [];
      const repo = place.replace(/^[^:]*:/, '');
      const granted = options.grant?.(repo, user) ?? ALL_ACTIONS;
      access.set(
        place,
        actions.split(',').filter((action) => granted.includes(action)),
      );
    }
    this.#tokens.set(name, { access, issuedAt: Date.now(), usesLeft: options.uses ?? Infinity, expired: false });
    const field = options.field ?? 'both';
    return {
      ...(field === 'access_token' ? {} : { token: name }),
      ...(field === 'token' ? {} : { access_token: name }),
      ...(options.expiresIn === undefined ? {} : { expires_in: options.expiresIn }),
      issued_at: new Date().toISOString(),
    };
  }
}
