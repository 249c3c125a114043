/** Everything but runs: lanes, workers, transfers, and what this server is. */
import type { z } from 'zod';
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { LaneSettings } from '../../flow/farm-status.ts';
import { noQuery, operation, type Operation, plain } from './operation.ts';
import type { ApiPorts } from './ports.ts';
import type { Readings } from './readings.ts';
import { MAX_BODY_BYTES } from './run-operations.ts';
import {
  infoSchema,
  ingestsSchema,
  laneChangeSchema,
  type LaneJson,
  laneSchema,
  lanesSchema,
  workersSchema,
} from './schema.ts';

export const farmOperations = (ports: ApiPorts, readings: Readings): readonly Operation[] => [
  plain({
    method: 'get',
    path: '/info',
    id: 'showInfo',
    summary: 'What this server is',
    answers: { 200: infoSchema },
    problems: [],
    handle: async () => ({
      json: {
        version: ports.version,
        farm: ports.farm !== undefined,
        store: (await ports.store?.id()) ?? null,
        changes: ports.changes,
        protectReads: ports.protectReads,
      },
    }),
  }),
  plain({
    method: 'get',
    path: '/workers',
    id: 'listWorkers',
    summary: 'Workers, and what each does',
    answers: { 200: workersSchema },
    problems: [404],
    handle: async (opts) => ({ json: await readings.workers(opts) }),
  }),
  plain({
    method: 'get',
    path: '/ingests',
    id: 'listIngests',
    summary: 'Transfers that go on: of all workers, and into the store of this server',
    answers: { 200: ingestsSchema },
    problems: [],
    handle: async (opts) => ({ json: await readings.ingests(opts) }),
  }),
  ...laneOperations(readings),
];

const laneOperations = (readings: Readings): readonly Operation[] => [
  plain({
    method: 'get',
    path: '/lanes',
    id: 'listLanes',
    summary: 'Lanes: what waits for each registry, and what holds it up',
    answers: { 200: lanesSchema },
    problems: [404],
    handle: async (opts) => ({ json: await readings.lanes(opts) }),
  }),
  plain({
    method: 'get',
    path: '/lanes/{name}',
    id: 'showLane',
    summary: 'One lane',
    answers: { 200: laneSchema },
    problems: [400, 404],
    handle: async ({ param, ...opts }) => ({
      json: await readings.lane(readings.farm.ports.laneName(param('name')), opts),
    }),
  }),
  operation({
    method: 'patch',
    path: '/lanes/{name}',
    id: 'setLane',
    summary: 'Limit a registry over all workers; null takes a limit away',
    description: 'Also before there is anything to do for it: then its lane is made.',
    query: noQuery,
    body: { schema: laneChangeSchema, maxBytes: MAX_BODY_BYTES },
    answers: { 200: laneSchema },
    problems: [400, 404, 413, 415],
    handle: ({ param, body, signal }) =>
      changed(readings, param('name'), { signal }, (name) => readings.farm.ports.lanes.set(name, settingsOf(body))),
  }),
  turn(readings, 'pause', 'Let no worker take anything more of a lane; what goes on ends'),
  turn(readings, 'resume', 'Let workers go on with a lane that is paused'),
];

const turn = (readings: Readings, verb: 'pause' | 'resume', summary: string): Operation =>
  plain({
    method: 'post',
    path: `/lanes/{name}/${verb}`,
    id: `${verb}Lane`,
    summary,
    answers: { 200: laneSchema },
    problems: [400, 404],
    handle: ({ param, signal }) =>
      changed(readings, param('name'), { signal }, (name) => readings.farm.ports.lanes[verb](name)),
  });

/** Answers how the lane stands then. */
async function changed(
  readings: Readings,
  text: string,
  opts: CallOptions,
  change: (name: string) => Promise<void>,
): Promise<{ json: LaneJson }> {
  const name = readings.farm.ports.laneName(text);
  await change(name);
  return { json: await readings.lane(name, opts) };
}

function settingsOf({ concurrency, quota }: z.infer<typeof laneChangeSchema>): LaneSettings {
  if (concurrency === undefined && quota === undefined) {
    throw new GantryError('INVALID', 'body: nothing is to be set', {
      origin: 'user',
      hint: 'give concurrency, quota, or both',
    });
  }
  return { ...(concurrency === undefined ? {} : { concurrency }), ...(quota === undefined ? {} : { quota }) };
}
