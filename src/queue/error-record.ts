/** Errors as they are kept with a run. Their messages hold no secret: that is seen to where they are made. */
import { type ErrorDetails, GantryError, isCode, retryClass } from '../errors.ts';
import type { ErrorRecord } from '../flow/farm-status.ts';

const MAX_MESSAGE = 2000;

export const errorRecord = (err: GantryError): ErrorRecord => ({
  code: err.code,
  origin: err.origin,
  message: err.message.slice(0, MAX_MESSAGE),
  ...detailsOf(err),
});

const detailsOf = ({ digest, host, hint, status, retryAfterMs }: GantryError | ErrorRecord): ErrorDetails => ({
  ...(digest === undefined ? {} : { digest }),
  ...(host === undefined ? {} : { host }),
  ...(hint === undefined ? {} : { hint }),
  ...(status === undefined ? {} : { status }),
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

export const errorOf = (record: ErrorRecord): GantryError =>
  new GantryError(record.code, record.message, { origin: record.origin, ...detailsOf(record) });

/**
 * What the graph has to know of a failure when another image comes to want the node; the rules are those of flow/graph.ts and
 * flow/another-source.ts. `c`: whether time or a shorter way may help, `h`: which other repository may, to read from or to write to.
 */
export function memoryOf(err: GantryError): string {
  const c = retryClass(err) === 'backoff' ? 'backoff' : isCode(err, 'TOO_LARGE') ? 'deep' : '';
  return JSON.stringify({ c, h: helpOf(err) });
}

function helpOf(err: GantryError): '' | 'target' | 'registry' | 'any' {
  const isElsewhere = retryClass(err) === 'elsewhere';
  if (err.origin === 'target') return isElsewhere ? 'target' : '';
  if (err.origin !== 'source' && !isElsewhere) return '';
  return retryClass(err) === 'backoff' || isCode(err, 'TLS') ? 'registry' : 'any';
}
