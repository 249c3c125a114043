/**
 * A real registry on the loopback interface whose every misbehaviour can be ordered. Tests speak to it over sockets;
 * nothing of gantry is replaced.
 */
import { type Answer, answer, type Asked } from './registry/answer.ts';
import { type AuthOptions, Gatekeeper } from './registry/auth.ts';
import type { Content } from './registry/content.ts';
import type { Faults } from './registry/faults.ts';
import type { Log } from './registry/log.ts';
import { type ManifestOptions, ManifestRoutes } from './registry/manifest-routes.ts';
import { describeRequest } from './registry/paths.ts';
import { type ReadOptions, ReadRoutes } from './registry/routes.ts';
import { type ListenOptions, type Named, TestServer } from './registry/server.ts';
import { type Bundle, Repositories } from './registry/storage.ts';
import { type UploadOptions, UploadRoutes } from './registry/upload-routes.ts';
import type { Uploads } from './registry/uploads.ts';

export * as faults from './registry/effects.ts';
export type { Answer, Asked, Cut } from './registry/answer.ts';
export type { AuthOptions, BasicAuth, BearerAuth } from './registry/auth.ts';
export { type Content, filled, inMemory, randomBytesOf, readAll, SyntheticBlob } from './registry/content.ts';
export type { Effect, FaultOrder, Match, OrderedFault } from './registry/faults.ts';
export type { Filter, Kind, LogEntry } from './registry/log.ts';
export { TestOrigin } from './registry/origin.ts';
export type { Bundle } from './registry/storage.ts';

export interface RegistryOptions extends ListenOptions, ReadOptions, UploadOptions, ManifestOptions {
  readonly auth?: AuthOptions;
}

interface SideOptions {
  readonly name: string;
  readonly listen: ListenOptions;
  readonly log: Log;
  readonly faults: Faults;
  readonly route: (asked: Asked) => Answer | Promise<Answer>;
}

/** A part of a registry on a port of its own, so that it is another origin; shares log and faults with its registry. */
class SideServer extends TestServer {
  readonly #route: SideOptions['route'];

  constructor({ name, listen, log, faults, route }: SideOptions) {
    const { port: _, ...rest } = listen;
    super(name, rest, { log, faults });
    this.#route = route;
  }

  async start(): Promise<void> {
    await this.listen();
  }

  protected override describe(url: URL, method: string): Named {
    return describeRequest(url, method);
  }

  protected override route(asked: Asked): Answer | Promise<Answer> {
    return this.#route(asked);
  }
}

export class TestRegistry extends TestServer {
  /** What it holds: `putBlob`, `putManifest`, `tag`, `removeBlob`, `removeManifest`. */
  readonly stored: Repositories;
  readonly auth: Gatekeeper;
  /** The uploads under way. */
  readonly uploads: Uploads;
  readonly #reads: ReadRoutes;
  readonly #blobs: UploadRoutes;
  readonly #manifests: ManifestRoutes;
  readonly #tokens: SideServer | undefined;
  readonly #uploadServer: SideServer | undefined;

  private constructor(options: RegistryOptions) {
    super('registry', options);
    const { auth, location, referrersApi = true } = options;
    const realm = auth?.scheme === 'bearer' ? auth.realm : undefined;
    this.stored = new Repositories();
    this.auth = new Gatekeeper(auth, () => realm ?? `${this.tokenUrl}/token`);
    this.#reads = new ReadRoutes(this.stored, options);
    this.#manifests = new ManifestRoutes(this.stored, options, () => ({
      origin: this.url,
      hasReferrers: referrersApi,
    }));
    const origins = (): { home: string; uploads: string } => ({ home: this.url, uploads: this.uploadUrl });
    const refuse = (asked: Asked): Answer => this.auth.refuse(asked);
    this.#blobs = new UploadRoutes({ stored: this.stored, origins, refuse }, options);
    this.uploads = this.#blobs.uploads;
    const shared = { listen: options, log: this.log, faults: this.faults };
    if (auth?.scheme === 'bearer' && auth.ownPort === true) {
      this.#tokens = new SideServer({ name: 'token', ...shared, route: (asked) => this.auth.token(asked) });
    }
    if (location === 'elsewhere') {
      const route = (asked: Asked): Answer | Promise<Answer> => this.#blobs.serve(asked) ?? answer(404);
      this.#uploadServer = new SideServer({ name: 'uploads', ...shared, route });
    }
  }

  static async start(options: RegistryOptions = {}): Promise<TestRegistry> {
    const registry = new TestRegistry(options);
    await registry.listen();
    await registry.#tokens?.start();
    await registry.#uploadServer?.start();
    return registry;
  }

  /** The origin of the token server. */
  get tokenUrl(): string {
    return this.#tokens?.url ?? this.url;
  }

  /** The origin that uploads are sent to. */
  get uploadUrl(): string {
    return this.#uploadServer?.url ?? this.url;
  }

  /** What clients put before what it refers to, one line each. Tests of clients find none. */
  get violations(): readonly string[] {
    return this.#manifests.violations;
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
    await this.#uploadServer?.[Symbol.asyncDispose]();
    await super[Symbol.asyncDispose]();
  }

  protected override describe(url: URL, method: string): Named {
    return describeRequest(url, method);
  }

  protected override authorize(asked: Asked): Answer | undefined {
    return this.auth.check(asked);
  }

  protected override route(asked: Asked): Answer | Promise<Answer> {
    if (asked.entry.kind === 'token') return this.auth.token(asked);
    return this.#blobs.serve(asked) ?? this.#manifests.serve(asked) ?? this.#reads.serve(asked);
  }

  protected override async skip(asked: Asked): Promise<Answer> {
    const { kind } = asked.entry;
    // What comes too early is a fault of the client, however it is answered.
    if (kind === 'put-manifest' || kind === 'put-tag') await this.#manifests.check(asked);
    return super.skip(asked);
  }
}
