/** What can be read of a farm and of the server's own store, as JSON: the same for requests and for live events. */
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { History } from './history.ts';
import { failureGroupJson, ingestJson, laneJson, runJson, workerJson } from './json.ts';
import type { FarmPorts, StorePorts } from './ports.ts';
import type { RunImages } from './run-images.ts';
import type { IngestJson, LaneJson, RunDetailJson, RunJson, RunsQuery, WorkerJson } from './schema.ts';

export interface FarmReadings {
  readonly ports: FarmPorts;
  readonly history: History;
  readonly images: RunImages;
}

/** Of those that are looked at for runs of one state. */
const MAX_LISTED = 1000;

export class Readings {
  readonly #farm: FarmReadings | undefined;
  readonly #store: StorePorts | undefined;

  constructor(farm: FarmReadings | undefined, store: StorePorts | undefined) {
    this.#farm = farm;
    this.#store = store;
  }

  /** @throws GantryError NOT_FOUND when this server has none */
  get farm(): FarmReadings {
    if (this.#farm !== undefined) return this.#farm;
    throw new GantryError('NOT_FOUND', 'this server shows no farm', {
      origin: 'user',
      hint: 'start it with --redis redis://HOST:6379',
    });
  }

  /** The newest first. */
  async runs({ state, limit }: RunsQuery, opts: CallOptions): Promise<{ runs: RunJson[] }> {
    const { ports, history } = this.farm;
    const found = await ports.view.runs({ ...opts, limit: state === undefined ? limit : MAX_LISTED });
    const wanted = found.filter((run) => state === undefined || run.state === state).slice(0, limit);
    return { runs: wanted.map((run) => runJson(run, history.rateOf(run))) };
  }

  /** @throws GantryError NOT_FOUND */
  async run(id: string, opts: CallOptions): Promise<RunDetailJson> {
    const { ports, history, images } = this.farm;
    const status = await ports.view.run(id, opts);
    const [waiting, failures] = await Promise.all([
      ports.view.waitReasons(id, opts),
      status.images.failed === 0 ? [] : images.failures(id),
    ]);
    return {
      ...runJson(status, history.rateOf(status)),
      waiting: [...waiting],
      failures: failures.map(failureGroupJson),
    };
  }

  async lanes(opts: CallOptions): Promise<{ lanes: LaneJson[] }> {
    return { lanes: (await this.farm.ports.view.lanes(opts)).map(laneJson) };
  }

  /** @throws GantryError NOT_FOUND */
  async lane(name: string, opts: CallOptions): Promise<LaneJson> {
    const { lanes } = await this.lanes(opts);
    const found = lanes.find((lane) => lane.name === name);
    if (found !== undefined) return found;
    throw new GantryError('NOT_FOUND', `there is no lane ${name}`, { origin: 'user' });
  }

  async workers(opts: CallOptions): Promise<{ workers: WorkerJson[] }> {
    return { workers: (await this.farm.ports.view.workers(opts)).map(workerJson) };
  }

  /** Of all workers; and what the store of this machine has beyond theirs. */
  async ingests(opts: CallOptions): Promise<{ ingests: IngestJson[] }> {
    const [{ workers }, own, store] = await Promise.all([
      this.#farm === undefined ? { workers: [] } : this.workers(opts),
      this.#store?.active(opts) ?? [],
      this.#store?.id(),
    ]);
    const told = new Set(
      workers.filter((worker) => worker.store === store).flatMap(({ ingests }) => ingests.map(refOf)),
    );
    const others = own.filter(({ ref }) => !told.has(ref));
    return { ingests: [...workers.flatMap(({ ingests }) => ingests), ...others.map(ingestJson)] };
  }
}

const refOf = ({ ref }: IngestJson): string => ref;
