/** What the server is told, and what each of its parts gives. */
import type { CallOptions } from '../../call.ts';
import type { Exposition } from '../../metrics/exposition.ts';
import type { RedisSettings } from '../../queue/connection.ts';
import type { Checks } from '../../server/health.ts';
import type { App, ListenOptions } from '../../server/http.ts';
import type { Log } from '../service.ts';
import type { RegistrySettings } from '../wiring.ts';

export interface ServerSettings {
  /** The farm that it shows, if any. */
  readonly redis: RedisSettings | undefined;
  /** Whether it serves the store, as a registry. */
  readonly hasStore: boolean;
  /** The file with the rules by which what the store lacks is fetched. */
  readonly pullThrough: string | undefined;
  readonly listen: ListenOptions;
  readonly tokenFile: string | undefined;
  readonly protectReads: boolean;
  /** For what is fetched. */
  readonly registries: RegistrySettings;
  readonly log: Log;
}

/** A part of the server: it adds its routes, and has a say in metrics and readiness. */
export interface ServerPart extends AsyncDisposable {
  addTo(app: App): void;
  metrics(opts: CallOptions): Promise<Exposition>;
  ready(opts: CallOptions): Promise<Checks>;
}
