/**
 * The shapes of the API: what goes in is checked by these, what comes out is held against them in tests, and the OpenAPI document
 * is made of them. Times are ISO 8601, durations milliseconds, sizes bytes. What is unknown is null.
 */
import { z } from 'zod';

const count = z.int().min(0);
const time = z.iso.datetime();
const text = (max: number) => z.string().min(1).max(max);

export const runStateSchema = z.enum(['running', 'done', 'cancelled']);
export const runIdSchema = z.string().regex(/^r[0-9a-f]{10}$/);
/** As lanes are called: the host of a registry. */
export const laneNameSchema = z.string().regex(/^(?:[\w.-]{1,253}|\[[\da-f:.]{2,45}\])(?::\d{1,5})?$/i);

export const errorSchema = z.object({
  code: z.string().meta({ description: 'see docs/errors.md' }),
  origin: z.enum(['user', 'source', 'target', 'store', 'gantry']),
  message: z.string(),
  host: z.string().optional(),
  digest: z.string().optional(),
  hint: z.string().optional(),
  retryAfterMs: z.number().optional(),
});

/** What every answer other than 2xx has as its body. */
export const problemSchema = z.object({ error: errorSchema });

export const runSchema = z.object({
  id: runIdSchema,
  state: runStateSchema,
  createdAt: time,
  endedAt: time.nullable(),
  images: z.object({ total: count, fed: count, open: count, done: count, failed: count, cancelled: count }),
  nodes: z.object({ known: count, done: count, failed: count, skipped: count }),
  bytes: count,
  bytesPerSecond: z.number().meta({ description: 'over the life of the run' }),
  bytesPerSecondNow: z.number().nullable().meta({ description: 'over the last seconds; null when it has ended' }),
  etaMs: z.number().nullable(),
  failuresByCode: z.record(z.string(), count).meta({ description: 'failed images by the code of their error' }),
  labels: z.record(z.string(), z.string()),
});

export const failureGroupSchema = z.object({
  code: z.string(),
  origin: z.string(),
  count,
  examples: z.array(
    z.object({
      name: z.string(),
      digest: z.string().optional(),
      host: z.string().optional(),
      message: z.string(),
    }),
  ),
});

export const runDetailSchema = runSchema.extend({
  waiting: z.array(z.string()).meta({ description: 'why it does not move, one line each' }),
  failures: z.array(failureGroupSchema),
});

export const runsQuerySchema = z.object({
  state: runStateSchema.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});
export const runsSchema = z.object({ runs: z.array(runSchema) });

export const imageStateSchema = z.enum(['waiting', 'open', 'done', 'failed', 'cancelled']);
export const imageSchema = z.object({
  index: count.meta({ description: 'its place in the request' }),
  name: z.string(),
  state: imageStateSchema.meta({ description: '`waiting`: not handed to the workers yet; `open`: handed to them' }),
  digest: z.string().nullable(),
  mediaType: z.string().nullable(),
  bytes: count.nullable().meta({ description: 'moved for it; null while it is not done' }),
  tookMs: count.nullable(),
  endedAt: time.nullable(),
  error: errorSchema.nullable(),
});
export const imagesQuerySchema = z.object({
  state: imageStateSchema.optional(),
  code: z.string().max(40).optional().meta({ description: 'only those that failed with this code' }),
  q: z.string().max(200).optional().meta({ description: 'only names that have this text in them' }),
  offset: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});
export const imagesSchema = z.object({
  total: count.meta({ description: 'that fit the filters' }),
  offset: count,
  images: z.array(imageSchema),
});

export const historySchema = z.object({
  stepMs: count,
  /** The oldest first, one each `stepMs`; since the server knows the run. */
  points: z.array(z.object({ at: time, bytesPerSecond: z.number(), openNodes: count, imagesDone: count })),
});

export const laneSchema = z.object({
  name: z.string(),
  waiting: count,
  active: count,
  delayed: count,
  oldestAt: time.nullable(),
  concurrency: count.nullable(),
  quota: z.object({ requests: count, periodMs: count }).nullable(),
  headroom: z.array(z.object({ identity: z.string(), limit: z.number(), remaining: z.number() })),
  paused: z.boolean(),
  blockedUntil: time.nullable(),
  blockedBecause: z.string().nullable(),
  workers: count,
});
export const lanesSchema = z.object({ lanes: z.array(laneSchema) });
export const laneChangeSchema = z.strictObject({
  concurrency: z.int().min(1).max(100_000).nullable().optional(),
  quota: z
    .strictObject({ requests: z.int().min(1).max(1_000_000_000), periodMs: z.int().min(1000).max(2_592_000_000) })
    .nullable()
    .optional(),
});

export const ingestSchema = z.object({
  ref: z.string().meta({ description: 'the ref key, as `layer-sha256:...`' }),
  offset: count,
  total: count.nullable(),
  bytesPerSecond: z.number().nullable(),
  startedAt: time,
  worker: z.string().nullable().meta({ description: 'null: not a worker of this farm' }),
  run: z.string().nullable(),
  lane: z.string().nullable(),
});
export const ingestsSchema = z.object({ ingests: z.array(ingestSchema) });

export const workerSchema = z.object({
  id: z.string(),
  host: z.string(),
  pid: count,
  version: z.string(),
  startedAt: time,
  seenAt: time,
  concurrency: count,
  running: count,
  lanes: z.array(z.string()).nullable().meta({ description: 'null: all' }),
  store: z.string().nullable(),
  ingests: z.array(ingestSchema),
});
export const workersSchema = z.object({ workers: z.array(workerSchema) });

const imageReference = text(1024);
/** Without control characters: they are printed on terminals. */
const label = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^\P{Cc}*$/u);
const MAX_LABELS = 64;
const labels = z
  .record(label(60), label(500))
  .refine((of) => Object.keys(of).length <= MAX_LABELS, `no more than ${MAX_LABELS} labels`);
export const pullRequestSchema = z.strictObject({
  pull: z.array(imageReference).min(1).max(50_000),
  platforms: z
    .array(text(100))
    .max(20)
    .optional()
    .meta({ description: 'all unless given; several are wanted together' }),
  target: z
    .string()
    .regex(/^[\w.-]{1,80}$/)
    .optional()
    .meta({ description: 'the id of a store; that of the workers unless given' }),
  labels: labels.optional(),
});
export const copyRequestSchema = z.strictObject({
  copy: z
    .array(z.strictObject({ source: imageReference, target: imageReference }))
    .min(1)
    .max(50_000),
  platforms: z
    .array(text(100))
    .max(20)
    .optional()
    .meta({ description: 'all unless given; one takes the place of the index, of several a new index is made' }),
  labels: labels.optional(),
});
/** Images to pull into a store of the workers, or to copy between registries. */
export const submitSchema = z.union([pullRequestSchema, copyRequestSchema]);
export const submittedSchema = z.object({ id: runIdSchema });
export const cancelledSchema = z.object({
  cancelled: z.boolean().meta({ description: 'false: it had ended already' }),
});
export const retrySchema = z.strictObject({
  code: z.string().max(40).optional().meta({ description: 'only what failed with this code' }),
});
export const retriedSchema = z.object({
  id: runIdSchema.nullable().meta({ description: 'of the new run; null: there is nothing to try again' }),
});

export const infoSchema = z.object({
  version: z.string(),
  /** What this server shows. */
  farm: z.boolean(),
  store: z.string().nullable().meta({ description: 'the id of the store that it serves' }),
  changes: z.boolean().meta({ description: 'whether something can be changed with a token' }),
  protectReads: z.boolean(),
});

export const topicSchema = z.enum(['runs', 'run', 'lanes', 'workers', 'ingests']);
/** `topics=runs,lanes&run=r0123456789` */
export const eventsQuerySchema = z.object({
  topics: z
    .string()
    .max(200)
    .transform((value) => value.split(','))
    .pipe(z.array(topicSchema).min(1).max(5)),
  run: runIdSchema.optional().meta({ description: 'for the topic `run`' }),
});

export type Topic = z.infer<typeof topicSchema>;
export type ErrorJson = z.infer<typeof errorSchema>;
export type FailureGroupJson = z.infer<typeof failureGroupSchema>;
export type RunJson = z.infer<typeof runSchema>;
export type RunDetailJson = z.infer<typeof runDetailSchema>;
export type RunsJson = z.infer<typeof runsSchema>;
export type RunsQuery = z.infer<typeof runsQuerySchema>;
export type ImageJson = z.infer<typeof imageSchema>;
export type ImagesJson = z.infer<typeof imagesSchema>;
export type ImagesQuery = z.infer<typeof imagesQuerySchema>;
export type HistoryJson = z.infer<typeof historySchema>;
export type LaneJson = z.infer<typeof laneSchema>;
export type LanesJson = z.infer<typeof lanesSchema>;
export type IngestJson = z.infer<typeof ingestSchema>;
export type IngestsJson = z.infer<typeof ingestsSchema>;
export type WorkerJson = z.infer<typeof workerSchema>;
export type WorkersJson = z.infer<typeof workersSchema>;
export type InfoJson = z.infer<typeof infoSchema>;
export type SubmitJson = z.infer<typeof submitSchema>;
