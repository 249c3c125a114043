/** Requests to registries: which host, how many at a time, what to try again. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { asGantryError, GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseRepository, type Reference } from '../oci/reference.ts';
import type { RequestBudget } from '../remote/budget.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import { aboutContent } from '../remote/registry-errors.ts';
import type { ContentKind, Fetcher, RepositoryLists, ResolveOptions, Resolved, Resolver } from '../remote/ports.ts';
import { BlobFetch } from './blob-fetch.ts';
import type { RegistryHabits } from './blob-push.ts';
import { DEFAULT_STALL_LIMITS, type StallLimits } from './body.ts';
import { listCatalog } from './catalog.ts';
import type { CredentialSources } from './credentials.ts';
import { refuseDisguises } from './disguise.ts';
import { Gate } from './gate.ts';
import { HostRequests } from './host-requests.ts';
import { type Capability, type HostsConfig, readHosts, type RegistryHost } from './hosts.ts';
import { KeptManifests, streamOf } from './kept-manifests.ts';
import type { ProxyConfig } from './proxy.ts';
import { RegistryPusher } from './pusher.ts';
import { RateLimit } from './rate-limit.ts';
import type { PlaceHolder, RegistryRequest, RegistryRequests, RegistryResponse } from './requests.ts';
import { AttachedLists } from './referrers.ts';
import { resolveReference } from './resolve.ts';
import { DEFAULT_RETRY, type OnRetry, patienceMs, retrying, type RetryConfig } from './retry.ts';
import { listTags } from './tags.ts';
import { type HttpResponse, Transport, type TransportOptions } from './transport.ts';

export interface RegistryLimits {
  /** Simultaneous requests. */
  readonly concurrent?: number | undefined;
  readonly perSecond?: number | undefined;
}

export interface RegistryClientOptions {
  readonly userAgent: string;
  readonly credentials: CredentialSources;
  readonly hosts: HostsConfig;
  /** PEM of CAs to trust beside those of the system, for every registry. */
  readonly ca?: readonly string[];
  readonly proxies?: ProxyConfig;
  /** Simultaneous requests to one registry. */
  readonly maxPerRegistry?: number;
  /** What holds for single registries, by name. */
  readonly limits?: ReadonlyMap<string, RegistryLimits>;
  /** Bytes per second over all transfers. */
  readonly limitRate?: number;
  readonly connectTimeoutMs?: number;
  readonly headersTimeoutMs?: number;
  readonly retry?: Partial<RetryConfig>;
  readonly stall?: Partial<StallLimits>;
  readonly lookup?: TransportOptions['lookup'];
  /** Told before a request is tried again. */
  readonly onRetry?: OnRetry;
  /**
   * Charged before each GET of a manifest, every try anew. A registry goes by its own name, and so does a mirror: what
   * it answers is not counted against the registry.
   */
  readonly budget?: RequestBudget;
  readonly observer?: RegistryObserver;
}

/** Tries of a host that has another one behind it: waiting out a mirror's trouble would cost more than passing it by. */
const MIRROR_ATTEMPTS = 2;

/** What is done with a response while its host can still be asked again. */
type Finish<T> = (response: RegistryResponse) => Promise<T>;

export class RegistryClient implements Resolver, RegistryRequests, PlaceHolder, AsyncDisposable {
  readonly #options: RegistryClientOptions;
  readonly #transport: Transport;
  readonly #requests: HostRequests;
  readonly #retry: RetryConfig;
  readonly #rateLimit: RateLimit | undefined;
  readonly #hosts = new Map<string, Promise<RegistryHost[]>>();
  readonly #gates = new Map<string, Gate>();
  readonly #kept = new KeptManifests();
  readonly #attached = new AttachedLists({ client: this, kept: this.#kept });
  readonly #pushers = new Map<string, RegistryPusher>();
  readonly #habits = new Map<string, RegistryHabits>();

  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#retry = { ...DEFAULT_RETRY, ...options.retry };
    this.#rateLimit = options.limitRate === undefined ? undefined : new RateLimit(options.limitRate);
    this.#transport = new Transport({
      userAgent: options.userAgent,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      headersTimeoutMs: options.headersTimeoutMs ?? 30_000,
      stall: { ...DEFAULT_STALL_LIMITS, ...options.stall },
      proxies: options.proxies ?? {},
      ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
    });
    const { credentials, ca = [], budget, observer } = options;
    this.#requests = new HostRequests({ transport: this.#transport, credentials, ca, budget, observer });
  }

  /** @throws GantryError NOT_FOUND, UNAUTHORIZED, ... */
  resolve(ref: Reference, opts: ResolveOptions): Promise<Resolved> {
    return resolveReference({ client: this, kept: this.#kept }, ref, opts);
  }

  fetcher(repository: string): Fetcher {
    const common = { client: this, repository, retry: this.#retry, rateLimit: this.#rateLimit };
    return {
      fetch: async (kind: ContentKind, desc: Descriptor, opts: OpenOptions): Promise<ByteStream> => {
        const kept = kind === 'manifest' ? this.#kept.take(repository, desc.digest) : undefined;
        if (kept !== undefined) return streamOf(kept.subarray(opts.offset ?? 0));
        const onRetry = this.#onRetry(parseRepository(repository).registry);
        return BlobFetch.open({ ...common, onRetry, kind, desc }, opts);
      },
    };
  }

  pusher(repository: string): RegistryPusher {
    const known = this.#pushers.get(repository);
    if (known !== undefined) return known;
    const { registry } = parseRepository(repository);
    const habits = this.#habits.get(registry) ?? { chunkBytes: undefined };
    this.#habits.set(registry, habits);
    const onRetry = this.#onRetry(registry);
    const pusher = new RegistryPusher({ client: this, repository, retry: this.#retry, onRetry, habits });
    this.#pushers.set(repository, pusher);
    return pusher;
  }

  /** What can be listed of a repository; what two of them are told about a registry they share. */
  lists(repository: string): RepositoryLists {
    return this.#attached.of(repository);
  }

  /** All tags of a repository, page by page. */
  tags(repository: string, opts: CallOptions): AsyncIterable<string[]> {
    return this.#attached.tags(repository, opts);
  }

  /** The same as the registry itself has it: a mirror may know a part, or the past. */
  ownTags(repository: string, opts: CallOptions): AsyncIterable<string[]> {
    return listTags(this, repository, { ...opts, isOwn: true });
  }

  /** The paths of all repositories of a registry, page by page. Few public ones tell. */
  catalog(registry: string, opts: CallOptions): AsyncIterable<string[]> {
    return listCatalog(this, registry, opts);
  }

  /** Whether the registry takes the credentials that are configured for it. @throws GantryError UNAUTHORIZED, ... */
  async ping(registry: string, opts: CallOptions): Promise<void> {
    const what = `the API of ${registry}`;
    const place = { registry, path: '', object: '', capability: 'resolve' } as const;
    const request: RegistryRequest = { ...place, method: 'GET', headers: {}, expect: [200], what };
    const response = await this.request(request, opts);
    await response.body.discard();
  }

  /**
   * Sends a request to the hosts of a registry in turn, each with its own retries, until one answers as expected. The body
   * of the answer must be read or disposed; until then it takes one of the registry's places.
   */
  request(request: RegistryRequest, opts: CallOptions): Promise<RegistryResponse> {
    return this.#fromHosts(request, (response) => Promise.resolve(response), opts);
  }

  /** The same with a small body, whose reading is a part of each try. @throws GantryError TOO_LARGE beyond `limit` bytes */
  read(request: RegistryRequest, limit: number, opts: CallOptions): Promise<{ response: HttpResponse; bytes: Buffer }> {
    const finish = async (response: HttpResponse): Promise<{ response: HttpResponse; bytes: Buffer }> => {
      await using body = response.body;
      refuseDisguises(response, request.what);
      return { response, bytes: await body.bytes(limit, request.what) };
    };
    return this.#fromHosts(request, finish, opts);
  }

  /**
   * Does work whose requests for writing, one after the other, share one place at the registry from the first to the last. Who opens
   * a source meanwhile waits for a place to read, and holds the one that others wait for in that order.
   */
  async holding<T>(registry: string, work: (client: RegistryRequests) => Promise<T>, opts: CallOptions): Promise<T> {
    const [host] = await this.#ableTo('push', registry);
    const leave = host === undefined ? () => undefined : await this.#gateOf(host).hold('write', opts);
    try {
      return await work({
        request: (request, each) => this.request({ ...request, hasPlace: true }, each),
        read: (request, limit, each) => this.read({ ...request, hasPlace: true }, limit, each),
      });
    } finally {
      leave();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  async #fromHosts<T>(request: RegistryRequest, finish: Finish<T>, opts: CallOptions): Promise<T> {
    const { registry, capability } = request;
    const able = await this.#ableTo(capability, registry);
    const hosts = request.isOwn === true ? able.filter((host) => !host.isMirror) : able;
    let last: GantryError | undefined; // made when it is needed: each takes a trace of the stack
    for (const host of hosts) {
      const attempts = host === hosts.at(-1) ? this.#retry.attempts : Math.min(MIRROR_ATTEMPTS, this.#retry.attempts);
      try {
        return await this.#fromHost(host, request, finish, { ...opts, attempts });
      } catch (err) {
        if (opts.signal.aborted) throw err;
        last = aboutContent(asGantryError(err, 'NETWORK'), request.digest);
      }
    }
    if (last !== undefined) throw last;
    throw new GantryError('UNSUPPORTED', `no host of ${registry} is configured for ${capability}`, { origin: 'user' });
  }

  async #ableTo(capability: Capability, registry: string): Promise<RegistryHost[]> {
    const able = (await this.#hostsOf(registry)).filter((host) => host.capabilities.has(capability));
    // An upload is a conversation with one host: what another one says of it means nothing.
    return capability === 'push' ? able.slice(0, 1) : able;
  }

  #fromHost<T>(
    host: RegistryHost,
    request: RegistryRequest,
    finish: Finish<T>,
    opts: CallOptions & { attempts: number },
  ): Promise<T> {
    const gate = this.#gateOf(host);
    const attempt = async (): Promise<T> => {
      const leave = await entered(gate, request, opts);
      let response: RegistryResponse;
      try {
        response = await this.#requests.send(host, request, opts);
      } catch (err) {
        leave();
        this.#heed(err, gate, host);
        throw err;
      }
      response.body.onClose(leave);
      return finish(response);
    };
    const config = { ...this.#retry, attempts: request.retry === false ? 1 : opts.attempts };
    return retrying(attempt, config, { signal: opts.signal, onRetry: this.#onRetry(request.registry) });
  }

  #onRetry(registry: string): OnRetry {
    const { onRetry, observer } = this.#options;
    return (err, delayMs) => {
      onRetry?.(err, delayMs);
      observer?.retry(registry, err.code);
    };
  }

  /** What one request hears about when to come back is for all of them. Not what the place of a redirect says about itself. */
  #heed(err: unknown, gate: Gate, host: RegistryHost): void {
    if (!isCode(err, 'RATE_LIMITED', 'UPSTREAM') || err.retryAfterMs === undefined) return;
    // Without a status it is no answer: when our budget for manifests is used up, blobs may go on.
    if (err.status === undefined || err.host !== new URL(host.origin).host) return;
    // A limit is counted against us; an outage may end earlier than announced, and somebody has to find out.
    const longest = err.code === 'RATE_LIMITED' ? this.#retry.maxQuietMs : this.#retry.maxRetryAfterMs;
    gate.closeFor(Math.min(err.retryAfterMs, longest), err, patienceMs(err.code, this.#retry));
  }

  #hostsOf(registry: string): Promise<RegistryHost[]> {
    const known = this.#hosts.get(registry);
    if (known !== undefined) return known;
    const hosts = readHosts(registry, this.#options.hosts);
    this.#hosts.set(registry, hosts);
    hosts.catch(() => this.#hosts.delete(registry)); // a long-lived worker sees the file once it is mended
    return hosts;
  }

  #gateOf(host: RegistryHost): Gate {
    const { limits, maxPerRegistry = 8 } = this.#options;
    const said = limits?.get(host.isMirror ? new URL(host.origin).host : host.registry);
    const known = this.#gates.get(host.origin) ?? new Gate(said?.concurrent ?? maxPerRegistry, said?.perSecond);
    this.#gates.set(host.origin, known);
    return known;
  }
}

async function entered(gate: Gate, { hasPlace, capability }: RegistryRequest, opts: CallOptions): Promise<() => void> {
  if (hasPlace !== true) return gate.enter(capability === 'push' ? 'write' : 'read', opts);
  await gate.pass(opts);
  return () => undefined;
}
