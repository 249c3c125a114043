/** Asks the registries behind the rules, and remembers for a while which of them had better be left alone, and what they do not have. */
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
import type { ContentKind } from '../../remote/ports.ts';
import { Lapsing } from './lapsing.ts';
import type { Origin } from './rules.ts';
import { isAway, type Trouble } from './told.ts';
import { Troubles } from './troubles.ts';

/** What a registry does not have is not asked for again for so long, in milliseconds: clients that try again and again would use up a quota. */
const LACKS_MS = 10_000;
const MAX_LACKS = 10_000;

export interface UpstreamParts {
  readonly client: RegistryClient;
  readonly store: Ingester;
  /** The id of the store. */
  readonly target: string;
}

/** A tag or digest of a repository. */
interface Wanted {
  readonly origin: Origin;
  readonly kind: ContentKind;
  readonly object: string;
}

interface Asking extends CallOptions {
  /** No answer is waited for beyond this, on the clock of `performance.now`. */
  readonly until: number;
}

export class Upstream {
  readonly #parts: UpstreamParts;
  readonly #handler: Handler;
  readonly #troubles = new Troubles();
  /** By repository, kind, and tag or digest. */
  readonly #lacks = new Lapsing<true>(MAX_LACKS);

  constructor(parts: UpstreamParts) {
    this.#parts = parts;
    const { client, store } = parts;
    this.#handler = fetchHandler({ store, fetcherOf: (repository) => client.fetcher(repository) });
  }

  /** What a registry said when it failed or wanted to be left alone, while that is not long ago. */
  trouble(origin: Origin): Trouble | undefined {
    return this.#troubles.of(origin);
  }

  /** Whether it was asked for a moment ago, and is not there. */
  lacks(wanted: Wanted): boolean {
    return this.#lacks.get(keyOf(wanted)) === true;
  }

  /** A transfer has found that it is not there. */
  noteLack(wanted: Wanted): void {
    this.#lacks.set(keyOf(wanted), true, LACKS_MS);
  }

  /**
   * What a tag or digest means there; undefined when it means nothing.
   * @param willFetch the manifest is not here: to send it along is one request less
   */
  async resolve(
    origin: Origin,
    object: string,
    opts: Asking & { readonly willFetch: boolean },
  ): Promise<Descriptor | undefined> {
    const ref = withObject(parseRepository(origin.repository), object);
    const { willFetch } = opts;
    const found = await this.#asking({ origin, kind: 'manifest', object }, opts, async (signal) => {
      const { desc } = await this.#parts.client.resolve(ref, { signal, willFetch });
      return desc;
    });
    // By its tag it may be there a moment before it is by its digest, and may have come along.
    if (found !== undefined) this.#lacks.delete(keyOf({ origin, kind: 'manifest', object: found.digest }));
    return found;
  }

  /** Brings a manifest into the store. Undefined when it is not there any more. */
  async fetchManifest(origin: Origin, desc: Descriptor, opts: Asking): Promise<Descriptor | undefined> {
    const node = { kind: 'manifest', desc, ...this.#scope(origin) } as const;
    return this.#asking({ origin, kind: 'manifest', object: desc.digest }, opts, async (signal) => {
      await this.fetch(node, { signal });
      return desc;
    });
  }

  /** Size and type of a blob, by a HEAD; undefined when it is not there. */
  statBlob(origin: Origin, digest: Digest, opts: Asking): Promise<Descriptor | undefined> {
    const { client } = this.#parts;
    return this.#asking({ origin, kind: 'blob', object: digest }, opts, (signal) =>
      statContent(client, origin.repository, 'blob', digest, { signal }),
    );
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
    wanted: Wanted,
    { signal, until }: Asking,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.lacks(wanted)) return undefined;
    const { origin, kind } = wanted;
    const late = AbortSignal.timeout(Math.max(0, Math.ceil(until - performance.now())));
    try {
      const answer = await ask(AbortSignal.any([signal, late]));
      this.#troubles.clear(origin);
      return answer;
    } catch (err) {
      signal.throwIfAborted();
      if (isCode(err, 'NOT_FOUND') && err.origin === 'source') {
        this.noteLack(wanted);
        return undefined;
      }
      const error = late.aborted
        ? new GantryError('TIMEOUT', `${origin.registry} has not answered in time`, {
            origin: 'source',
          })
        : asGantryError(err, 'NETWORK');
      if (isAway(error)) this.#troubles.note(origin, error, kind === 'blob');
      throw error;
    }
  }
}

const keyOf = ({ origin, kind, object }: Wanted): string => `${origin.repository} ${kind} ${object}`;
