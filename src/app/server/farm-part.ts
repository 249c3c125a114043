/** What the server shows of a farm: metrics, and what the API reads and changes. */
import type { CallOptions } from '../../call.ts';
import { farmMetrics } from '../../metrics/farm-metrics.ts';
import type { RedisSettings } from '../../queue/connection.ts';
import { Farm } from '../../queue/farm.ts';
import { registryName } from '../../registry/registry-name.ts';
import type { FarmPorts } from '../../server/api/ports.ts';
import type { ServerPart } from './part.ts';
import { submitRequest } from './submit.ts';

export interface FarmPart extends ServerPart {
  readonly ports: FarmPorts;
}

export async function farmPart(redis: RedisSettings, opts: CallOptions): Promise<FarmPart> {
  const farm = await Farm.open(redis, opts);
  /** What ioredis throws tells neither where nor whether to ask again. */
  const asked = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer;
    } catch (err) {
      throw farm.named(err);
    }
  };
  return {
    ports: portsOf(farm, asked),
    addTo: () => undefined,
    metrics: (each) => asked(farmMetrics(farm, each)),
    ready: async (each) => {
      await asked(farm.workers(each));
      return { redis: 'ok' };
    },
    [Symbol.asyncDispose]: () => farm[Symbol.asyncDispose](),
  };
}

/** Everything goes through the methods of Farm that the command line uses. */
const portsOf = (farm: Farm, asked: <T>(answer: Promise<T>) => Promise<T>): FarmPorts => ({
  view: {
    runs: (opts) => asked(farm.runs(opts)),
    run: (id) => asked(farm.run(id)),
    waitReasons: (id, opts) => asked(farm.waitReasons(id, opts)),
    lanes: (opts) => asked(farm.lanes(opts)),
    workers: (opts) => asked(farm.workers(opts)),
  },
  images: {
    names: (id, opts) => namesOf(farm, id, opts),
    outcomes: (id, place, opts) => asked(farm.outcomes(id, place, opts)),
  },
  control: {
    cancel: (id) => asked(farm.cancel(id)),
    retry: (id, opts) => asked(farm.retry(id, opts)),
  },
  lanes: {
    set: (lane, settings) => asked(farm.settings.set(lane, settings)),
    pause: (lane) => asked(farm.settings.pause(lane)),
    resume: (lane) => asked(farm.settings.resume(lane)),
  },
  laneName: registryName,
  submit: (request, opts) => asked(submitRequest(farm, request, opts)),
});

async function* namesOf(farm: Farm, id: string, opts: CallOptions): AsyncGenerator<readonly string[]> {
  try {
    yield* farm.names(id, opts);
  } catch (err) {
    throw farm.named(err);
  }
}
