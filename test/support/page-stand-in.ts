/**
 * What the status page asks for, by the contract of the API, with whatever content a test wants: text that no registry and no
 * worker would get past gantry, and runs of any size.
 */
import type { z } from 'zod';
import type {
  HistoryJson,
  ImageJson,
  InfoJson,
  IngestJson,
  LaneJson,
  RunDetailJson,
  Topic,
  WorkerJson,
} from '../../src/server/api/schema.ts';
import * as schema from '../../src/server/api/schema.ts';
import { type App, createApp, type RunningServer, startServer } from '../../src/server/http.ts';
import { addPage } from '../../src/server/page.ts';

export interface StandInData {
  info: InfoJson;
  runs: RunDetailJson[];
  images: ImageJson[];
  history: HistoryJson;
  lanes: LaneJson[];
  workers: WorkerJson[];
  ingests: IngestJson[];
}

interface Listener {
  readonly topic: string;
  readonly run: string | undefined;
  readonly write: (text: string) => void;
}

export class StandIn implements AsyncDisposable {
  readonly data: StandInData;
  readonly #listeners = new Set<Listener>();
  #server: RunningServer | undefined;

  private constructor(data: StandInData) {
    this.data = data;
  }

  static async start(data: StandInData, port = 0): Promise<StandIn> {
    const standIn = new StandIn(data);
    const app = addPage(standIn.#routes(createApp()));
    standIn.#server = await startServer({ port, host: '127.0.0.1' }, app);
    return standIn;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Sends everybody what there is now. */
  tell(): void {
    for (const listener of this.#listeners) this.#send(listener);
  }

  #send({ topic, run, write }: Listener): void {
    write(`event: ${topic}\ndata: ${JSON.stringify(this.#answer(topic, run))}\n\n`);
  }

  #answer(topic: string, run: string | undefined): unknown {
    const { runs, lanes, workers, ingests } = this.data;
    const answers: Readonly<Record<Topic, () => unknown>> = {
      runs: () => checked(schema.runsSchema, { runs: runs.map((each) => schema.runSchema.parse(each)) }),
      run: () =>
        checked(
          schema.runDetailSchema,
          runs.find(({ id }) => id === run),
        ),
      lanes: () => checked(schema.lanesSchema, { lanes }),
      workers: () => checked(schema.workersSchema, { workers }),
      ingests: () => checked(schema.ingestsSchema, { ingests }),
    };
    return answers[schema.topicSchema.parse(topic)]();
  }

  #routes(app: App): App {
    const { data } = this;
    app.get('/api/v1/info', (c) => c.json(checked(schema.infoSchema, data.info)));
    app.get('/api/v1/runs', (c) => c.json({ runs: data.runs.map((each) => schema.runSchema.parse(each)) }));
    app.get('/api/v1/runs/:id', (c) => {
      const run = data.runs.find(({ id }) => id === c.req.param('id'));
      return run === undefined ? c.json({ error: { message: 'there is no such run' } }, 404) : c.json(run);
    });
    app.get('/api/v1/runs/:id/history', (c) => c.json(checked(schema.historySchema, data.history)));
    app.get('/api/v1/runs/:id/images', (c) => {
      const { q, state, code, offset, limit } = schema.imagesQuerySchema.parse(c.req.query());
      const found = data.images.filter(
        (image) =>
          (q === undefined || image.name.includes(q)) &&
          (state === undefined || image.state === state) &&
          (code === undefined || image.error?.code === code),
      );
      return c.json({ total: found.length, offset, images: found.slice(offset, offset + limit) });
    });
    app.get('/api/v1/events', (c) => {
      let listener: Listener | undefined;
      const encoder = new TextEncoder();
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const write = (text: string): void => controller.enqueue(encoder.encode(text));
          listener = { topic: c.req.query('topics') ?? '', run: c.req.query('run'), write };
          this.#listeners.add(listener);
          this.#send(listener);
        },
        cancel: () => void (listener !== undefined && this.#listeners.delete(listener)),
      });
      return c.body(body, 200, { 'content-type': 'text/event-stream' });
    });
    return app;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }
}

/** What leaves the stand-in is what the real API could have sent. */
const checked = <T>(shape: z.ZodType<T>, value: unknown): T => shape.parse(value);

export const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();

export function runOf(id: string, over: Partial<RunDetailJson> = {}): RunDetailJson {
  return {
    id,
    state: 'running',
    createdAt: ago(754_000),
    endedAt: null,
    images: { total: 20_000, fed: 3250, open: 1000, done: 2238, failed: 12, cancelled: 0 },
    nodes: { known: 16_250, done: 11_200, failed: 12, skipped: 40 },
    bytes: 84_200_300_400,
    bytesPerSecond: 111_670_000,
    bytesPerSecondNow: 164_000_000,
    etaMs: 5_980_000,
    failuresByCode: { NOT_FOUND: 9, DIGEST_MISMATCH: 3 },
    labels: { target: 'registry.example:5000/mirror', platforms: 'linux/amd64,linux/arm64' },
    waiting: [],
    failures: [],
    ...over,
  };
}

export function imageOf(index: number, over: Partial<ImageJson> = {}): ImageJson {
  return {
    index,
    name: `registry.example:5000/team/service-${index % 50}:v${index}`,
    state: 'done',
    digest: `sha256:${index.toString(16).padStart(64, '0')}`,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    bytes: 31_000_000 + index,
    tookMs: 2400 + (index % 700),
    endedAt: ago(3000),
    error: null,
    ...over,
  };
}

/** A farm at work, quite usual. */
export function usualData(): StandInData {
  const digest = (n: number): string => `sha256:${n.toString(16).padStart(4, '0').repeat(16)}`;
  const ingests = Array.from({ length: 12 }, (_, i): IngestJson => ({
    ref: `layer-${digest(i + 7)}`,
    offset: 1_300_000 * (i * i + 3),
    total: i === 5 ? null : 310_000_000,
    bytesPerSecond: 9_800_000 + i * 300_000,
    startedAt: ago(5000 * (i + 1)),
    worker: `node-${1 + (i % 3)}-4f2a`,
    run: 'r0000000001',
    lane: i % 2 === 0 ? 'docker.io' : 'registry.example:5000',
  }));
  const points = Array.from({ length: 150 }, (_, i) => ({
    at: ago((150 - i) * 5000),
    bytesPerSecond: 1.1e8 + 6e7 * Math.sin(i / 9) + 2e7 * Math.sin(i * 1.7),
    openNodes: Math.round(4000 * (1 - Math.exp(-i / 25)) + 300 * Math.sin(i / 4)),
    imagesDone: i * 15,
  }));
  return {
    info: { version: '0.1.0', farm: true, store: null, changes: true, protectReads: false },
    runs: [
      runOf('r0000000002', {
        state: 'done',
        endedAt: ago(40_000),
        createdAt: ago(3_600_000),
        images: { total: 412, fed: 412, open: 0, done: 405, failed: 7, cancelled: 0 },
        bytesPerSecondNow: null,
        etaMs: null,
        failuresByCode: { RATE_LIMITED: 4, NOT_FOUND: 3 },
        labels: { target: '/srv/images', retryOf: 'r0000000009' },
      }),
      runOf('r0000000001', {
        waiting: ['docker.io: blocked until 2026-01-01T14:05:00.000Z: 429 from registry-1.docker.io'],
        failures: [
          {
            code: 'NOT_FOUND',
            origin: 'source',
            count: 9,
            examples: [{ name: 'docker.io/library/nosuch:1', message: 'docker.io has no library/nosuch:1' }],
          },
          {
            code: 'DIGEST_MISMATCH',
            origin: 'source',
            count: 3,
            examples: [{ name: 'registry.example:5000/a/b:v3', message: `wanted ${digest(3)}, got ${digest(4)}` }],
          },
        ],
      }),
      runOf('r0000000003', {
        state: 'cancelled',
        endedAt: ago(86_000_000),
        createdAt: ago(86_400_000),
        images: { total: 90, fed: 90, open: 0, done: 30, failed: 0, cancelled: 60 },
        bytesPerSecondNow: null,
        etaMs: null,
        failuresByCode: {},
        labels: {},
      }),
    ],
    images: Array.from({ length: 300 }, (_, i) =>
      i % 9 !== 2
        ? imageOf(i)
        : imageOf(i, {
            state: 'failed',
            digest: null,
            bytes: null,
            error: {
              code: 'NOT_FOUND',
              origin: 'source',
              message: 'registry.example:5000 has no such tag',
              hint: 'check the name',
            },
          }),
    ),
    history: { stepMs: 5000, points },
    lanes: [
      {
        name: 'docker.io',
        waiting: 8123,
        active: 12,
        delayed: 40,
        oldestAt: ago(600_000),
        concurrency: 16,
        quota: { requests: 200, periodMs: 21_600_000 },
        headroom: [
          { identity: 'anonymous', limit: 200, remaining: 12 },
          { identity: 'robot', limit: 1000, remaining: 760 },
        ],
        paused: false,
        blockedUntil: new Date(Date.now() + 42_000).toISOString(),
        blockedBecause: '429 from registry-1.docker.io',
        workers: 3,
      },
      { ...emptyLane('registry.example:5000'), waiting: 51, active: 30, workers: 3 },
      { ...emptyLane('quay.io'), paused: true, waiting: 4 },
    ],
    workers: [1, 2, 3].map((n) => ({
      id: `node-${n}-4f2a`,
      host: `node-${n}.rack.example`,
      pid: 4000 + n,
      version: '0.1.0',
      startedAt: ago(n * 9_000_000),
      seenAt: ago(600),
      concurrency: 32,
      running: 10 * n,
      lanes: n === 3 ? ['docker.io', 'quay.io'] : null,
      store: '0f3c2a5e-9b1d-4a77-8c1e-2f6b7d8e9a01',
      ingests: ingests.filter(({ worker }) => worker === `node-${n}-4f2a`),
    })),
    ingests,
  };
}

export const emptyLane = (name: string): LaneJson => ({
  name,
  waiting: 0,
  active: 0,
  delayed: 0,
  oldestAt: null,
  concurrency: null,
  quota: null,
  headroom: [],
  paused: false,
  blockedUntil: null,
  blockedBecause: null,
  workers: 0,
});
