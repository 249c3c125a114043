/** What clients are told of the trouble with a registry. */
import { ERROR_POLICY, GantryError, isCode } from '../../errors.ts';
import type { Origin } from './rules.ts';

/** Without the message. */
export type Trouble = Pick<GantryError, 'code' | 'status' | 'origin'>;

/** A longer Retry-After is not believed, in milliseconds: a day of it may be a mistake, and would be a day of stale answers. */
export const MAX_QUIET_MS = 600_000;

/**
 * One line. A message of the registry's client may name hosts that it was sent on to, inside the operator's network, and what somebody
 * else asked for.
 */
export function briefly({ name }: Origin, { code, status, origin }: Trouble): string {
  if (status !== undefined) return `${name} answered ${status} (${code})`;
  return `${origin === 'store' ? 'the store' : name}: ${ERROR_POLICY[code].meaning} (${code})`;
}

/** All of it, for the log. */
export const inFull = ({ repository }: Origin, { message }: GantryError): string =>
  `pull-through: ${repository}: ${message.replaceAll(/\s+/g, ' ')}`;

/** The same error for clients. */
export function told(origin: Origin, err: GantryError): GantryError {
  const { code, status, digest, retryAfterMs } = err;
  return new GantryError(code, briefly(origin, err), {
    origin: err.origin,
    cause: err,
    ...(status === undefined ? {} : { status }),
    ...(digest === undefined ? {} : { digest }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.min(retryAfterMs, MAX_QUIET_MS) }),
  });
}

/** Whether it is about the registry, or about how it is asked. What the store says of itself is for the server to tell or not. */
export const isFromThere = (err: unknown): err is GantryError =>
  err instanceof GantryError && (err.origin === 'source' || err.origin === 'user');

/** The registry says nothing about what was asked: neither that it is something else by now, nor that it must not be read. */
export const isAway = (err: unknown): err is GantryError =>
  isCode(err, 'RATE_LIMITED', 'UPSTREAM', 'NETWORK', 'TIMEOUT', 'TLS');

/**
 * Whether what is here may be served in the place of an answer: neither is it said that the tag is gone, nor that it must not be read (451:
 * RFC 7725), nor is anything wrong with us.
 */
export const leavesOld = (err: unknown): err is GantryError =>
  err instanceof GantryError &&
  err.status !== 451 &&
  !isCode(err, 'NOT_FOUND', 'UNAUTHORIZED', 'DENIED', 'REFUSED', 'CANCELLED', 'INVALID', 'USAGE', 'INTERNAL');
