/** Live events: `GET /api/v1/events?topics=runs,lanes`, as server-sent events (HTML standard, 9.2). */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { z } from 'zod';
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import { callOptions, type RequestContext } from '../http.ts';
import type { Live, LiveKey } from './live.ts';
import { checked, type Operation } from './operation.ts';
import { problem } from './problem.ts';
import type { Readings } from './readings.ts';
import { runId } from './run-operations.ts';
import { eventsQuerySchema, runsQuerySchema, type Topic } from './schema.ts';

const MAX_LISTENERS = 1000;
/** Four topics, and twenty runs: each costs a reading a second, and many large ones would drive each other out of memory. */
const MAX_KEYS = 24;

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-accel-buffering': 'no', // nginx would wait for more
  connection: 'close', // when the stream ends there is nothing to keep it for, and a server that closes would wait for it
};

const DESCRIPTION = `For each topic an event of its name whose data is what the GET of the same name answers (\`run\`: \`GET /runs/{id}\`): at once, and
again when it has changed, once a second at most. \`gone\`, with a \`message\`, says that the run of the topic \`run\` is not known any more; \`away\`, with a \`message\`, says that the farm does not answer; everything is sent again when it does.`;

export const eventsOperation = (readings: Readings, live: Live): Operation => ({
  method: 'get',
  path: '/events',
  id: 'listen',
  summary: 'What happens, as server-sent events',
  description: DESCRIPTION,
  query: eventsQuerySchema,
  answers: { 200: z.string() },
  contentType: 'text/event-stream',
  problems: [400, 404],
  answer: async (c) => {
    try {
      const keys = await keysOf(c, readings, callOptions(c));
      if (live.listeners >= MAX_LISTENERS || new Set([...live.keys, ...keys]).size > MAX_KEYS) throw tooMany();
      if (c.req.method === 'HEAD') return c.body(null, 200, HEADERS);
      const { outgoing } = c.env;
      outgoing.writeHead(200, HEADERS);
      outgoing.flushHeaders();
      live.add(outgoing, keys);
      return RESPONSE_ALREADY_SENT;
    } catch (err) {
      return problem(c, err);
    }
  },
});

/** Reads what a key of `keysOf` stands for. */
export async function readKey(readings: Readings, key: LiveKey, opts: CallOptions): Promise<unknown> {
  const [topic = '', id = ''] = key.split(' ');
  const read: Record<Topic, () => Promise<unknown>> = {
    runs: () => readings.runs(runsQuerySchema.parse({}), opts),
    run: () => readings.run(id, opts),
    lanes: () => readings.lanes(opts),
    workers: () => readings.workers(opts),
    ingests: () => readings.ingests(opts),
  };
  return isTopic(topic, read) ? read[topic]() : undefined;
}

const isTopic = (text: string, of: Record<Topic, unknown>): text is Topic => Object.hasOwn(of, text);

/** @throws GantryError INVALID, NOT_FOUND */
async function keysOf(c: RequestContext, readings: Readings, opts: CallOptions): Promise<readonly LiveKey[]> {
  const { topics, run } = checked('query', eventsQuerySchema, c.req.query());
  const wanted = [...new Set(topics)];
  const farm = wanted.some((topic) => topic !== 'ingests') ? readings.farm : undefined;
  if (!wanted.includes('run')) return wanted;
  if (run === undefined) {
    throw new GantryError('INVALID', 'query.run: the topic `run` needs the id of one', { origin: 'user' });
  }
  await farm?.ports.view.run(runId(run), opts);
  return wanted.map((topic) => (topic === 'run' ? `run ${run}` : topic));
}

const tooMany = (): GantryError =>
  new GantryError('BUSY', 'as many listen to this server as it allows', { hint: 'try again later' });
