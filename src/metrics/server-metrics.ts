import { ClientMetrics } from './client-metrics.ts';
import type { Exposition } from './exposition.ts';
import { LabelCap } from './label-cap.ts';
import { Meters } from './meters.ts';

/** What the server tells of the store that it serves as a registry. Labels have few values: never a repository, tag or digest. */
export class RegistryMetrics {
  readonly #meters = new Meters();
  readonly #names = new LabelCap();
  readonly #requests = this.#meters.counter(
    'gantry_serve_requests_total',
    'What was asked for, by what it was (tag, manifest, blob) and where the answer came from.',
    ['kind', 'cache'],
  );
  readonly #bytes = this.#meters.counter('gantry_serve_bytes_total', 'Bytes of blobs that were handed to clients.');

  constructor() {
    this.#bytes({}, 0);
  }

  /** For the client that fetches what the store lacks; without one its metrics are not told. */
  client(): ClientMetrics {
    return new ClientMetrics(this.#meters, this.#names);
  }

  text(): Promise<Exposition> {
    return this.#meters.text();
  }

  answered(
    kind: 'tag' | 'manifest' | 'blob',
    cache: 'hit' | 'stored' | 'elsewhere' | 'stale' | 'unknown' | 'error',
  ): void {
    this.#requests({ kind, cache });
  }

  sent(bytes: number): void {
    this.#bytes({}, bytes);
  }
}
