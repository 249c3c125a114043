/** Conditions and ranges of requests (RFC 9110, sections 13 and 14), of content whose entity tag is its digest. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Digest } from '../../oci/digest.ts';

export const etagOf = (digest: Digest): string => `"${digest}"`;

/** The client has it already: If-None-Match compares weakly (section 13.1.2). */
export function isKnown(headers: IncomingHttpHeaders, digest: Digest): boolean {
  const given = headers['if-none-match'];
  if (given === undefined) return false;
  if (given.trim() === '*') return true;
  return given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etagOf(digest));
}

/** A part of some content: `start` and `end` in bytes, `end` exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const RANGE = /^bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*$/i;

/**
 * What to send of `size` bytes: a part where one is asked for, all where none, several, or something that is no range is (section 14.2
 * lets a server ignore it); undefined where the part lies outside.
 */
export function spanOf(
  headers: IncomingHttpHeaders,
  digest: Digest,
  size: number,
): (Span & { part: boolean }) | undefined {
  const whole = { start: 0, end: size, part: false };
  const { range, 'if-range': condition } = headers;
  // Strongly compared, and there are no dates to compare (section 13.1.5).
  if (range === undefined || (condition !== undefined && condition !== etagOf(digest))) return whole;
  const [matched, first = '', last = ''] = RANGE.exec(range) ?? [];
  if (matched === undefined || (first === '' && last === '')) return whole;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? undefined : { start: size - length, end: size, part: true };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return whole;
  if (start >= size) return undefined;
  return { start, end: last === '' ? size : Math.min(Number(last) + 1, size), part: true };
}
