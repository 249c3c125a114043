/** What a registry answers when it does not give what was asked for (distribution-spec, "Error Codes", and those of docker's registry). */
import { type ErrorCode, GantryError } from '../../errors.ts';

const STATUS = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  TAG_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const;

export interface Refusal {
  readonly kind: 'refused';
  readonly status: number;
  readonly code: keyof typeof STATUS;
  /** One line, for people. */
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

export const refusal = (
  code: keyof typeof STATUS,
  message: string,
  more: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Refusal => ({ kind: 'refused', status: more.status ?? STATUS[code], code, message, headers: more.headers ?? {} });

/** distribution-spec: `{"errors":[{"code","message","detail"}]}` */
export const refusalText = ({ code, message }: Refusal): string =>
  JSON.stringify({ errors: [{ code, message, detail: null }] });

/** What a client may do about it decides; what it was in detail is for the log of the server. */
const BY_CODE: Partial<Record<ErrorCode, keyof typeof STATUS>> = {
  RATE_LIMITED: 'TOOMANYREQUESTS',
  DENIED: 'DENIED',
  UNAUTHORIZED: 'DENIED',
  UPSTREAM: 'UNAVAILABLE',
  NETWORK: 'UNAVAILABLE',
  TIMEOUT: 'UNAVAILABLE',
  BUSY: 'UNAVAILABLE',
};

/** For what failed. Messages of the store name its files, which are nobody's business but the owner's. */
export function failure(err: unknown): Refusal {
  const code = (err instanceof GantryError ? BY_CODE[err.code] : undefined) ?? 'UNKNOWN';
  // What another registry sent is no secret of this one.
  const isUpstream = err instanceof GantryError && code === 'UNKNOWN' && err.origin === 'source';
  const isTold = err instanceof GantryError && (code !== 'UNKNOWN' || isUpstream);
  const after = err instanceof GantryError ? err.retryAfterMs : undefined;
  return refusal(code, isTold ? err.message.replaceAll(/\s+/g, ' ') : 'the registry failed; its log says why', {
    ...(isUpstream ? { status: 502 } : {}),
    headers: after === undefined ? {} : { 'retry-after': String(Math.ceil(after / 1000)) },
  });
}
