import type { LogEntry } from './log.ts';
import { asContent, type Content } from './content.ts';
import type { RequestBody } from './request-body.ts';

/** How a connection ends: an orderly close, or a reset. */
export type Cut = 'FIN' | 'RST';

/** How the client learns where the body ends. */
export type Framing = 'length' | 'chunked' | 'close';

export type HeaderValue = string | readonly string[];

/** A request as routes and effects see it. */
export interface Asked {
  readonly entry: LogEntry;
  readonly url: URL;
  readonly body: RequestBody;
}

/** What will be sent, and how. Routes make an honest one; faults edit it. */
export interface Answer {
  status: number;
  /** Lower-case names. Content-Length and Content-Range are added at the end, from `content` and `range`. */
  headers: Map<string, HeaderValue>;
  content: Content;
  /** The part to send, `end` exclusive; makes the answer a 206. */
  range: { start: number; end: number } | undefined;
  framing: Framing;
  /** Headers that win over everything; `undefined` takes a header away. */
  overrides: Map<string, HeaderValue | undefined>;
  /** The answer waits for all of these, then for `delayMs`. */
  holds: Promise<unknown>[];
  delayMs: number;
  /** Cut before the first byte. */
  drop: Cut | undefined;
  /** Never answer. */
  silent: boolean;
  /** Sent instead of an HTTP answer. */
  raw: Uint8Array | undefined;
  /** Places in the content (not in the part that is sent) whose byte is inverted. */
  flips: number[];
  /** After so many bytes of this body. */
  stop: { after: number; how: Cut | 'stall' } | undefined;
  /** After `at` bytes of this body, wait. */
  gates: { at: number; until: Promise<unknown> }[];
  /** Bytes sent after the end of the content. */
  extra: number;
  pace: { bytes: number; everyMs: number } | undefined;
  bytesPerSecond: number | undefined;
  /** Called when the answer is over. */
  afterwards: (() => void)[];
  /** What happens to the connection when the next request comes on it. */
  resetNext: Cut | undefined;
}

export function answer(
  status: number,
  headers: Record<string, HeaderValue> = {},
  body: Content | Uint8Array | string = '',
): Answer {
  return {
    status,
    headers: new Map(Object.entries(headers)),
    content: asContent(body),
    range: undefined,
    framing: 'length',
    overrides: new Map(),
    holds: [],
    delayMs: 0,
    drop: undefined,
    silent: false,
    raw: undefined,
    flips: [],
    stop: undefined,
    gates: [],
    extra: 0,
    pace: undefined,
    bytesPerSecond: undefined,
    afterwards: [],
    resetNext: undefined,
  };
}

export const json = (status: number, value: unknown, headers: Record<string, HeaderValue> = {}): Answer =>
  answer(status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value));

/** An error as the distribution spec writes it. */
export const ociError = (status: number, code: string, message: string, detail?: unknown): Answer =>
  json(status, { errors: [{ code, message, detail }] });
