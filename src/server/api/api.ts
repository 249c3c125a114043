/** The API: all of its operations, what they need, and what is not one of them. See docs/server.md. */
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { App } from '../http.ts';
import { eventsOperation, readKey } from './events.ts';
import { farmOperations } from './farm-operations.ts';
import { History, type HistoryTimes } from './history.ts';
import { Live } from './live.ts';
import { withDocument } from './openapi.ts';
import { addOperations, type Operation, PREFIX } from './operation.ts';
import type { ApiPorts, FarmPorts } from './ports.ts';
import { problem } from './problem.ts';
import { type FarmReadings, Readings } from './readings.ts';
import { RunImages } from './run-images.ts';
import { runOperations } from './run-operations.ts';

export interface ApiOptions extends CallOptions {
  /** How often runs are sampled, and how often live events are looked for, in milliseconds. */
  readonly times?: { readonly history?: Partial<HistoryTimes>; readonly liveMs?: number };
}

/** @param opts.signal ends live events and what is read for nobody in particular */
export class Api implements Disposable {
  readonly operations: readonly Operation[];
  readonly #farm: FarmReadings | undefined;

  constructor(ports: ApiPorts, { times = {}, signal }: ApiOptions) {
    this.#farm = ports.farm === undefined ? undefined : farmReadings(ports.farm, { signal }, times.history ?? {});
    const readings = new Readings(this.#farm, ports.store);
    const live = new Live({
      signal,
      read: (key, opts) => readKey(readings, key, opts),
      ...(times.liveMs === undefined ? {} : { everyMs: times.liveMs }),
    });
    const all = [...farmOperations(ports, readings), ...runOperations(readings), eventsOperation(readings, live)];
    this.operations = withDocument(all, ports.version);
  }

  addTo(app: App): void {
    addOperations(app, this.operations);
    const nothing = new GantryError('NOT_FOUND', `nothing here; see ${PREFIX}/openapi.json`, { origin: 'user' });
    for (const path of ['/api', '/api/*']) app.all(path, (c) => problem(c, nothing));
  }

  [Symbol.dispose](): void {
    this.#farm?.history[Symbol.dispose]();
  }
}

const farmReadings = (ports: FarmPorts, opts: CallOptions, times: Partial<HistoryTimes>): FarmReadings => ({
  ports,
  history: new History(ports.view, opts, times),
  images: new RunImages(ports.view, ports.images, opts),
});
