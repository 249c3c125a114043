/** The names of a store by repository and tag, for lists. A single tag is not looked for here: that must be found at once. */
import { hash } from 'node:crypto';
import type { ImageNames, ImageRecord } from '../../content/ports.ts';
import { isCode } from '../../errors.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';

export interface NamedRepository {
  /** Sorted by their bytes. */
  readonly tags: readonly string[];
  /** What its names mean. */
  readonly roots: readonly Digest[];
}

/** All that were there at one moment. */
export interface Names {
  readonly byRepository: ReadonlyMap<string, NamedRepository>;
  /** Sorted by their bytes. */
  readonly repositories: readonly string[];
}

/** How old a list may be. Milliseconds. */
const FRESH_MS = 1000;
/** To read fifty thousand names takes longer than that: at most this part of the time goes there. */
const SHARE = 1 / 10;

export class NameTable {
  readonly #names: Pick<ImageNames, 'list'>;
  #table: Promise<Names> | undefined;
  #last: { readonly fingerprint: string; readonly names: Names } | undefined;
  /** On the clock of `performance.now`. */
  #goodUntil = 0;

  constructor(names: Pick<ImageNames, 'list'>) {
    this.#names = names;
  }

  /** The same object as long as the names and what they mean are the same. */
  read(): Promise<Names> {
    if (this.#table === undefined || performance.now() >= this.#goodUntil) {
      this.#goodUntil = Infinity; // whoever comes while it is read waits for the same
      this.#table = this.#readNow();
    }
    return this.#table;
  }

  async #readNow(): Promise<Names> {
    const started = performance.now();
    try {
      // Not for one client alone: it goes on when that one is gone.
      const records = await this.#names.list({ signal: new AbortController().signal });
      const fingerprint = fingerprintOf(records);
      if (this.#last?.fingerprint !== fingerprint) this.#last = { fingerprint, names: tableOf(records) };
      this.#goodUntil = performance.now() + Math.max(FRESH_MS, (performance.now() - started) / SHARE);
      return this.#last.names;
    } catch (err) {
      this.#goodUntil = 0;
      throw err;
    }
  }
}

/** Of all that the table is made of. */
const fingerprintOf = (records: readonly ImageRecord[]): string =>
  hash('sha256', JSON.stringify(records.map(({ name, desc }) => [name, desc.digest])));

function tableOf(records: readonly ImageRecord[]): Names {
  const found = new Map<string, { tags: string[]; roots: Digest[] }>();
  for (const { name, desc } of records) {
    const reference = referenceOf(name);
    if (reference === undefined) continue;
    let entry = found.get(reference.repository);
    if (entry === undefined) found.set(reference.repository, (entry = { tags: [], roots: [] }));
    entry.roots.push(desc.digest);
    // With a digest the tag beside it is for readers: it may mean something else by now.
    if (reference.tag !== undefined && reference.digest === undefined) entry.tags.push(reference.tag);
  }
  for (const { tags } of found.values()) tags.sort();
  return { byRepository: found, repositories: [...found.keys()].toSorted() };
}

/** Undefined for what another tool wrote as a name and no request could ask for. */
function referenceOf(name: string): Reference | undefined {
  try {
    const reference = parseReference(name);
    return reference.name === name ? reference : undefined;
  } catch (err) {
    if (isCode(err, 'INVALID')) return undefined;
    throw err;
  }
}
