/** Runs: what they do, and what is asked of them. */
import { GantryError } from '../../errors.ts';
import { noBody, noQuery, operation, type Operation, plain, PREFIX } from './operation.ts';
import type { Readings } from './readings.ts';
import {
  cancelledSchema,
  historySchema,
  imagesQuerySchema,
  imagesSchema,
  retriedSchema,
  retrySchema,
  runDetailSchema,
  runIdSchema,
  runsQuerySchema,
  runsSchema,
  submitSchema,
  submittedSchema,
} from './schema.ts';

/** Fifty thousand references of more than three hundred characters each. */
const MAX_SUBMIT_BYTES = 16 << 20;
export const MAX_BODY_BYTES = 64 << 10;

export const runOperations = (readings: Readings): readonly Operation[] => [
  operation({
    method: 'get',
    path: '/runs',
    id: 'listRuns',
    summary: 'Runs, the newest first',
    query: runsQuerySchema,
    body: noBody,
    answers: { 200: runsSchema },
    problems: [400],
    handle: async ({ query, signal }) => ({ json: await readings.runs(query, { signal }) }),
  }),
  operation({
    method: 'post',
    path: '/runs',
    id: 'submitRun',
    summary: 'Have images pulled or copied by the workers',
    description: 'While a run of the same request is open, its id is answered and nothing is added.',
    query: noQuery,
    body: { schema: submitSchema, maxBytes: MAX_SUBMIT_BYTES },
    answers: { 201: submittedSchema },
    problems: [400, 413, 415],
    handle: async ({ body, signal }) => {
      const id = await readings.farm.ports.submit(body, { signal });
      return { status: 201, headers: { location: `${PREFIX}/runs/${id}` }, json: { id } };
    },
  }),
  ...oneRun(readings),
];

const oneRun = (readings: Readings): readonly Operation[] => [
  plain({
    method: 'get',
    path: '/runs/{id}',
    id: 'showRun',
    summary: 'One run, why it waits, and its failures in groups',
    answers: { 200: runDetailSchema },
    problems: [404],
    handle: async ({ param, signal }) => ({ json: await readings.run(runId(param('id')), { signal }) }),
  }),
  operation({
    method: 'get',
    path: '/runs/{id}/images',
    id: 'listImages',
    summary: 'The images of a run, in the order of the request',
    query: imagesQuerySchema,
    body: noBody,
    answers: { 200: imagesSchema },
    problems: [400, 404],
    handle: async ({ param, query }) => ({ json: await readings.farm.images.page(runId(param('id')), query) }),
  }),
  plain({
    method: 'get',
    path: '/runs/{id}/history',
    id: 'showHistory',
    summary: 'How a run went in the last hour, as far as this server was there',
    answers: { 200: historySchema },
    problems: [404],
    handle: async ({ param, signal }) => {
      const { ports, history } = readings.farm;
      const { id } = await ports.view.run(runId(param('id')), { signal });
      return { json: history.of(id) };
    },
  }),
  plain({
    method: 'post',
    path: '/runs/{id}/cancel',
    id: 'cancelRun',
    summary: 'End a run before its time',
    answers: { 200: cancelledSchema },
    problems: [404],
    handle: async ({ param }) => ({
      json: { cancelled: await readings.farm.ports.control.cancel(runId(param('id'))) },
    }),
  }),
  operation({
    method: 'post',
    path: '/runs/{id}/retry',
    id: 'retryRun',
    summary: 'A new run with what failed or was cancelled in this one',
    description: '201 with the id of the new run; 200 when there is nothing to try again.',
    query: noQuery,
    body: { schema: retrySchema, maxBytes: MAX_BODY_BYTES, isOptional: true },
    answers: { 200: retriedSchema, 201: retriedSchema },
    problems: [400, 404, 409, 413, 415],
    statusOfUsage: 409,
    handle: async ({ param, body: { code }, signal }) => {
      const { control } = readings.farm.ports;
      const id = await control.retry(runId(param('id')), { signal, ...(code === undefined ? {} : { code }) });
      if (id === undefined) return { json: { id: null } };
      return { status: 201, headers: { location: `${PREFIX}/runs/${id}` }, json: { id } };
    },
  }),
];

/** Checked, since it becomes part of keys. @throws GantryError NOT_FOUND */
export function runId(text: string): string {
  if (runIdSchema.safeParse(text).success) return text;
  throw new GantryError('NOT_FOUND', `there is no run ${JSON.stringify(text.slice(0, 80))}`, {
    origin: 'user',
    hint: 'the id of a run is an r and ten hex digits',
  });
}
