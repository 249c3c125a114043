// @ts-check
/** Calls of the API. */
import { askToken, token } from './access.js';

/** What the server refused, or could not do. */
export class Problem extends Error {
  /**
   * @param {number} status 0: no answer
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** How far the server's clock is ahead of this one's, in milliseconds: its times are measured against its own clock. */
let ahead = 0;
const NOTICED_MS = 2000;

export const serverNow = () => Date.now() + ahead;

/**
 * @typedef {object} CallOptions
 * @property {'GET' | 'POST' | 'PATCH'} [method]
 * @property {unknown} [body] sent as JSON
 * @property {AbortSignal} [signal]
 */

/**
 * One request, with the token if there is one.
 * @param {string} path below /api/v1/
 * @param {CallOptions} [options]
 * @returns {Promise<Response>} that is ok
 * @throws {Problem}
 */
export async function request(path, { method = 'GET', body, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json, text/event-stream' };
  const known = token.get();
  if (known !== undefined) headers['authorization'] = `Bearer ${known}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  /** @type {Response} */
  let response;
  try {
    const init = { method, headers, signal: signal ?? null };
    response = await fetch(`/api/v1/${path}`, body === undefined ? init : { ...init, body: JSON.stringify(body) });
  } catch (err) {
    signal?.throwIfAborted();
    throw new Problem(0, `the server does not answer (${err instanceof Error ? err.message : String(err)})`);
  }
  measureClock(response.headers.get('date'));
  if (!response.ok) throw new Problem(response.status, await reasonOf(response));
  return response;
}

/**
 * The answer to a question. Asks the user for a token where one is needed.
 * @template T
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export const read = async (path, signal) =>
  withToken(async () => (await request(path, signal === undefined ? {} : { signal })).json());

/**
 * Changes something, which always takes a token.
 * @template T
 * @param {'POST' | 'PATCH'} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<T>}
 */
export async function change(method, path, body = {}) {
  if (token.get() === undefined && !(await askToken('Changing something takes the token of this server.'))) {
    throw new Problem(401, 'nothing was changed: no token was given');
  }
  return withToken(async () => {
    const response = await request(path, { method, body });
    const text = await response.text();
    return text === '' ? undefined : JSON.parse(text);
  });
}

/**
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function withToken(ask) {
  for (;;) {
    const used = token.get();
    try {
      return await ask();
    } catch (err) {
      if (!(err instanceof Problem) || err.status !== 401) throw err;
      // Somebody else's question may have brought a new one meanwhile.
      if (token.get() === used && !(await askToken(whyAgain(used)))) throw err;
    }
  }
}

/** @param {string | undefined} used */
export const whyAgain = (used) =>
  used === undefined ? 'This server shows nothing without its token.' : 'The server does not take that token.';

/** @param {Response} response */
async function reasonOf(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return [error.message, error.hint].filter(Boolean).join('; ');
  } catch {
    return text.trim() === '' ? `the server answered ${response.status}` : text.trim();
  }
}

/** @param {string | null} date */
function measureClock(date) {
  const difference = Date.parse(date ?? '') - Date.now();
  if (Math.abs(difference) > NOTICED_MS) ahead = difference;
}
