/** The OpenAPI 3.1 document of the API, made of its operations and of the schemas that they are checked with. */
import { z } from 'zod';
import { type Operation, type OperationText, plain, PREFIX } from './operation.ts';
import * as schemas from './schema.ts';

/** What is referred to by name in the document. */
export const NAMED = {
  Error: schemas.errorSchema,
  Problem: schemas.problemSchema,
  Info: schemas.infoSchema,
  Run: schemas.runSchema,
  Runs: schemas.runsSchema,
  RunDetail: schemas.runDetailSchema,
  FailureGroup: schemas.failureGroupSchema,
  Image: schemas.imageSchema,
  Images: schemas.imagesSchema,
  History: schemas.historySchema,
  PullRequest: schemas.pullRequestSchema,
  CopyRequest: schemas.copyRequestSchema,
  Submit: schemas.submitSchema,
  Submitted: schemas.submittedSchema,
  Cancelled: schemas.cancelledSchema,
  Retry: schemas.retrySchema,
  Retried: schemas.retriedSchema,
  Lane: schemas.laneSchema,
  Lanes: schemas.lanesSchema,
  LaneChange: schemas.laneChangeSchema,
  Worker: schemas.workerSchema,
  Workers: schemas.workersSchema,
  Ingest: schemas.ingestSchema,
  Ingests: schemas.ingestsSchema,
};

type Json = Record<string, unknown>;

const refTo = (id: string): string => `#/components/schemas/${id}`;

const WHY: Readonly<Record<number, string>> = {
  400: 'The request cannot be understood; the message says where',
  401: 'The token is missing or wrong',
  403: 'Not for pages of other sites, or the server has no token and changes nothing',
  404: 'There is no such thing',
  409: 'Not as it stands now',
  413: 'The body is too large',
  415: 'The body is not JSON',
  500: 'A defect',
  503: 'The farm does not answer; the same request may work later',
};
const ALWAYS = [401, 403, 500, 503];

export function openApi(operations: readonly OperationText[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const each of operations)
    paths[`${PREFIX}${each.path}`] = { ...paths[`${PREFIX}${each.path}`], [each.method]: operationJson(each) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'gantry',
      version,
      description:
        'What a farm does, and what it is to do. Times are ISO 8601, durations milliseconds, sizes bytes. What is unknown is null.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      schemas: componentsJson(),
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}

/** The document itself is one of the operations. */
export function withDocument(operations: readonly Operation[], version: string): readonly Operation[] {
  const document = plain({
    method: 'get',
    path: '/openapi.json',
    id: 'showDocument',
    summary: 'This document',
    answers: { 200: z.record(z.string(), z.unknown()) },
    problems: [],
    handle: async () => ({ json }),
  });
  const all = [...operations, document];
  const json = openApi(all, version);
  return all;
}

function operationJson({ method, path, id, summary, description, query, body, answers, ...text }: OperationText): Json {
  const type = text.contentType ?? 'application/json';
  const good = Object.entries(answers).map(([status, schema]) => [
    status,
    { description: status === '201' ? 'Created' : 'OK', content: { [type]: { schema: schemaJson(schema, 'output') } } },
  ]);
  const bad = [...new Set([...text.problems, ...ALWAYS])].map((status) => [
    String(status),
    { description: WHY[status], content: { 'application/json': { schema: { $ref: refTo('Problem') } } } },
  ]);
  return {
    operationId: id,
    summary,
    ...(description === undefined ? {} : { description }),
    security: method === 'get' ? [{}, { token: [] }] : [{ token: [] }],
    parameters: [...pathParameters(path), ...queryParameters(query)],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: body.isOptional !== true,
            content: { 'application/json': { schema: schemaJson(body.schema, 'input') } },
          },
        }),
    responses: Object.fromEntries([...good, ...bad]),
  };
}

const pathParameters = (path: string): Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: schemaJson(name === 'id' ? schemas.runIdSchema : schemas.laneNameSchema, 'input'),
  }));

function queryParameters(query: z.ZodType | undefined): Json[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = z.toJSONSchema(query, { io: 'input' });
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
}

type Schema = z.core.JSONSchema.BaseSchema;

function schemaJson(schema: z.ZodType, io: 'input' | 'output'): Schema {
  const name = Object.entries(NAMED).find(([, each]) => each === schema)?.[0];
  if (name !== undefined) return { $ref: refTo(name) };
  const { $schema: _told, ...json } = z.toJSONSchema(schema, { io, override: simple });
  return json;
}

function componentsJson(): Record<string, Schema> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id });
  const { schemas: all } = z.toJSONSchema(registry, { uri: refTo, override: simple });
  return Object.fromEntries(
    Object.entries(all).map(([name, { $schema: _told, $id: _named, ...json }]) => [name, json]),
  );
}

/** The format says what the pattern of zod says, in a line that can be read; likewise the largest integer. */
function simple({ jsonSchema }: { jsonSchema: Schema }): void {
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}
