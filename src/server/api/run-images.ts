/**
 * The images of the runs that are looked at, so that a page of a hundred does not read twenty thousand from Redis. Names are read once, since
 * a request never changes; how images ended is read on from where it was left.
 */
import type { CallOptions } from '../../call.ts';
import { type FailureGroup, FailureGroups } from '../../flow/failure-groups.ts';
import type { ImageOutcome, ImageReader, RunReader, RunStatus } from '../../flow/farm-status.ts';
import { errorJson, isoOrNull } from './json.ts';
import type { ImageJson, ImagesJson, ImagesQuery } from './schema.ts';

export interface RunImagesBounds {
  /** Images of all runs that are kept. A run of more is kept alone. */
  readonly images: number;
  /** Characters of their names, digests and messages. */
  readonly text: number;
}

const BOUNDS: RunImagesBounds = { images: 200_000, text: 64 << 20 };

/** One run. */
interface Kept {
  readonly names: string[];
  /** By index; of images that have not ended there is none. */
  readonly outcomes: (ImageOutcome | undefined)[];
  readonly failures: FailureGroups;
  /** In its results, up to where they are known. */
  place: string | undefined;
  text: number;
  /** While it goes on: whoever comes meanwhile waits for the same. */
  reading: Promise<void> | undefined;
}

export class RunImages {
  readonly #runs: RunReader;
  readonly #images: ImageReader;
  readonly #bounds: RunImagesBounds;
  /** What was asked for last is last. */
  readonly #kept = new Map<string, Kept>();
  /** A reading is shared: that one of its clients is gone does not end it. */
  readonly #opts: CallOptions;

  /** @param opts ends what is being read */
  constructor(runs: RunReader, images: ImageReader, opts: CallOptions, bounds: RunImagesBounds = BOUNDS) {
    this.#runs = runs;
    this.#images = images;
    this.#opts = opts;
    this.#bounds = bounds;
  }

  /** How many images of how many runs are kept. */
  get size(): { readonly runs: number; readonly images: number } {
    const kept = [...this.#kept.values()];
    return { runs: kept.length, images: kept.reduce((sum, { names }) => sum + names.length, 0) };
  }

  /** Those that fit, in the order of the request. @throws GantryError NOT_FOUND */
  async page(id: string, query: ImagesQuery): Promise<ImagesJson> {
    // Before the results: an image that ends in between is then shown as ended, and not as open in a run that is over.
    const status = await this.#runs.run(id, this.#opts);
    const { names, outcomes } = await this.#upToDate(id);
    const { offset, limit, state, code, q = '' } = query;
    const text = q.toLowerCase();
    const images: ImageJson[] = [];
    let total = 0;
    for (const [index, name] of names.entries()) {
      const outcome = outcomes[index];
      const own = outcome?.state ?? unendedState(status, index);
      if (state !== undefined && own !== state) continue;
      if (code !== undefined && outcome?.error?.code !== code) continue;
      if (text !== '' && !name.toLowerCase().includes(text)) continue;
      if (total >= offset && images.length < limit) images.push(imageJson(index, name, own, outcome));
      total += 1;
    }
    return { total, offset, images };
  }

  /** The largest group first. @throws GantryError NOT_FOUND */
  async failures(id: string): Promise<FailureGroup[]> {
    return (await this.#upToDate(id)).failures.list();
  }

  async #upToDate(id: string): Promise<Kept> {
    const kept = this.#kept.get(id) ?? {
      names: [],
      outcomes: [],
      failures: new FailureGroups(),
      place: undefined,
      text: 0,
      reading: undefined,
    };
    this.#kept.delete(id);
    this.#kept.set(id, kept);
    kept.reading ??= this.#readOn(id, kept).finally(() => {
      kept.reading = undefined;
    });
    try {
      await kept.reading;
    } catch (err) {
      this.#kept.delete(id); // its names may have been read in part
      throw err;
    }
    this.#evict(id);
    return kept;
  }

  async #readOn(id: string, kept: Kept): Promise<void> {
    if (kept.names.length === 0) {
      for await (const names of this.#images.names(id, this.#opts)) {
        for (const name of names) kept.text += name.length;
        kept.names.push(...names);
      }
    }
    for (let isAll = false; !isAll;) {
      const page = await this.#images.outcomes(id, kept.place, this.#opts);
      for (const outcome of page.outcomes) add(kept, outcome);
      kept.place = page.place;
      ({ isAll } = page);
    }
  }

  /** Lets go of what nobody has asked for the longest. */
  #evict(wanted: string): void {
    let [images, text] = [0, 0];
    for (const [id, kept] of [...this.#kept].toReversed()) {
      images += kept.names.length;
      text += kept.text;
      const isTooMuch = images > this.#bounds.images || text > this.#bounds.text;
      if (isTooMuch && id !== wanted && kept.reading === undefined) this.#kept.delete(id);
    }
  }
}

/** A Redis that has lost its last second tells the end of an image twice. */
function add(kept: Kept, outcome: ImageOutcome): void {
  const { index, error, digest = '' } = outcome;
  const isKnown = kept.outcomes[index] !== undefined;
  kept.outcomes[index] = outcome;
  if (isKnown) return;
  kept.text += digest.length + (error?.message.length ?? 0);
  if (error !== undefined) kept.failures.add(kept.names[index] ?? '', error);
}

function unendedState({ state, images }: RunStatus, index: number): ImageJson['state'] {
  if (state !== 'running') return 'cancelled';
  return index < images.fed ? 'open' : 'waiting';
}

const imageJson = (
  index: number,
  name: string,
  state: ImageJson['state'],
  outcome: ImageOutcome | undefined,
): ImageJson => ({
  index,
  name,
  state,
  digest: outcome?.digest ?? null,
  mediaType: outcome?.mediaType ?? null,
  bytes: outcome?.bytes ?? null,
  tookMs: outcome?.tookMs ?? null,
  endedAt: isoOrNull(outcome?.endedAt),
  error: outcome?.error === undefined ? null : errorJson(outcome.error),
});
