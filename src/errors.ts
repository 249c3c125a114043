/**
 * The one error class. `code` says what went wrong, `origin` whose fault it is, and the policy table says whether
 * trying again can help and how a process that ends with it exits. Nothing else decides about retries.
 */

/** What a caller may do about an error of a code. */
export type RetryClass =
  /** The same request may work a little later. */
  | 'backoff'
  /** The bytes received so far are worthless: drop them and start at zero, once. */
  | 'restart'
  /** This source will not help, another one (a mirror, another repository with the same blob) may. */
  | 'elsewhere'
  /** It will fail in the same way. */
  | 'never';

interface ErrorPolicy {
  readonly retry: RetryClass;
  /** The exit code of the command line. */
  readonly exit: number;
  readonly meaning: string;
}

/** Every code that gantry throws. docs/errors.md lists the same table; a test keeps them equal. */
export const ERROR_POLICY = {
  USAGE: { retry: 'never', exit: 2, meaning: 'a flag, argument or configuration that cannot be used as given' },
  INVALID: { retry: 'never', exit: 2, meaning: 'a reference, digest, platform or file of the user that is malformed' },
  MALFORMED: { retry: 'elsewhere', exit: 1, meaning: 'content or an answer that breaks its specification' },
  UNSUPPORTED: { retry: 'never', exit: 1, meaning: 'valid, but not something gantry handles' },
  NOT_FOUND: { retry: 'elsewhere', exit: 4, meaning: 'the named thing does not exist there' },
  UNAUTHORIZED: { retry: 'elsewhere', exit: 5, meaning: 'the registry wants credentials, or declined those it got' },
  DENIED: { retry: 'elsewhere', exit: 5, meaning: 'the credentials are good, but not for this' },
  RATE_LIMITED: { retry: 'backoff', exit: 7, meaning: 'the registry asked to come back later' },
  UPSTREAM: { retry: 'backoff', exit: 1, meaning: 'the registry failed (5xx)' },
  NETWORK: { retry: 'backoff', exit: 1, meaning: 'no connection, or one that broke' },
  TIMEOUT: { retry: 'backoff', exit: 1, meaning: 'no answer, or no bytes, for too long' },
  TLS: { retry: 'never', exit: 1, meaning: 'the certificate of the other side is not trusted' },
  REFUSED: {
    retry: 'never',
    exit: 1,
    meaning: 'gantry will not do this: it would leak credentials, reach inside, or take away too much',
  },
  TOO_LARGE: { retry: 'never', exit: 1, meaning: 'more than the bound for this kind of content' },
  DIGEST_MISMATCH: { retry: 'restart', exit: 6, meaning: 'the bytes are not those that the digest names' },
  SIZE_MISMATCH: { retry: 'restart', exit: 6, meaning: 'more or fewer bytes than the descriptor says' },
  IN_USE: { retry: 'never', exit: 1, meaning: 'an image name still needs this content' },
  BUSY: { retry: 'backoff', exit: 1, meaning: 'another process is writing this' },
  LOST_LOCK: { retry: 'backoff', exit: 1, meaning: 'another process took this write over' },
  NO_SPACE: { retry: 'never', exit: 1, meaning: 'the disk is full' },
  IO: { retry: 'never', exit: 1, meaning: 'the disk failed, or a path is not what it should be' },
  CANCELLED: { retry: 'never', exit: 130, meaning: 'stopped on request' },
  INTERNAL: { retry: 'never', exit: 1, meaning: 'a defect in gantry' },
} as const satisfies Record<string, ErrorPolicy>;

export type ErrorCode = keyof typeof ERROR_POLICY;

/** Whose fault an error is. */
export type ErrorOrigin = 'user' | 'source' | 'target' | 'store' | 'gantry';

export interface ErrorDetails {
  readonly origin?: ErrorOrigin;
  readonly cause?: unknown;
  /** How long the other side asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number;
  /** HTTP status, where an answer was the reason. */
  readonly status?: number;
  /** The content that was asked for. */
  readonly digest?: string;
  /** The host that answered, `name[:port]`. */
  readonly host?: string;
  /** What the user can do about it; printed after the message. */
  readonly hint?: string;
}

export class GantryError extends Error {
  override readonly name = 'GantryError';
  readonly code: ErrorCode;
  readonly origin: ErrorOrigin;
  readonly retryAfterMs: number | undefined;
  readonly status: number | undefined;
  readonly digest: string | undefined;
  readonly host: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.origin = details.origin ?? 'gantry';
    this.retryAfterMs = details.retryAfterMs;
    this.status = details.status;
    this.digest = details.digest;
    this.host = details.host;
    this.hint = details.hint;
  }
}

export const isCode = (err: unknown, ...codes: readonly ErrorCode[]): err is GantryError =>
  err instanceof GantryError && codes.includes(err.code);

export const retryClass = (err: unknown): RetryClass =>
  err instanceof GantryError ? ERROR_POLICY[err.code].retry : 'never';

export const exitCodeOf = (err: unknown): number => (err instanceof GantryError ? ERROR_POLICY[err.code].exit : 1);

/** The message of whatever was thrown. */
export const messageOf = (err: unknown): string => (err instanceof Error ? err.message : String(err));

/** Wraps what is not ours yet, so that everything that leaves a public function has a code. */
export function asGantryError(err: unknown, code: ErrorCode = 'INTERNAL', details: ErrorDetails = {}): GantryError {
  if (err instanceof GantryError) return err;
  if (err instanceof Error && err.name === 'AbortError')
    return new GantryError('CANCELLED', 'cancelled', { cause: err });
  return new GantryError(code, messageOf(err), { ...details, cause: err });
}
