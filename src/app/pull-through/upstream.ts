/** Asks the registries behind the rules, and remembers which of them had better be left alone for a while. */
import type { CallOptions } from '../../call.ts';
import { asGantryError, GantryError, isCode } from '../../errors.ts';
import { type Handler, type Node } from '../../flow/handler.ts';
import { walk } from '../../flow/walk.ts';
import { fetchHandler } from '../../handlers/fetch.ts';
import type { Ingester } from '../../content/ports.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepository, withObject } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { statContent } from '../../registry/stat.ts';
import type { Origin } from './rules.ts';

/** A registry that failed is not asked again about what is here for so long, in milliseconds. */
const AWAY_MS = 10_000;
/** One that answers 429 without a time. */
const LIMITED_MS = 60_000;

export interface UpstreamParts {
  readonly client: RegistryClient;
  readonly store: Ingester;
  /** The id of the store. */
  readonly target: string;
}

interface Trouble {
  readonly error: GantryError;
  /** On the clock of `performance.now`. */
  readonly until: number;
}

export class Upstream {
  readonly #parts: UpstreamParts;
  readonly #handler: Handler;
  /** By registry: as many as there are rules. */
  readonly #troubles = new Map<string, Trouble>();

  constructor(parts: UpstreamParts) {
    this.#parts = parts;
    const { client, store } = parts;
    this.#handler = fetchHandler({ store, fetcherOf: (repository) => client.fetcher(repository) });
  }

  /** What a registry said when it failed or wanted to be left alone, while that is not long ago. */
  trouble({ registry }: Origin): GantryError | undefined {
    const trouble = this.#troubles.get(registry);
    return trouble !== undefined && performance.now() < trouble.until ? trouble.error : undefined;
  }

  /**
   * What a tag or digest means there; undefined when it means nothing.
   * @param willFetch the manifest is not here: to send it along is one request less
   */
  async resolve(
    origin: Origin,
    object: string,
    opts: CallOptions & { readonly willFetch: boolean; readonly withinMs: number },
  ): Promise<Descriptor | undefined> {
    const ref = withObject(parseRepository(origin.repository), object);
    const { willFetch } = opts;
    return this.#asking(origin, opts, async (signal) => {
      const { desc } = await this.#parts.client.resolve(ref, { signal, willFetch });
      return desc;
    });
  }

  /** Brings a manifest into the store. Undefined when it is not there any more. */
  async fetchManifest(
    origin: Origin,
    desc: Descriptor,
    opts: CallOptions & { readonly withinMs: number },
  ): Promise<Descriptor | undefined> {
    const node = { kind: 'manifest', desc, ...this.#scope(origin) } as const;
    return this.#asking(origin, opts, async (signal) => {
      await this.fetch(node, { signal });
      return desc;
    });
  }

  /** Size and type of a blob, by a HEAD; undefined when it is not there. */
  statBlob(
    origin: Origin,
    digest: Digest,
    opts: CallOptions & { readonly withinMs: number },
  ): Promise<Descriptor | undefined> {
    const { client } = this.#parts;
    return this.#asking(origin, opts, (signal) => statContent(client, origin.repository, 'blob', digest, { signal }));
  }

  blobNode(origin: Origin, desc: Descriptor) {
    return { kind: 'blob', desc, ...this.#scope(origin) } as const;
  }

  /** Brings content into the store, as a pull does: what a kill left is taken up, and who is at it already is waited for. */
  fetch(node: Node, opts: CallOptions): Promise<void> {
    return walk(this.#handler, [node], opts);
  }

  #scope({ repository }: Origin) {
    return { source: repository, target: this.#parts.target, selection: '' } as const;
  }

  async #asking<T>(
    { registry }: Origin,
    { signal, withinMs }: CallOptions & { readonly withinMs: number },
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    const late = AbortSignal.timeout(withinMs);
    try {
      const answer = await ask(AbortSignal.any([signal, late]));
      this.#troubles.delete(registry);
      return answer;
    } catch (err) {
      signal.throwIfAborted();
      if (isCode(err, 'NOT_FOUND') && err.origin === 'source') return undefined;
      const error = late.aborted
        ? new GantryError('TIMEOUT', `${registry} has not answered within ${withinMs / 1000} s`, { origin: 'source' })
        : asGantryError(err, 'NETWORK');
      this.#note(registry, error);
      throw error;
    }
  }

  #note(registry: string, error: GantryError): void {
    if (!isAway(error)) return;
    const until = performance.now() + quietMs(error);
    const known = this.#troubles.get(registry);
    if (known === undefined || known.until < until) this.#troubles.set(registry, { error, until });
  }
}

/** A quota of our own, which has no status, is about manifests alone: whether a tag has moved can still be asked. */
function quietMs({ code, status, retryAfterMs }: GantryError): number {
  if (code !== 'RATE_LIMITED' || status === undefined) return AWAY_MS;
  return retryAfterMs ?? LIMITED_MS;
}

/** The registry says nothing about what was asked: neither that it is something else by now, nor that it must not be read. */
export const isAway = (err: unknown): err is GantryError =>
  isCode(err, 'RATE_LIMITED', 'UPSTREAM', 'NETWORK', 'TIMEOUT', 'TLS');
