/** What earlier runs of this user have learned about where registries have which blob: to mount it from there is cheaper than to send it. */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, isDigest } from '../oci/digest.ts';
import { type BlobPlaces, LocalPlaces, type Place, placeKey } from '../remote/places.ts';
import type { Config } from './config.ts';
import { writeFileWhole } from './mirror/write-file.ts';

/** Those that were learned last. Two megabytes. */
const MAX_KEPT = 20_000;

/**
 * The beliefs of this process, with those of earlier ones behind them. Of these it is only taken where a mount may work: that a blob is in
 * a repository is asked again. Nothing is read before something has to be moved.
 */
export class KnownPlaces extends LocalPlaces implements BlobPlaces, AsyncDisposable {
  readonly #file: string;
  /** A repository for each blob, by registry and digest; the latest last. */
  #before: Promise<Map<string, string>> | undefined;
  readonly #learned = new Map<string, string>();

  constructor({ cache }: Pick<Config, 'cache'>) {
    super();
    this.#file = join(cache, 'places.json');
  }

  override async find(repository: string, digests: readonly Digest[]): Promise<readonly Place[]> {
    const now = await super.find(repository, digests);
    if (now.every(({ isHere, elsewhere }) => isHere || elsewhere !== undefined)) return now;
    const before = await this.#remembered();
    return now.map((place, i) => {
      const digest = digests[i];
      const known = digest === undefined ? undefined : before.get(placeKey(repository, digest));
      return { ...place, elsewhere: place.elsewhere ?? (known === repository ? undefined : known) };
    });
  }

  override async add(repository: string, digests: readonly Digest[]): Promise<void> {
    for (const digest of digests) this.#learned.set(placeKey(repository, digest), repository);
    await super.add(repository, digests);
  }

  override async forget(repository: string, digests: readonly Digest[]): Promise<void> {
    const before = await this.#remembered();
    for (const key of digests.map((digest) => placeKey(repository, digest))) {
      for (const known of [before, this.#learned]) if (known.get(key) === repository) known.delete(key);
    }
    await super.forget(repository, digests);
  }

  /** Keeps what was learned. What cannot be kept is learned again: no run fails for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#learned.size === 0) return;
    const all = new Map([...(await this.#remembered()), ...this.#learned]);
    const kept = Object.fromEntries([...all].filter(([key, place]) => isPlace(key, place)).slice(-MAX_KEPT));
    try {
      await mkdir(dirname(this.#file), { recursive: true });
      await writeFileWhole(this.#file, JSON.stringify({ version: 1, blobs: kept }));
    } catch {
      // a read-only home, a full disk
    }
  }

  #remembered(): Promise<Map<string, string>> {
    this.#before ??= readFile(this.#file, 'utf8').then(parse, () => new Map<string, string>());
    return this.#before;
  }
}

function parse(text: string): Map<string, string> {
  try {
    const document: unknown = JSON.parse(text);
    if (!isRecord(document) || document['version'] !== 1 || !isRecord(document['blobs'])) return new Map();
    return new Map(Object.entries(document['blobs']).filter((entry): entry is [string, string] => isPlace(...entry)));
  } catch {
    return new Map(); // as good as none
  }
}

/** A repository of the registry that the key names: whatever else a file says must not become a part of a request. */
function isPlace(key: string, repository: unknown): boolean {
  const [registry = '', digest] = key.split(' ');
  return (
    typeof repository === 'string' &&
    isDigest(digest) &&
    REPOSITORY.test(repository) &&
    repository.startsWith(`${registry}/`)
  );
}

const REPOSITORY = /^[\w.:[\]-]{1,255}(?:\/[a-z0-9._-]{1,255}){1,32}$/;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
