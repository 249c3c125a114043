import { randomUUID } from 'node:crypto';
import { type Answer, type Asked, answer, json, ociError } from './answer.ts';
import type { Named } from './server.ts';

interface Challenging {
  /**
   * Edits the challenge: several of them in one header or in many, none (`undefined`), a hostile realm. Gets the honest
   * one.
   */
  readonly challenge?: (honest: string) => string | string[] | undefined;
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
  /** The actions that a user (undefined: anybody) has on a repository. */
  readonly grant?: (repo: string, user: string | undefined) => readonly string[];
}

export type AuthOptions = BasicAuth | BearerAuth;

interface Token {
  readonly access: Map<string, readonly string[]>;
  readonly issuedAt: number;
  usesLeft: number;
  expired: boolean;
}

const basicCredentials = (header: string | undefined): { user: string; password: string } | undefined => {
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
  check({ entry }: Asked, named: Named): Answer | undefined {
    const options = this.#options;
    if (options === undefined || named.kind === 'token') return undefined;
    if (options.scheme === 'basic') {
      if (this.#knows(options.users, basicCredentials(entry.authorization))) return undefined;
      return this.#challenge('Basic realm="test registry"');
    }
    const scope = this.#scopeOf(entry.method, named);
    const state = this.#verify(entry.authorization, options, scope);
    if (state === 'good') return undefined;
    const parts = [`realm="${this.#realm()}"`, `service="${this.#service}"`];
    if (scope !== undefined) parts.push(`scope="${scope}"`);
    if (state !== 'none') parts.push(`error="${state}"`);
    return this.#challenge(`Bearer ${parts.join(',')}`);
  }

  #knows(users: Readonly<Record<string, string>>, given: ReturnType<typeof basicCredentials>): boolean {
    return given !== undefined && Object.hasOwn(users, given.user) && users[given.user] === given.password;
  }

  #scopeOf(method: string, named: Named): string | undefined {
    if (named.kind === 'catalog') return 'registry:catalog:*';
    if (named.repo === undefined) return undefined;
    return `repository:${named.repo}:${method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push'}`;
  }

  #verify(
    header: string | undefined,
    options: BearerAuth,
    scope: string | undefined,
  ): 'good' | 'none' | 'invalid_token' | 'insufficient_scope' {
    if (header === undefined) return 'none';
    const token = this.#tokens.get(header.replace(/^bearer /i, ''));
    if (token === undefined || token.expired || token.usesLeft <= 0) return 'invalid_token';
    if (Date.now() - token.issuedAt > (options.lifetimeMs ?? Infinity)) return 'invalid_token';
    if (scope !== undefined) {
      const [, place, actions] = /^(.*):([^:]*)$/.exec(scope) ?? [];
      const granted = token.access.get(place ?? '') ?? [];
      if (!actions?.split(',').every((action) => granted.includes(action))) return 'insufficient_scope';
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
  token(asked: Asked): Answer {
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

  #issueForPost({ body }: Asked, options: BearerAuth): Answer {
    const form = new URLSearchParams(body.toString());
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
