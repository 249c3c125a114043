/** From a registry's answer to an error: the status classes, the error document (distribution-spec, "Error Codes"), Retry-After. */
import { asGantryError, type ErrorCode, type ErrorDetails, GantryError } from '../errors.ts';

const MAX_RETRY_AFTER_MS = 24 * 3600_000;
const MAX_DETAIL = 200;

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The start of the body, 8 KiB at most. */
  readonly body: Uint8Array;
  readonly host: string;
  /** What was asked for, as a noun phrase: `manifest 7 of docker.io/library/redis`. */
  readonly what: string;
  /** What was sent in confidence; a server that repeats it in its error must not bring it into a log. */
  readonly secrets?: readonly string[];
}

/** What an answer says is wrong. */
export interface Refusal {
  /** Those of the error document (distribution-spec, "Error Codes"). */
  readonly codes: readonly string[];
  /** One line, empty where the registry does not say. */
  readonly detail: string;
  readonly error: GantryError;
}

export const refusalOf = (answer: Answer): Refusal => ({
  codes: errorCodes(answer.body),
  detail: errorDetail(answer.body, answer.secrets),
  error: answerError(answer),
});

/** 4xx is final, except where the number says otherwise (408 timeout, 425 too early, 429 too many). So is 501: it never will. */
function codeOf(status: number): ErrorCode {
  switch (status) {
    case 401:
      return 'UNAUTHORIZED';
    case 403:
      return 'DENIED';
    case 404:
    case 410:
      return 'NOT_FOUND';
    case 408:
    case 425:
      return 'TIMEOUT';
    case 429:
      return 'RATE_LIMITED';
    case 501:
    case 505:
      return 'UNSUPPORTED';
    default:
      return status >= 500 ? 'UPSTREAM' : 'UNSUPPORTED';
  }
}

export function answerError(answer: Answer, nowMs: number = Date.now()): GantryError {
  const code = codeOf(answer.status);
  const detail = errorDetail(answer.body, answer.secrets);
  const retryAfterMs = parseRetryAfter(answer.retryAfter, nowMs);
  const message = `${answer.host} answered ${answer.status} for ${answer.what}${detail === '' ? '' : `: ${detail}`}`;
  return new GantryError(code, message, {
    origin: 'source',
    status: answer.status,
    host: answer.host,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs, hint: comeBack(retryAfterMs, nowMs) }),
  });
}

/** The same error, with the content that it is about, where it does not say so itself. */
export const aboutContent = (err: GantryError, digest: string | undefined): GantryError =>
  digest === undefined || err.digest !== undefined ? err : changed(err, { digest });

/** What a request to a target threw: the client, which knows no sides, takes all for sources. */
export function targetError(thrown: unknown, digest: string | undefined): GantryError {
  const err = asGantryError(thrown, 'NETWORK');
  if (err.code === 'CANCELLED' || err.origin === 'user') return err;
  return changed(err, { origin: 'target', digest: err.digest ?? digest });
}

/** Asks a target by what knows no sides and takes all for sources. */
export async function atTarget<T>(digest: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    throw targetError(err, digest);
  }
}

function changed(err: GantryError, details: Readonly<Record<string, unknown>>): GantryError {
  const { origin, cause, retryAfterMs, status, host, hint, digest } = err;
  const all = { origin, cause, retryAfterMs, status, host, hint, digest, ...details };
  const given: ErrorDetails = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new GantryError(err.code, err.message, given);
}

function errorCodes(body: Uint8Array): string[] {
  const document = parsed(body);
  if (!isObject(document) || !Array.isArray(document['errors'])) return [];
  const errors: readonly unknown[] = document['errors'];
  return errors.flatMap((each) => (isObject(each) && typeof each['code'] === 'string' ? [each['code']] : []));
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}

/** For a limit that is not waited for: when another try makes sense. */
function comeBack(ms: number, nowMs: number): string {
  const at = new Date(nowMs + ms).toISOString().slice(0, 19);
  return `it asks to be left alone for ${Math.ceil(ms / 1000)} s, until ${at}Z`;
}

/**
 * Retry-After in milliseconds (RFC 9110 section 10.2.3): seconds, or an HTTP date. Undefined when absent or not to be
 * understood; never negative; a day at most.
 */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  if (/^-?\d{1,15}$/.test(trimmed)) return clamp(Number(trimmed) * 1000);
  // Date.parse takes almost anything ("1.5", "soon 2"); an HTTP date starts with the name of a day.
  if (!/^(?:mon|tue|wed|thu|fri|sat|sun)/i.test(trimmed)) return undefined;
  // The oldest of the three forms (asctime) names no zone, and would be taken for local time.
  const date = Date.parse(/\b(?:gmt|utc|[+-]\d{4})$/i.test(trimmed) ? trimmed : `${trimmed} GMT`);
  return Number.isNaN(date) ? undefined : clamp(date - nowMs);
}

const clamp = (ms: number): number => Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms));

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** What the error document says, on one line, without control characters; empty for anything else, such as HTML. */
export function errorDetail(body: Uint8Array, secrets: readonly string[] = []): string {
  const document = parsed(body);
  if (!isObject(document)) return '';
  const { errors } = document;
  const listed: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const { code, message } = isObject(listed) ? listed : document;
  const text = [code, message].filter((part): part is string => typeof part === 'string' && part !== '').join(': ');
  return withoutSecrets(text, secrets)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, MAX_DETAIL)
    .toWellFormed();
}

/**
 * A server that repeats what it was sent is no excuse for a password in a log. Before any cut, which could leave half of one; the longest
 * first, of which another one may be a part.
 */
const withoutSecrets = (text: string, secrets: readonly string[]): string =>
  secrets
    .toSorted((a, b) => b.length - a.length)
    .reduce((shown, secret) => (secret.length < 4 ? shown : shown.replaceAll(secret, '[secret]')), text);
