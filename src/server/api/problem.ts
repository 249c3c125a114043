/** Errors as answers of the API. */
import { asGantryError, type ErrorCode, type GantryError, retryClass } from '../../errors.ts';
import type { RequestContext } from '../http.ts';

export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 500 | 503;

const STATUS: Partial<Record<ErrorCode, ProblemStatus>> = {
  USAGE: 400,
  INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  REFUSED: 403,
  NOT_FOUND: 404,
  TOO_LARGE: 413,
};

/** What has no status of its own is ours: 503 where the same request may work later. */
export const statusOf = (err: GantryError): ProblemStatus =>
  STATUS[err.code] ?? (retryClass(err) === 'backoff' ? 503 : 500);

/** What problemSchema describes. Messages of malformed references have a place marked in further lines; they stay. */
export const problemJson = ({ code, origin, message, host, digest, hint, retryAfterMs }: GantryError) => ({
  error: { code, origin, message, host, digest, hint, retryAfterMs },
});

export function problem(c: RequestContext, thrown: unknown, status?: ProblemStatus, headers = {}): Response {
  const err = asGantryError(thrown);
  return c.json(problemJson(err), status ?? statusOf(err), headers);
}
