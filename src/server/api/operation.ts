/** One operation of the API: its route and its part of the OpenAPI document come from the same lines. */
import { z } from 'zod';
import type { CallOptions } from '../../call.ts';
import { GantryError, isCode } from '../../errors.ts';
import { type App, callOptions, type RequestContext } from '../http.ts';
import { readJson } from './body.ts';
import { problem, type ProblemStatus } from './problem.ts';

export type Method = 'get' | 'post' | 'patch';

/** What the document says of an operation. */
export interface OperationText {
  readonly method: Method;
  /** As OpenAPI writes it: `/runs/{id}`, below PREFIX. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly query?: z.ZodType;
  readonly body?: BodyText;
  /** By status. */
  readonly answers: Readonly<Partial<Record<AnswerStatus, z.ZodType>>>;
  /** Of answers, where it is not JSON. */
  readonly contentType?: string;
  /** Errors that belong to it, beside those that any operation may have. */
  readonly problems: readonly ProblemStatus[];
}

export type AnswerStatus = 200 | 201;

interface BodyText<Body = unknown> {
  readonly schema: z.ZodType<Body>;
  readonly maxBytes: number;
  /** An absent body is an empty object. */
  readonly isOptional?: boolean;
}

export interface Operation extends OperationText {
  readonly answer: (c: RequestContext) => Promise<Response>;
}

/** What a handler is given. */
export interface Asked<Query, Body> extends CallOptions {
  /** A parameter of the path. */
  readonly param: (name: string) => string;
  readonly query: Query;
  readonly body: Body;
}

interface Answer {
  readonly status?: AnswerStatus;
  readonly headers?: Record<string, string>;
  readonly json: unknown;
}

type Definition<Query, Body> = Omit<OperationText, 'query' | 'body'> & {
  readonly query: z.ZodType<Query>;
  readonly body: BodyText<Body>;
  /** For errors of the code USAGE, where it says more than 400. */
  readonly statusOfUsage?: ProblemStatus;
  readonly handle: (asked: Asked<Query, Body>) => Promise<Answer>;
};

/** Whatever is sent is not looked at. */
export const noQuery = z.unknown();
export const noBody: BodyText = { schema: z.unknown(), maxBytes: 0 };

export const PREFIX = '/api/v1';

export function operation<Query, Body>(definition: Definition<Query, Body>): Operation {
  const { query: querySchema, body: bodyText, handle, statusOfUsage, ...text } = definition;
  return {
    ...text,
    ...(querySchema === noQuery ? {} : { query: querySchema }),
    ...(bodyText === noBody ? {} : { body: bodyText }),
    answer: async (c) => {
      try {
        const param = (name: string): string => c.req.param(name) ?? '';
        const query = checked('query', querySchema, c.req.query());
        const body = bodyText === noBody ? {} : await readBody(bodyText, c);
        const checkedBody = checked('body', bodyText.schema, body);
        const asked = { ...callOptions(c), param, query, body: checkedBody };
        const { json, status = 200, headers = {} } = await handle(asked);
        return c.json(json, status, headers);
      } catch (err) {
        const status = isCode(err, 'USAGE') ? statusOfUsage : undefined;
        return problem(c, err, isCode(err, 'UNSUPPORTED') ? 415 : status);
      }
    },
  };
}

/** An operation that is told all by its path. */
export const plain = (definition: Omit<Definition<unknown, unknown>, 'query' | 'body'>): Operation =>
  operation({ ...definition, query: noQuery, body: noBody });

/** Adds the routes, and for every path what is left of its methods. */
export function addOperations(app: App, operations: readonly Operation[]): void {
  const methods = new Map<string, string[]>();
  for (const { method, path, answer } of operations) {
    const route = `${PREFIX}${path.replaceAll(/\{(\w+)\}/g, ':$1')}`;
    app.on(method.toUpperCase(), route, answer);
    methods.set(route, [
      ...(methods.get(route) ?? []),
      ...(method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]),
    ]);
  }
  for (const [route, allowed] of methods) {
    const allow = allowed.join(', ');
    const why = new GantryError('USAGE', `only ${allow}`, { origin: 'user' });
    app.all(route, (c) => problem(c, why, 405, { allow }));
  }
}

async function readBody({ maxBytes, isOptional = false }: BodyText, c: RequestContext): Promise<unknown> {
  const given = await readJson(c, maxBytes);
  if (given !== undefined) return given;
  if (isOptional) return {};
  throw new GantryError('INVALID', 'the body is missing', { origin: 'user', hint: 'send a JSON object' });
}

/** @throws GantryError INVALID that names the first place that is wrong */
export function checked<T>(what: string, schema: z.ZodType<T>, given: unknown): T {
  const read = schema.safeParse(given);
  if (read.success) return read.data;
  const { path, message } = firstOf(read.error.issues);
  throw new GantryError('INVALID', `${[what, ...path.map(String)].join('.')}: ${message}`, {
    origin: 'user',
    hint: `see ${PREFIX}/openapi.json`,
  });
}

type Issue = z.core.$ZodIssue;

/** Of a value that fits no form, what is wrong with the form that was probably meant: the one it follows furthest. */
function firstOf(issues: readonly Issue[]): Pick<Issue, 'path' | 'message'> {
  const [issue] = issues;
  if (issue?.code !== 'invalid_union') return issue ?? { path: [], message: 'not as it has to be' };
  const depth = (of: readonly Issue[]): number => of[0]?.path.length ?? 0;
  const [meant = []] = issue.errors.toSorted((a, b) => depth(b) - depth(a) || a.length - b.length);
  return meant.length === 0 ? issue : firstOf(meant);
}
