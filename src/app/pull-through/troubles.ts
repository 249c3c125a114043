/** Which registries and repositories had better be left alone for a while. */
import type { GantryError } from '../../errors.ts';
import { Lapsing } from './lapsing.ts';
import type { Origin } from './rules.ts';
import { MAX_QUIET_MS, type Trouble } from './told.ts';

/** What failed is not asked again about what is here for so long, in milliseconds. */
const AWAY_MS = 10_000;
/** A registry that answers 429 without a time. */
const LIMITED_MS = 60_000;
const MAX_ENTRIES = 10_000;

export class Troubles {
  /** By registry, `host[:port]`, and by repository, `host[:port]/path`. */
  readonly #known = new Lapsing<Trouble>(MAX_ENTRIES);

  of({ registry, repository }: Origin): Trouble | undefined {
    return this.#known.get(registry) ?? this.#known.get(repository);
  }

  /**
   * @param isBlob a registry sends those who ask for blobs on to elsewhere: that such a place fails or is busy says nothing about the registry
   */
  note({ registry, repository }: Origin, err: GantryError, isBlob: boolean): void {
    const { code, status, origin, retryAfterMs } = err;
    const key = !isBlob && isOfRegistry(err) ? registry : repository;
    // A quota of our own, which has no status, is about manifests alone: whether a tag has moved can still be asked.
    const isLimit = code === 'RATE_LIMITED' && status !== undefined;
    const ms = isLimit ? Math.min(retryAfterMs ?? LIMITED_MS, MAX_QUIET_MS) : AWAY_MS;
    this.#known.set(key, { code, status, origin }, ms);
  }

  /** It has answered. */
  clear({ registry, repository }: Origin): void {
    this.#known.delete(registry);
    this.#known.delete(repository);
  }
}

/** No answer at all, or one that is about whoever asks. A 5xx may be the fault of what was asked for, which anybody can choose. */
function isOfRegistry({ code, status }: Trouble): boolean {
  if (code === 'RATE_LIMITED') return status !== undefined;
  return status === undefined && (code === 'NETWORK' || code === 'TLS' || code === 'TIMEOUT');
}
