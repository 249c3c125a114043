/**
 * A real registry on the loopback interface whose every misbehaviour can be ordered. Tests speak to it over sockets;
 * nothing of gantry is replaced.
 */
import type { Answer, Asked } from './registry/answer.ts';
import { type AuthOptions, Gatekeeper } from './registry/auth.ts';
import type { Content } from './registry/content.ts';
import type { Faults } from './registry/faults.ts';
import type { Log } from './registry/log.ts';
import { describePath, type ReadOptions, ReadRoutes } from './registry/routes.ts';
import { type ListenOptions, type Named, TestServer } from './registry/server.ts';
import { type Bundle, Repositories } from './registry/storage.ts';

export * as faults from './registry/effects.ts';
export type { Answer, Asked, Cut } from './registry/answer.ts';
export type { AuthOptions, BasicAuth, BearerAuth } from './registry/auth.ts';
export { type Content, filled, inMemory, randomBytesOf, readAll, SyntheticBlob } from './registry/content.ts';
export type { Effect, FaultOrder, Match, OrderedFault } from './registry/faults.ts';
export type { Filter, Kind, LogEntry } from './registry/log.ts';
export { TestOrigin } from './registry/origin.ts';
export type { Bundle } from './registry/storage.ts';

export interface RegistryOptions extends ListenOptions, ReadOptions {
  readonly auth?: AuthOptions;
}

/** The token endpoint on a port of its own; shares log and faults with its registry. */
class TokenServer extends TestServer {
  readonly #gatekeeper: () => Gatekeeper;

  constructor(options: ListenOptions, shared: { log: Log; faults: Faults }, gatekeeper: () => Gatekeeper) {
    super('token', options, shared);
    this.#gatekeeper = gatekeeper;
  }

  async start(): Promise<void> {
    await this.listen();
  }

  protected override describe(url: URL): Named {
    return describePath(url.pathname);
  }

  protected override route(asked: Asked): Answer {
    return this.#gatekeeper().token(asked);
  }
}

export class TestRegistry extends TestServer {
  /** What it holds: `putBlob`, `putManifest`, `tag`, `removeBlob`, `removeManifest`. */
  readonly stored: Repositories;
  readonly auth: Gatekeeper;
  readonly #routes: ReadRoutes;
  readonly #tokens: TokenServer | undefined;

  private constructor(options: RegistryOptions) {
    super('registry', options);
    this.stored = new Repositories();
    this.#routes = new ReadRoutes(this.stored, options);
    const { auth } = options;
    const realm = auth?.scheme === 'bearer' ? auth.realm : undefined;
    this.auth = new Gatekeeper(auth, () => realm ?? `${this.tokenUrl}/token`);
    if (auth?.scheme === 'bearer' && auth.ownPort === true) {
      const { port: _, ...rest } = options;
      this.#tokens = new TokenServer(rest, { log: this.log, faults: this.faults }, () => this.auth);
    }
  }

  static async start(options: RegistryOptions = {}): Promise<TestRegistry> {
    const registry = new TestRegistry(options);
    await registry.listen();
    await registry.#tokens?.start();
    return registry;
  }

  /** The origin of the token server. */
  get tokenUrl(): string {
    return this.#tokens?.url ?? this.url;
  }

  /** Stores an image, and names it unless the tag is undefined. Naming again moves the tag. */
  add(repo: string, tag: string | undefined, bundle: Bundle): void {
    this.stored.add(repo, tag, bundle);
  }

  /** `host:port/repo:tag` or `host:port/repo@digest`. */
  ref(repo: string, object: string): string {
    return `${this.host}/${repo}${object.includes(':') ? '@' : ':'}${object}`;
  }

  /** For `TestOrigin.start({ blobs: registry.blobs })`. */
  readonly blobs = (digest: string): Content | undefined => this.stored.findBlob(digest);

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.#tokens?.[Symbol.asyncDispose]();
    await super[Symbol.asyncDispose]();
  }

  protected override describe(url: URL): Named {
    return describePath(url.pathname);
  }

  protected override authorize(asked: Asked): Answer | undefined {
    return this.auth.check(asked, asked.entry);
  }

  protected override route(asked: Asked): Answer {
    return asked.entry.kind === 'token' ? this.auth.token(asked) : this.#routes.serve(asked);
  }
}
