// @ts-check
/** What the server tells as it changes: one stream for what is looked at, kept up through outages. */
import { useEffect, useState } from 'preact/hooks';
import { askToken, token } from './access.js';
import { Cell } from './cell.js';
import { Problem, request, serverNow, whyAgain } from './http.js';

/** @import { IngestsJson, LanesJson, RunDetailJson, RunsJson, WorkersJson } from '../api/schema.ts' */

/**
 * What each topic brings.
 * @typedef {{ runs: RunsJson, run: RunDetailJson, lanes: LanesJson, workers: WorkersJson, ingests: IngestsJson }} Topics
 */

/**
 * `open`: before the first answer. `away`: the server answers, but its Redis does not. `lost`: it does not answer. `gone`: what is shown is not there
 * any more.
 * @typedef {object} Link
 * @property {'open' | 'live' | 'away' | 'lost' | 'gone' | 'denied'} state
 * @property {string} message
 * @property {number | undefined} dataAt when the server last said that what is shown is current, in milliseconds since 1970
 */

/** @type {Cell<Link>} */
export const link = new Cell({ state: 'open', message: '', dataAt: undefined });

/** Twice and a half what the server lets pass between two signs of life. */
const SILENCE_MS = 25_000;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 15_000;

/**
 * The newest of a topic, undefined before there is any.
 * @template {keyof Topics} T
 * @param {T} topic
 * @param {string} [run] for the topic `run`
 * @returns {Topics[T] | undefined}
 */
export function useLive(topic, run) {
  const [value, setValue] = useState(/** @type {Topics[T] | undefined} */ (undefined));
  useEffect(() => {
    setValue(undefined);
    link.set({ state: 'open', message: '', dataAt: undefined });
    return whileVisible((signal) => void watch(topic, run, setValue, signal));
  }, [topic, run]);
  return value;
}

/**
 * A browser has six connections to a server for all of its tabs: those that nobody sees must leave theirs to the others.
 * @param {(signal: AbortSignal) => void} begin
 * @returns {() => void} ends it
 */
function whileVisible(begin) {
  let stop = new AbortController();
  const turn = () => {
    stop.abort();
    if (document.hidden) return;
    stop = new AbortController();
    begin(stop.signal);
  };
  turn();
  document.addEventListener('visibilitychange', turn);
  return () => {
    document.removeEventListener('visibilitychange', turn);
    stop.abort();
  };
}

/**
 * Goes on until the signal aborts.
 * @template {keyof Topics} T
 * @param {T} topic
 * @param {string | undefined} run
 * @param {(value: Topics[T]) => void} tell
 * @param {AbortSignal} signal
 */
async function watch(topic, run, tell, signal) {
  const query = new URLSearchParams({ topics: topic, ...(run === undefined ? {} : { run }) });
  for (let failures = 0; !signal.aborted;) {
    try {
      await follow(
        query,
        (event, data) => {
          failures = 0;
          // What came is told before the state: nobody then sees "live" beside data of before.
          if (event === topic) tell(JSON.parse(data));
          if (event === topic) link.set({ state: 'live', message: '', dataAt: serverNow() });
          if (event === 'away' || event === 'gone') failed(event, messageOf(data));
        },
        signal,
      );
      failed('lost', 'the connection has ended');
    } catch (err) {
      if (signal.aborted) return;
      if (err instanceof Problem && err.status === 401) {
        await newToken(signal);
        continue;
      }
      // The run is not there, and the view says so.
      if (err instanceof Problem && err.status === 404) return;
      failed(
        err instanceof Problem && err.status === 503 ? 'away' : 'lost',
        err instanceof Error ? err.message : String(err),
      );
    }
    await backOff(failures, signal);
    failures += 1;
  }
}

/**
 * @param {'away' | 'lost' | 'gone' | 'denied'} state
 * @param {string} message
 */
const failed = (state, message) => link.set({ state, message, dataAt: link.get().dataAt });

/** @param {string} data */
function messageOf(data) {
  /** @type {{ message?: string }} */
  const { message = '' } = JSON.parse(data);
  return message;
}

/** @param {AbortSignal} signal */
async function newToken(signal) {
  const used = token.get();
  if (await askToken(whyAgain(used))) return;
  failed('denied', 'a token is needed');
  await new Promise((resolve) => {
    const stop = token.watch(() => done());
    const done = () => {
      stop();
      signal.removeEventListener('abort', done);
      resolve(undefined);
    };
    signal.addEventListener('abort', done);
  });
}

/**
 * Reads one stream to its end. One that falls silent has ended, whatever the socket says.
 * @param {URLSearchParams} query
 * @param {(event: string, data: string) => void} tell
 * @param {AbortSignal} signal
 */
async function follow(query, tell, signal) {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(new Error('the server has fallen silent')), SILENCE_MS);
  try {
    const { body } = await request(`events?${query}`, { signal: AbortSignal.any([signal, silent.signal]) });
    if (body === null) return;
    let text = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(new Error('the server has fallen silent')), SILENCE_MS);
      // Also a comment: what has not changed is not sent again.
      if (link.get().state === 'live') link.set({ ...link.get(), dataAt: serverNow() });
      const blocks = `${text}${chunk}`.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) parse(block, tell);
    }
  } finally {
    clearTimeout(timer);
  }
}

/**
 * One event, by the lines that our server writes.
 * @param {string} block
 * @param {(event: string, data: string) => void} tell
 */
function parse(block, tell) {
  const lines = block.split('\n');
  const of = (/** @type {string} */ name) =>
    lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, ''));
  const [event] = of('event');
  if (event !== undefined) tell(event, of('data').join('\n'));
}

/**
 * Longer each time, and not all pages at the same moment; at once when the machine is back on the network.
 * @param {number} failures
 * @param {AbortSignal} signal
 */
async function backOff(failures, signal) {
  const ms = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** failures) * (0.5 + Math.random() / 2);
  await new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal.addEventListener('abort', done);
  });
}
