/** A registry, and a server whose store fetches from it what it lacks. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import type { RedisSettings } from '../../src/queue/connection.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { ask, type Asking, type Got } from './ask.ts';
import { NEVER_STALE } from './kills.ts';
import { type Gantry, spawnGantry } from './process.ts';
import { type RegistryOptions, TestRegistry } from './registry.ts';
import { startTestServer } from './server.ts';
import { type TempDir, tempDir } from './temp.ts';

export interface WorldOptions {
  readonly registry?: RegistryOptions;
  /** Of the file; all of the registry unless given. */
  readonly rules?: (registry: TestRegistry) => object;
  readonly redis?: RedisSettings;
  /** The store of a farm. */
  readonly store?: string;
}

/** One for all servers: to compile everything anew would take longer than what most tests do. */
const COMPILE_CACHE = join(tmpdir(), 'gantry-test-compile-cache');

/** What is asked for, as it stands after `/v2/<name>/`. */
export const manifestOf = (object: string): string => `manifests/${object}`;
export const blobOf = ({ digest }: Pick<Descriptor, 'digest'>): string => `blobs/${digest}`;

export class PullThroughWorld implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly store: ContentStore;
  readonly dir: TempDir;
  readonly #options: WorldOptions;
  readonly #stack: AsyncDisposableStack;
  #url = '';
  #log: readonly string[] = [];

  private constructor(registry: TestRegistry, dir: TempDir, options: WorldOptions, stack: AsyncDisposableStack) {
    this.registry = registry;
    this.dir = dir;
    this.store = new ContentStore({ root: options.store ?? dir.join('store') });
    this.#options = options;
    this.#stack = stack;
  }

  /** Without a server; see `serve` and `spawn`. */
  static async start(options: WorldOptions = {}): Promise<PullThroughWorld> {
    await using stack = new AsyncDisposableStack();
    const dir = stack.use(await tempDir('gantry-pull-through-'));
    const registry = stack.use(await TestRegistry.start(options.registry));
    const world = new PullThroughWorld(registry, dir, options, stack.move());
    const rules = options.rules?.(registry) ?? { rules: [{ match: `${registry.host}/**` }] };
    await writeFile(dir.join('rules.yml'), JSON.stringify(rules)); // JSON is YAML
    return world;
  }

  /** With a server in this process. */
  static async serving(options: WorldOptions = {}): Promise<PullThroughWorld> {
    const world = await PullThroughWorld.start(options);
    const server = await startTestServer({
      store: world.store.root,
      pullThrough: world.dir.join('rules.yml'),
      registries: { retries: 1 },
      ...(options.redis === undefined ? {} : { redis: options.redis }),
    });
    world.#stack.use(server);
    world.#url = server.url;
    world.#log = server.log;
    return world;
  }

  /** A server in a process of its own. */
  async spawn(): Promise<Gantry> {
    const args = ['server', '--store', this.store.root, '--pull-through', this.dir.join('rules.yml'), '--port', '0'];
    const { redis } = this.#options;
    const env = { NODE_COMPILE_CACHE: COMPILE_CACHE, ...NEVER_STALE };
    const server = await spawnGantry([...args, ...(redis === undefined ? [] : ['--redis', redis.url])], { env });
    this.#stack.use(server);
    const [, url = ''] = await server.process.waitForOutput(/listens on (http:\S+)/);
    this.#url = url;
    return server;
  }

  /** Of the server that was started last. */
  get url(): string {
    return this.#url;
  }

  /** What the server in this process has logged. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** The name of a repository of the registry, as this server is asked for it. */
  name(repo: string): string {
    return `${this.registry.host.replace(':', '_')}/${repo}`;
  }

  /** Asks for something of a repository of the registry. */
  get(repo: string, what: string, options: Asking = {}): Promise<Got> {
    return ask(`${this.#url}/v2/${this.name(repo)}/${what}`, options);
  }

  /** A blob or manifest, whole and right. */
  async fetched(repo: string, desc: Pick<Descriptor, 'digest' | 'size'>, what = blobOf(desc)): Promise<Got> {
    const got = await this.get(repo, what);
    assert.deepEqual([got.status, got.broken], [200, undefined], got.body.toString('utf8', 0, 300));
    assert.equal(digestOf(got.body), desc.digest);
    return got;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** GETs and HEADs that the registry has seen, one line each: `GET manifest 7`. */
export const askedOf = ({ log }: TestRegistry): string[] =>
  log.entries.map(({ method, kind, object }) => `${method} ${kind} ${object ?? ''}`.trim());
