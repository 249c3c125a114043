/** Bodies of requests: JSON, and no larger than their route allows. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { GantryError } from '../../errors.ts';
import type { RequestContext } from '../http.ts';

/**
 * The body as it is; undefined when there is none. Its length is not taken from what the client says: it may say nothing.
 * @throws GantryError INVALID, UNSUPPORTED for another content type, TOO_LARGE
 */
export async function readJson(c: RequestContext, maxBytes: number): Promise<unknown> {
  const { incoming } = c.env;
  const said = Number(c.req.header('content-length') ?? 0);
  if (said > maxBytes) throw tooLarge(maxBytes);
  const bytes = await readBytes(incoming, maxBytes);
  if (bytes.length === 0) return undefined;
  const type = c.req.header('content-type') ?? '';
  if (!/^application\/json\s*(?:;|$)/i.test(type)) {
    throw new GantryError('UNSUPPORTED', 'the body has to be JSON', {
      origin: 'user',
      hint: 'send it with content-type: application/json',
    });
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new GantryError('INVALID', 'the body is not JSON', { origin: 'user' });
  }
}

type Incoming = Pick<IncomingMessage, 'on' | 'off' | 'pause'> & NodeJS.EventEmitter;

/** Not by iterating: to leave the loop early would close the connection before the answer. */
async function readBytes(incoming: Incoming, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  const stop = new AbortController();
  const take = (chunk: Buffer): void => {
    total += chunk.length;
    if (total > maxBytes) stop.abort();
    else chunks.push(chunk);
  };
  incoming.on('data', take);
  try {
    await once(incoming, 'end', { signal: stop.signal });
  } catch (err) {
    if (total > maxBytes) throw tooLarge(maxBytes);
    throw err;
  } finally {
    incoming.off('data', take);
  }
  return Buffer.concat(chunks);
}

const tooLarge = (maxBytes: number): GantryError =>
  new GantryError('TOO_LARGE', `the body has more than ${maxBytes} bytes`, { origin: 'user' });
