/** The faults that can be ordered. Each is a function that edits the answer; see answer.ts for what can be edited. */
import { type Answer, answer, type Cut, type Framing, type HeaderValue, ociError } from './answer.ts';
import { asContent, type Content, filled } from './content.ts';
import type { Effect } from './faults.ts';
import type { Kind } from './log.ts';

/** Another answer in place of the right one; what is about the connection stays. */
const replace = (target: Answer, other: Answer): void => {
  target.status = other.status;
  target.headers = other.headers;
  target.content = other.content;
  target.range = undefined;
};

const CODES: Record<number, string> = {
  400: 'UNSUPPORTED',
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  413: 'SIZE_INVALID',
  429: 'TOOMANYREQUESTS',
};

/** What a 404 says. */
const UNKNOWN: Partial<Record<Kind, string>> = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  chunk: 'BLOB_UPLOAD_UNKNOWN',
  'upload-end': 'BLOB_UPLOAD_UNKNOWN',
  'upload-status': 'BLOB_UPLOAD_UNKNOWN',
  'upload-cancel': 'BLOB_UPLOAD_UNKNOWN',
};

/** An answer with this status. The body is an OCI error unless another is given. */
export const status =
  (code: number, options: { body?: string | Uint8Array; headers?: Record<string, HeaderValue> } = {}): Effect =>
  (a, { entry }) => {
    const known = code === 404 ? (UNKNOWN[entry.kind] ?? 'NAME_UNKNOWN') : CODES[code];
    const error = { code: known ?? 'UNKNOWN', message: `ordered ${code}` };
    const type = options.body === undefined ? 'application/json' : 'text/plain';
    const body = options.body ?? JSON.stringify({ errors: [error] });
    replace(a, answer(code, { 'content-type': type, ...options.headers }, body));
  };

/** Success, whether it is one or not. */
export const answering =
  (status: number): Effect =>
  (a) =>
    replace(a, answer(status));

/** An error with a code of its own. */
export const error =
  (status: number, code: string, detail?: unknown): Effect =>
  (a) =>
    replace(a, ociError(status, code, `ordered ${code}`, detail));

/** 429 (or 503) with the Retry-After that is given: seconds, an HTTP date, anything; `undefined` for none. */
export const retryAfter = (value: string | undefined, code = 429): Effect =>
  status(code, value === undefined ? {} : { headers: { 'retry-after': value } });

/** Sets headers, or takes them away with `undefined`; wins over what the answer would carry. */
export const headers =
  (changes: Record<string, HeaderValue | undefined>): Effect =>
  (a) => {
    for (const [name, value] of Object.entries(changes)) a.overrides.set(name.toLowerCase(), value);
  };

export const digestHeader = (value: string | undefined): Effect => headers({ 'docker-content-digest': value });
export const etag = (value: string | undefined): Effect => headers({ etag: value });
export const contentRange = (value: string | undefined): Effect => headers({ 'content-range': value });
export const contentType = (value: string | undefined): Effect => headers({ 'content-type': value });
/** A Content-Length that is not that of the body. The connection closes after the body. */
export const contentLength = (value: number): Effect => headers({ 'content-length': String(value) });

/** Other bytes with the same headers and status; the Content-Length is that of the new bytes. */
export const body =
  (data: Content | Uint8Array | string): Effect =>
  (a) => {
    a.content = asContent(data);
    if (a.range) a.status = 200;
    a.range = undefined;
  };

/** 200 and a web page, as captive portals and broken proxies send. */
export const html = (text = '<!doctype html><title>Welcome</title><p>Please log in.</p>'): Effect => {
  return (a) => replace(a, answer(200, { 'content-type': 'text/html; charset=utf-8' }, text));
};

/** A well-formed manifest of this size that is made while it is sent. */
export const hugeManifest = (size = 100 * 1024 * 1024): Effect =>
  body(filled({ head: '{"schemaVersion":2,"annotations":{"a":"', fill: 'x', tail: '"}}', size }));

/** `count` headers of `size` bytes each. */
export const manyHeaders = (count: number, size: number): Effect =>
  headers(Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-filler-${i}`, 'x'.repeat(size)])));

/** How the end of the body is told: by length, in chunks, or by closing. */
export const framing =
  (how: Framing): Effect =>
  (a) => {
    a.framing = how;
  };

/** Sends the upload on elsewhere: gets the honest place. */
export const location =
  (edit: (honest: string) => string): Effect =>
  (a) => {
    const honest = a.headers.get('location');
    if (typeof honest === 'string') a.headers.set('location', edit(honest));
  };

/** Ends the connection after `after` bytes of this body. A reset may also destroy bytes that are on their way. */
export const cut =
  (after: number, by: Cut = 'FIN'): Effect =>
  (a) => {
    a.stop = { after, how: by };
  };

/** Ends the connection in place of an answer. */
export const drop =
  (by: Cut = 'RST'): Effect =>
  (a) => {
    a.drop = by;
  };

/** Says nothing more after `after` bytes of this body; the connection stays. */
export const stallBody =
  (after: number): Effect =>
  (a) => {
    a.stop = { after, how: 'stall' };
  };

/** Takes the request and says nothing. */
export const stallHeaders: Effect = (a) => {
  a.silent = true;
};

/** `bytes` at a time, one portion per interval. */
export const trickle =
  (everyMs: number, bytes = 1): Effect =>
  (a) => {
    a.pace = { bytes, everyMs };
  };

/** Waits before the answer. */
export const delay =
  (ms: number): Effect =>
  (a) => {
    a.delayMs += ms;
  };

export const bytesPerSecond =
  (rate: number): Effect =>
  (a) => {
    a.bytesPerSecond = rate;
  };

/** Answers when the promise is fulfilled: tests wait for events, not for time. */
export const hold =
  (until: Promise<unknown>): Effect =>
  (a) => {
    a.holds.push(until);
  };

/** Stops after `at` bytes of this body and goes on when the promise is fulfilled. */
export const holdBody =
  (at: number, until: Promise<unknown>): Effect =>
  (a) => {
    a.gates.push({ at, until });
  };

/** Inverts the byte at this place of the content, if the part that is sent has it. */
export const flip =
  (offset: number): Effect =>
  (a) => {
    a.flips.push(offset);
  };

/** Sends more bytes than there are; `declared` says whether Content-Length counts them. */
export const longer =
  (bytes: number, declared = true): Effect =>
  (a) => {
    a.extra = bytes;
    if (!declared) a.overrides.set('content-length', String(lengthOf(a)));
  };

export const lengthOf = (a: Answer): number => (a.range ? a.range.end - a.range.start : a.content.size);

/** 200 and everything, whatever part was asked for. */
export const ignoreRange: Effect = (a) => {
  if (a.range === undefined) return;
  a.range = undefined;
  a.status = 200;
};

/** 416, also for a range that is fine. */
export const rangeNotSatisfiable: Effect = (a) => {
  const size = a.content.size;
  replace(a, answer(416, { 'content-range': `bytes */${size}` }));
};

/** A 206 that starts `by` bytes from where it was asked to, and says so. */
export const shiftRange =
  (by: number): Effect =>
  (a) => {
    if (a.range) a.range = { start: Math.max(0, a.range.start + by), end: a.range.end };
  };

/** Sends the client elsewhere; `undefined` forgets the Location, a relative reference stays one. */
export const redirect =
  (to: string | undefined | ((path: string) => string), code = 307): Effect =>
  (a, { entry }) => {
    const location = typeof to === 'function' ? to(entry.path) : to;
    replace(a, answer(code, location === undefined ? {} : { location }, 'elsewhere'));
  };

/** Sends the client back to the same place. */
export const redirectLoop: Effect = (a, asked) => redirect(asked.url.href)(a, asked);

/** A `Link` to the next page: anywhere. */
export const nextPage = (url: string): Effect => headers({ link: `<${url}>; rel="next"` });

/** A `Link` from a page to itself. */
export const nextPageIsThis: Effect = (a, { entry }) => {
  a.overrides.set('link', `<${entry.path}>; rel="next"`);
};

/** These bytes in place of an HTTP answer; then the connection closes. */
export const raw =
  (bytes: string | Uint8Array): Effect =>
  (a) => {
    a.raw = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
  };

/** Answers well, keeps the connection, and cuts it as soon as it is used again. */
export const resetWhenReused =
  (by: Cut = 'RST'): Effect =>
  (a) => {
    a.resetNext = by;
  };

/** Calls the function when the answer was sent: the place for a tag to move, a blob to vanish. */
export const afterwards =
  (act: () => void): Effect =>
  (a) => {
    a.afterwards.push(act);
  };
